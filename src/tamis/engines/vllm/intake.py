"""From a request to what vLLM is given: the tokens of the prompt, pictures, and how to sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tamis.engines.hf.intake import prompt_ids
from tamis.engines.pictures import open_picture
from tamis.engines.vllm.load import Loaded
from tamis.errors import InputError, TamisError
from tamis.records import Prompt, Request


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A request under work, the same for all of its draws."""

    request: Request
    prompt: dict[str, Any]  # vLLM's
    num_tokens: int  # of the prompt; of pictures their placeholders alone
    limit: int  # tokens that may be generated


def read_request(loaded: Loaded, request: Request) -> Job | str:
    """The prompt and the room for an answer, or one line that says why the prompt cannot be used."""
    sampling = request.sampling
    if sampling.max_tokens < 1:
        return f"max_tokens is {sampling.max_tokens}"
    try:
        prompt = _with_pictures(loaded, request.prompt) if request.prompt.images else None
        ids = prompt["prompt_token_ids"] if prompt else prompt_ids(loaded.tokenizer, request.prompt)
    except TamisError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - a chat template is a program of the model's, and may raise anything
        return f"the prompt cannot be tokenised: {error}"
    if not ids:
        return "the prompt has no tokens"
    cut = loaded.limit(ids, context=loaded.context, first=loaded.tokenizer.bos_token_id, has_images=prompt is not None)
    if isinstance(cut, str):
        return cut
    room = loaded.context - len(cut)
    return Job(request, prompt or {"prompt_token_ids": cut}, len(cut), min(sampling.max_tokens, room))


def _with_pictures(loaded: Loaded, prompt: Prompt) -> dict[str, Any]:
    """A prompt whose pictures come first in the last turn of the user, as `engines.http` has it."""
    if not loaded.engine.vllm_config.model_config.is_multimodal_model:
        raise InputError("the model takes no images")
    if prompt.raw or not loaded.tokenizer.chat_template:
        raise InputError("images need a chat template")
    turns: list[dict[str, Any]] = [{"role": message.role, "content": message.content} for message in prompt.messages]
    users = [turn for turn in turns if turn["role"] == "user"] or turns
    users[-1]["content"] = [*({"type": "image"} for _ in prompt.images), {"type": "text", "text": users[-1]["content"]}]
    ids = loaded.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    pictures = [open_picture(path) for path in prompt.images]
    return {"prompt_token_ids": [int(i) for i in ids], "multi_modal_data": {"image": pictures}}
