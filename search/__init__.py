"""Search over stages and options with Optuna: spaces read off the stages, fair budgets, studies and workers."""
