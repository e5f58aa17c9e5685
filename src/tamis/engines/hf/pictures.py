"""Prompts with images: from the files to the tokens of the prompt and what the model takes beside them.

A model whose image processor tells each picture's grid of patches (the Qwen2-VL family) needs that processor alone: the place
that its chat template leaves for a picture is widened here to as many tokens as the picture has. All others are asked through
the checkpoint's whole processor. Both take the Pillow way to pixels where there is one, so that no sample depends on whether
torchvision is installed.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoProcessor, PreTrainedModel

from tamis.engines.pictures import open_picture
from tamis.errors import InputError
from tamis.records import Prompt


class Tokens(NamedTuple):
    """A prompt as a model takes it."""

    ids: list[int]  # at least one
    beside: dict[str, Tensor]  # pixels and the like; those of the ids' size (1, P) say something of each token


class Pictures:
    """The images of prompts to one model; what the checkpoint brings for them is loaded with the first."""

    def __init__(self, name: str, model: PreTrainedModel, tokenizer: Any, *, trust_remote_code: bool) -> None:
        self._name = name
        self._model = model
        self._tokenizer = tokenizer
        self._options = {"trust_remote_code": trust_remote_code, "backend": "pil"}

    def __call__(self, prompt: Prompt) -> Tokens:
        """The tokens of a prompt whose images stand before the text of its last user turn.

        Raises:
            MissingExtra: Pillow is not installed.
            InputError: The model takes no images, or its part that does does not load, or an image cannot be read.
        """
        if getattr(self._model.config, "vision_config", None) is None:
            raise InputError(f"a model of type {self._model.config.model_type} takes no images")
        if prompt.raw:
            raise InputError("a prompt with images needs the model's chat template")
        pictures = [open_picture(path) for path in prompt.images]
        turns = _turns(prompt, pictures)
        if self._has_grids:
            return self._widen(turns, pictures)
        found = self._processor.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        beside = {name: value for name, value in found.items() if name not in ("input_ids", "attention_mask")}
        return Tokens(found["input_ids"][0].tolist(), beside)

    @property
    def _has_grids(self) -> bool:
        return "image_grid_thw" in self._image_processor.model_input_names

    @cached_property
    def _image_processor(self) -> Any:
        return self._load(AutoImageProcessor)

    @cached_property
    def _processor(self) -> Any:
        return self._load(AutoProcessor)

    def _load(self, kind: Any) -> Any:
        try:
            return kind.from_pretrained(self._name, **self._options)
        except Exception as error:  # whatever transformers, or the code that comes with the model, raises
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(f"the image processor of {self._name} does not load: {reason}") from error

    def _widen(self, turns: list[dict[str, Any]], pictures: list[Any]) -> Tokens:
        """Tokens in which each picture's place is as long as its grid has cells."""
        if not self._tokenizer.chat_template:
            raise InputError("a prompt with images needs the model's chat template")
        text = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        narrow = self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        place: int = self._model.config.image_token_id
        if narrow.count(place) != len(pictures):
            raise InputError(f"the prompt has {narrow.count(place)} places for {len(pictures)} images")
        pixels = self._image_processor(images=pictures, return_tensors="pt")
        cells = (pixels["image_grid_thw"].prod(-1) // self._image_processor.merge_size**2).tolist()
        sizes = iter(cells)
        ids = [int(i) for token in narrow for i in ([token] * next(sizes) if token == place else [token])]
        return Tokens(ids, {**pixels, "mm_token_type_ids": (torch.tensor([ids]) == place).int()})


def _turns(prompt: Prompt, pictures: list[Any]) -> list[dict[str, Any]]:
    """The prompt's turns in parts, as chat templates of such models take them."""
    turns: list[dict[str, Any]] = [
        {"role": message.role, "content": [{"type": "text", "text": message.content}]} for message in prompt.messages
    ]
    of_user = [turn for turn in turns if turn["role"] == "user"]
    if not of_user:
        raise InputError("a prompt with images needs a turn of the user")
    of_user[-1]["content"][:0] = [{"type": "image", "image": picture} for picture in pictures]
    return turns
