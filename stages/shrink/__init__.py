"""How the memory is read."""
