"""The ``eos`` command. Each sub-command is one module here that defines ``command``; it is imported when called."""
