"""The embedded model and the built-in problems: the first command needs no download."""
