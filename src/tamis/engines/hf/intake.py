"""From a request to the tokens of its prompt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tamis.engines.hf.batch import Job, Opening
from tamis.engines.hf.load import Loaded
from tamis.engines.hf.pictures import Tokens
from tamis.errors import TamisError
from tamis.records import Draw, Prompt, Request, Sample


def read_request(loaded: Loaded, request: Request, recent: Iterable[Opening] = ()) -> Job | str:
    """The prompt as tokens and the room for an answer, or one line that says why the prompt cannot be used.

    A prompt that is among the recent ones is not read again.
    """
    sampling = request.sampling
    if sampling.max_tokens < 1:
        return f"max_tokens is {sampling.max_tokens}"
    opening = next((one for one in recent if one.prompt == request.prompt), None)
    if opening is None:
        tokens = read_prompt(loaded, request.prompt)
        if isinstance(tokens, str):
            return tokens
        opening = Opening(request.prompt, *tokens)
    room = loaded.context - len(opening.ids)
    stop_bytes = max((len(stop.encode()) for stop in sampling.stop), default=0)
    return Job(request, opening.ids, min(sampling.max_tokens, room), stop_bytes, len(request.draws), opening)


def read_prompt(loaded: Loaded, prompt: Prompt) -> Tokens | str:
    """The prompt as tokens, at least one and not too many, or one line that says why not."""
    try:
        tokens = loaded.pictures(prompt) if prompt.images else Tokens(prompt_ids(loaded.tokenizer, prompt), {})
    except TamisError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - a chat template is a program of the model's, and may raise anything
        return f"the prompt cannot be tokenised: {error}"
    if not tokens.ids:
        return "the prompt has no tokens"
    first, has_images = loaded.tokenizer.bos_token_id, bool(prompt.images)
    ids = loaded.limit(tokens.ids, context=loaded.context, first=first, has_images=has_images)
    return ids if isinstance(ids, str) else tokens._replace(ids=ids)


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """The prompt's tokens: through the chat template when there is one and the prompt is not raw."""
    if prompt.raw or not tokenizer.chat_template:
        return [int(i) for i in tokenizer(prompt.text, verbose=False).input_ids]
    turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
    quiet = {"verbose": False}  # a prompt that is too long is told of on its sample
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False, tokenizer_kwargs=quiet)
    return [int(i) for i in ids]


def blank_sample(request: Request, draw: Draw) -> Sample:
    """A sample that says only which draw it is of."""
    return Sample(draw.key, request.problem_id, draw.index, draw.seed, request.sampling)
