"""Scaling laws: how losses fall with parameters, tokens and compute, and what that says of larger runs."""
