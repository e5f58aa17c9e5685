"""Traces of interleaved reasoning -> numbers: texts against texts, pictures against pictures, steps against steps."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tamis.engines.pictures import open_picture
from tamis.errors import InputError, TamisError
from tamis.likeness.learned import BertScore, Inception, Lpips
from tamis.likeness.pictures import Pixels, alike
from tamis.likeness.texts import Bleu, rouge
from tamis.records import Trace
from tamis.sources import BadRow
from tamis.sources.interleaved import Places, without_marks
from tamis.sources.traces import TraceFile
from tamis.workflows.trace_files import Reference, reference_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from tamis.likeness.texts import Floats

TEXT_METRICS = ("bleu", "rouge1", "rouge2", "rougeL", "bert_score")
PICTURE_METRICS = ("psnr", "ssim", "lpips")
SET_METRICS = ("fid", "kid")
NUM_IMAGES = "num_generated_images"

Net = TypeVar("Net")

_SCAFFOLD = re.compile(r"</?(?:think|answer)>|\bTHOUGHT\s+\d+\s*:", re.IGNORECASE)


@dataclass(slots=True)
class Measured:
    """One sample held against its reference."""

    trace: Trace
    reference: Reference
    scores: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # of metrics that have no score: why
    bleu_counts: Floats | None = None
    num_pairs: int = 0  # pictures that could be compared
    num_resized: int = 0
    num_identical: int = 0
    features: tuple[list[Floats], list[Floats]] = field(
        default_factory=lambda: ([], [])
    )  # of the pictures drawn, and of those of the reference
    complaints: list[BadRow] = field(default_factory=list)  # what of it cannot be read

    @property
    def step_difference(self) -> int | None:
        """Pictures drawn minus pictures that the reference has; None without a reference."""
        known = self.reference.pictures or self.reference.reasoning.strip()
        return self.trace.num_images - len(self.reference.pictures) if known else None


class Measures:
    """The metrics that are there, and of those that are not: why.

    Attributes:
        absent: Metric -> why it is not there.
        signatures: Metric -> how exactly it is computed.
        bleu: Which also knows the score of the whole set.
    """

    def __init__(self, results: TraceFile, places: Places, bert_model: str | None = None) -> None:
        """Load what is there.

        Raises:
            UsageError: The BERT that is asked for cannot be loaded.
        """
        self._results = results
        self._places = places
        self.absent: dict[str, str] = {}
        self.signatures: dict[str, str] = {}
        self.bleu = self._open_metric(Bleu, "bleu")
        if bert_model:
            self._bert: BertScore | None = BertScore(bert_model)
            self.signatures["bert_score"] = self._bert.signature
        else:
            self._bert = self._open_metric(BertScore, "bert_score")
        self._pixels = self._open_metric(Pixels, "psnr", "ssim")
        self._lpips = self._open_metric(Lpips, "lpips")
        self._inception = self._open_metric(Inception, *SET_METRICS)

    def _open_metric(self, opening: Callable[[], Net], *names: str) -> Net | None:
        try:
            network = opening()
        except TamisError as error:
            self.absent |= dict.fromkeys(names, str(error))
            return None
        self.signatures |= dict.fromkeys(names, str(getattr(network, "signature", "")))
        return network

    def measure(self, trace: Trace) -> Measured:
        """Hold a sample that did not fail against its reference; may be called from several threads."""
        reference = reference_of(trace)
        found = Measured(trace, reference)
        found.complaints += [BadRow(_where(trace), bad.field, bad.reason) for bad in reference.complaints]
        said = trace.values.get(NUM_IMAGES)
        if said not in (None, trace.num_images):
            found.complaints.append(BadRow(_where(trace), NUM_IMAGES, f"is {said!r:.20}, and {trace.num_images} are listed"))
        self._measure_text(found)
        if self._pixels or self._lpips or self._inception:
            self._measure_pictures(found)
        return found

    def _measure_text(self, found: Measured) -> None:
        text, reference = plain(found.trace.text), plain(found.reference.reasoning)
        if not (text and reference):
            reason = "nothing_written" if reference else "no_reference"
            found.reasons |= {name: reason for name in TEXT_METRICS if name not in self.absent}
            return
        if self.bleu:
            found.bleu_counts = self.bleu.counts(text, reference)
            found.scores["bleu"] = self.bleu.of_one(found.bleu_counts)
        found.scores |= rouge(text, reference)
        if self._bert:
            _put(found, "bert_score", [self._bert.f1(text, reference)], "nothing_written")

    def _measure_pictures(self, found: Measured) -> None:
        """The means over the pairs: the first picture drawn with the first of the reference, and so on."""
        made = [self._open(found, Path(drawn).name, self._results.picture, drawn) for drawn in found.trace.images]
        wanted = [self._open(found, name, self._places.find, path) for name, path in found.reference.pictures.items()]
        if self._inception:
            for features, images in zip(found.features, (made, wanted), strict=True):
                features += [self._inception.features(image) for image in images if image]
        pairs = [(one, other) for one, other in zip(made, wanted, strict=False) if one and other]
        found.num_pairs = len(pairs)
        found.num_resized = sum(one.size != other.size for one, other in pairs)
        without = "" if pairs else "no_reference" if not wanted else "unreadable" if made else "nothing_drawn"
        pairs = [alike(one, other) for one, other in pairs]
        if self._pixels:
            compared = [self._pixels.compare(one, other) for one, other in pairs]
            found.num_identical = sum(math.isinf(each.psnr) for each in compared)
            _put(found, "psnr", [each.psnr for each in compared], without or "identical")
            _put(found, "ssim", [each.ssim for each in compared], without or "too_small")
        if self._lpips:
            _put(found, "lpips", [self._lpips.distance(one, other) for one, other in pairs], without or "too_small")

    def _open(self, found: Measured, name: str, find: Callable[[str], Path], path: str) -> Image | None:
        try:
            return open_picture(str(find(path)))
        except InputError as error:
            found.complaints.append(BadRow(_where(found.trace), name, error.message))
            return None


def _put(found: Measured, name: str, values: Sequence[float | None], why_not: str) -> None:
    """The mean of the values that there are, or why there is none."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if known:
        found.scores[name] = sum(known) / len(known)
    else:
        found.reasons[name] = why_not


def plain(text: str) -> str:
    """What a trace says, without placeholders of pictures and the marks of its thoughts."""
    return _SCAFFOLD.sub(" ", without_marks(text)).strip()


def _where(trace: Trace) -> str:
    return f"sample {trace.sample_id}"
