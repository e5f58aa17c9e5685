"""Text -> answer -> right or wrong: extraction, equivalence, clusters of equal answers."""

from tamis.grade.extract import extract_answer
from tamis.grade.grader import Grader, Verdict

__all__ = ["Grader", "Verdict", "extract_answer"]
