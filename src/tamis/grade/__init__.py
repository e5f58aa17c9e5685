"""Text -> answer -> right or wrong: extraction, equivalence, clusters of equal answers."""

from tamis.grade.extract import answer_of, extract_answer
from tamis.grade.grader import Grader, Verdict

__all__ = ["Grader", "Verdict", "answer_of", "extract_answer"]
