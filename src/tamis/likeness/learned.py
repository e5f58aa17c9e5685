"""Likeness as networks see it: BERTScore of texts, LPIPS of pairs of pictures, FID and KID of sets of pictures.

Each needs a package and weights that are on this machine; nothing is ever fetched. Where one is not there, opening it raises
the error whose one line says what is missing.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.errors import EngineError, MissingExtra, UsageError, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

    Floats = NDArray[np.float64]

DEFAULT_BERT = "bert-base-multilingual-cased"
ALEXNET, INCEPTION = "alexnet-owt-7be5be79.pth", "weights-inception-2015-12-05-6726825d.pth"
SMALLEST = 64  # pixels of a side that LPIPS can take in


class BertScore:
    """F1 of tokens matched by the cosine of their states, without idf weights or rescaling (Zhang et al. 2020).

    Attributes:
        signature: Model and layer: that at three quarters of the depth, near where the authors found most models best.
    """

    def __init__(self, model: str | None = None) -> None:
        """Load a model from a folder or the local cache of the hub.

        Raises:
            MissingExtra: transformers is not installed.
            UsageError: The model is not there, or not whole.
        """
        if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")):
            raise MissingExtra("BERTScore", "hf")
        if model is None and not _is_cached(DEFAULT_BERT):
            raise UsageError(f"{DEFAULT_BERT} is not on this machine", "Give a folder: --bert-model")
        name = model or DEFAULT_BERT
        self._tokenizer, self._model = _load_bert(name)
        num_layers = self._model.config.num_hidden_layers
        self._layer = max(1, round(0.75 * num_layers))
        self.signature = f"{name}, layer {self._layer} of {num_layers}, no idf, no rescaling"
        limit, positions = self._tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", 512)
        self._most = limit if limit <= positions else positions - 2  # of which RoBERTa keeps two to itself
        self._lock = threading.Lock()

    def f1(self, text: str, reference: str) -> float | None:
        """The score, 0 to 1 for all but exotic models; None where one of the texts has no token. Long texts lose their end."""
        (made, is_word), (wanted, is_wanted) = self._states(text), self._states(reference)
        if not is_word.any() or not is_wanted.any():
            return None
        cosines = made @ wanted.T  # (T, R), of special tokens too, which may be matched and do not count
        precision = float(cosines.max(dim=1).values[is_word].mean())
        recall = float(cosines.max(dim=0).values[is_wanted].mean())
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def _states(self, text: str) -> tuple[Tensor, Tensor]:
        """States of length 1 (T, d) and which of the tokens are of the text (T,)."""
        import torch

        coded = self._tokenizer(
            text, truncation=True, max_length=self._most, return_special_tokens_mask=True, return_tensors="pt"
        )
        is_special = coded.pop("special_tokens_mask")[0].bool()
        with torch.inference_mode(), self._lock:
            states = self._model(**coded, output_hidden_states=True).hidden_states[self._layer][0]
        return torch.nn.functional.normalize(states, dim=-1), ~is_special


def _load_bert(name: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # only the command line writes to the terminal
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=True)
        model, info = AutoModel.from_pretrained(name, local_files_only=True, use_safetensors=True, output_loading_info=True)
    except Exception as error:  # whatever transformers, safetensors or the hub's client raise for a bad model
        raise UsageError(f"--bert-model {name} cannot be loaded: {first_line(error)}", "Give the folder of a BERT") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    if missing := [key for key in info["missing_keys"] if "pooler" not in key]:  # which has no part in the states
        raise UsageError(f"--bert-model {name} lacks weights: {min(missing)}", "Give the folder of a BERT")
    return tokenizer, model.eval()


class Lpips:
    """LPIPS 0.1 with AlexNet (Zhang et al. 2018)."""

    signature = "lpips 0.1, alex"

    def __init__(self) -> None:
        """Load the network.

        Raises:
            UsageError: The package or its weights are not there.
        """
        _need_packages(lpips="lpips", torchvision="torchvision")
        _weights(ALEXNET)
        import lpips

        self._model = lpips.LPIPS(net="alex", verbose=False)
        self._lock = threading.Lock()

    def distance(self, picture: Image, reference: Image) -> float | None:
        """The distance of two pictures of one size, 0 where they are the same; None where they are too small."""
        import torch

        if min(reference.size) < SMALLEST:
            return None
        first, second = (_as_tensor(image).float() / 127.5 - 1 for image in (picture, reference))
        with torch.inference_mode(), self._lock:
            return float(self._model(first, second))


class Inception:
    """The features of pictures by which FID and KID compare sets of them."""

    signature = "Inception v3 of TensorFlow, 2048 features (torch-fidelity)"

    def __init__(self) -> None:
        """Load the network.

        Raises:
            UsageError: The package or its weights are not there.
        """
        _need_packages(torch_fidelity="torch-fidelity", torchvision="torchvision")
        path = _weights(INCEPTION)
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        self._model = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
        self._lock = threading.Lock()

    def features(self, picture: Image) -> Floats:
        """Those of one picture (2048,)."""
        import torch

        with torch.inference_mode(), self._lock:
            found: Floats = self._model(_as_tensor(picture))[0][0].numpy().astype(np.float64)
        return found


def frechet_distance(made: Floats, wanted: Floats) -> float:
    """FID of features (n, d) and (m, d), at least two each: ‖μ1 - μ2‖² + tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½)."""
    first, second = _root(made), _root(wanted)
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()  # the eigenvalues of (Σ1 Σ2)^½
    gap = made.mean(axis=0) - wanted.mean(axis=0)
    return float(gap @ gap + (first**2).sum() + (second**2).sum() - 2 * shared)


def _root(features: Floats) -> Floats:
    """R (r, d) of features (n, d), r = min(n, d), with Rᵀ R their covariance."""
    root: Floats = np.linalg.qr(features - features.mean(axis=0), mode="r") / np.sqrt(len(features) - 1)
    return root


def kernel_distance(made: Floats, wanted: Floats) -> float:
    """KID of features (n, d) and (m, d), at least two each: the unbiased squared MMD under (x·y / d + 1)³."""
    n, m, d = len(made), len(wanted), made.shape[1]
    first, second, across = ((a @ b.T / d + 1) ** 3 for a, b in ((made, made), (wanted, wanted), (made, wanted)))
    within = (first.sum() - np.trace(first)) / (n * (n - 1)) + (second.sum() - np.trace(second)) / (m * (m - 1))
    return float(within - 2 * across.mean())


def _as_tensor(picture: Image) -> Tensor:
    import torch

    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]  # (1, 3, H, W) bytes


def _need_packages(**packages: str) -> None:
    missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"it needs {', '.join(missing)}", f"Run: pip install {' '.join(missing)}")


def _weights(name: str) -> Path:
    """The file of weights in the cache of torch's hub; code that it may hold is not run."""
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise UsageError(f"its weights are not on this machine: {path}", "Put the file there")
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise EngineError(f"{path} holds no weights: {first_line(error)}", "Replace it") from error
    return path


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    found: Any = try_to_load_from_cache(name, "config.json")
    return isinstance(found, str)
