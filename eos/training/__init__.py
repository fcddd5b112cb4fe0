"""Training: one run is one folder, and one recipe with its seed gives one sequence of numbers."""
