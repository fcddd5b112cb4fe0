"""What happens to the memory between two steps."""
