"""Where the tokenizer.json of a model is."""

from __future__ import annotations

from pathlib import Path

from tamis.errors import InputError, MissingExtra

FILE = "tokenizer.json"


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
