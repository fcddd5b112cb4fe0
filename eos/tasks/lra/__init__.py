"""What the tasks of the Long Range Arena share: labelled rows of tokens, and where they come from."""
