"""Text -> answer -> right or wrong: extraction, equivalence, clusters of equal answers."""
