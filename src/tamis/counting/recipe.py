"""A tokenizer.json, read: all that counting needs, small enough to be sent to worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tamis.counting.merges import rank_tokens
from tamis.counting.patterns import GPT2
from tamis.errors import InputError, MissingExtra

FILE = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to count under one tokenizer."""

    path: Path  # of the tokenizer.json
    aside: str = ""  # why tiktoken is not used; "": it is
    ranks: Mapping[bytes, int] = field(default_factory=dict)
    pattern: str = ""
    composes: bool = False  # texts are brought into the form NFC
    added: tuple[str, ...] = ()  # tokens that are found in the text before anything else, each one token


def read_recipe(path: Path) -> Recipe:
    """The recipe of a tokenizer.json.

    Raises:
        InputError: It is not one.
    """
    try:
        content = orjson.loads(path.read_bytes())
        return _read(path, content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is not a tokenizer.json ({said[:200]})", "Check that the model was copied whole") from None


def find_tokenizer(model: str) -> Path:
    """The tokenizer.json of a model: in its folder, the file itself, or from the hub.

    Raises:
        InputError: There is none.
        MissingExtra: The packages of the extra `summarise` are not installed.
    """
    path = Path(model)
    if path.is_file():
        return path
    if (path / FILE).is_file():
        return path / FILE
    if path.is_dir():
        advice = "Make one: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        raise InputError(f"{model} has no {FILE}", advice)
    if path.is_absolute() or model.startswith(".") or model.count("/") != 1:
        raise InputError(f"no such folder: {model}", "Give a model folder with its tokenizer.json, or a hub name (owner/name)")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise MissingExtra(f"{model!r} is no folder here; as a name on the hub it", "summarise") from None
    try:
        return Path(hf_hub_download(model, FILE))
    except Exception as error:  # whatever the library raises, it is about the name given or the way to the hub
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{model!r} is no folder here, and not to be had from the hub ({said})", "Check the path") from error


def _read(path: Path, content: Mapping[str, Any]) -> Recipe:
    if content["model"].get("type", "BPE") != "BPE":
        return Recipe(path, f"the model is {content['model']['type']}, not BPE")
    forms = _parts(content.get("normalizer"), "normalizers")
    if any(form != {"type": "NFC"} for form in forms):
        return Recipe(path, f"the normalizer is {', '.join(form['type'] for form in forms)}")
    pattern = _pattern(_parts(content.get("pre_tokenizer"), "pretokenizers"))
    if pattern is None:
        return Recipe(path, "words are not cut by one pattern into bytes")
    added = content.get("added_tokens") or []
    if any(token[flag] for token in added for flag in ("single_word", "lstrip", "rstrip", "normalized")):
        return Recipe(path, "added tokens reach beyond themselves")
    model = content["model"]
    unusual = [
        name for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback") if model.get(name)
    ]
    if unusual:
        return Recipe(path, f"the model has {', '.join(unusual)}")
    alphabet = byte_alphabet()
    if not alphabet.keys() <= model["vocab"].keys():
        return Recipe(path, "some bytes are no tokens")
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    names = tuple(token["content"] for token in added)
    if model.get("ignore_merges") and len(model["vocab"].keys() - set(names)) > len(alphabet) + len(pairs):
        return Recipe(path, "the vocabulary has words that no merge makes")
    ranks = rank_tokens(alphabet, pairs)
    if isinstance(ranks, str):
        return Recipe(path, ranks)
    return Recipe(path, ranks=ranks, pattern=pattern, composes=bool(forms), added=names)


def _parts(step: Mapping[str, Any] | None, name: str) -> list[Mapping[str, Any]]:
    if step is None:
        return []
    return list(step[name]) if step["type"] == "Sequence" else [step]


def _pattern(steps: list[Mapping[str, Any]]) -> str | None:
    """The one pattern by which words are cut before they become bytes."""
    match steps:
        case [{"type": "ByteLevel", "add_prefix_space": False, **rest}] if rest.get("use_regex", True):
            return GPT2
        case [
            {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]:
            return pattern
    return None


def byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a byte-level vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    signs = {chr(byte): byte for byte in printable}
    return signs | {chr(0x100 + number): byte for number, byte in enumerate(others)}
