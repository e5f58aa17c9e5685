"""How alike two texts or two pictures are: what a model made, held against a reference."""
