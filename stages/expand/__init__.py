"""What is written into the memory, and how."""
