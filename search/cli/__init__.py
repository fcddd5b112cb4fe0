"""The sub-commands ``eos search`` and ``eos worker``."""
