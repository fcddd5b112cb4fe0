"""What a study says: importances, effects of stages, interactions and the best for each cost, in tables and figures."""
