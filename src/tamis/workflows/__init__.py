"""The workflows: short compositions of the rooms below."""
