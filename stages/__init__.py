"""The built-in stages, one file each, found by their file names."""
