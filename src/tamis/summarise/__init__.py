"""Choices -> numbers with intervals: accuracy, pass@k, maj@k, paired differences, what was left out."""
