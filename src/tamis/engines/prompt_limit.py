"""How many tokens a prompt may have."""

from __future__ import annotations

from dataclasses import dataclass

from tamis.errors import UsageError


@dataclass(frozen=True, slots=True)
class PromptLimit:
    """The most tokens, beside what the model's context holds, and whether a longer prompt is cut instead of refused.

    Raises:
        UsageError: There is no such limit.
    """

    most: int | None = None
    truncate: bool = False

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise UsageError(f"max_prompt_tokens: {self.most} is not a number of tokens", "Use 1 or more")
        if self.truncate and self.most is None:
            raise UsageError("prompts can only be cut to a length", "Give it: --max-length N, or max_prompt_tokens")

    def __call__(self, ids: list[int], *, context: int, first: int | None, has_images: bool) -> list[int] | str:
        """The prompt's tokens, cut where that is wanted, or one line with both numbers.

        What is dropped is the beginning, so that the end of the question and the opening of the answer stay; so does the token
        `first`, with which some models' texts begin. A prompt with images is never cut.
        """
        allowed = context - 1 if self.most is None else min(self.most, context - 1)
        if len(ids) <= allowed:
            return ids
        if not self.truncate or has_images:
            why = f"at most {allowed} are allowed" if allowed == self.most else f"the model's context holds {context}"
            return f"the prompt has {len(ids)} tokens, {why}"
        head = ids[:1] if allowed > 1 and ids[0] == first else []
        return head + ids[len(ids) - allowed + len(head) :]
