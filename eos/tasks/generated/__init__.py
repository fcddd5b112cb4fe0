"""Tasks whose rows are drawn, not read: what they share."""
