"""Prompt templates."""

from __future__ import annotations

MATH_PROMPT = "Q: {problem}\nLet's think step by step and output the final answer within \\boxed{}\nA:"
