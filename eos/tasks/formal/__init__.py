"""Formal languages and automata: what tasks that follow a state share."""
