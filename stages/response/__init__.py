"""Impulse responses of long convolutions, which are expand, oscillation and shrink as one."""
