"""Ablation dashboards: folders of runs become pages that say which stage matters, by how much, and how surely."""
