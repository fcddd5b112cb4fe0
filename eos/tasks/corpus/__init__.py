"""What the text task stands on: where text comes from, how it becomes tokens, and where those are kept."""
