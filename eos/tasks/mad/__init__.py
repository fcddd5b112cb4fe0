"""The six tasks of MAD (arXiv:2403.17844): what they share."""
