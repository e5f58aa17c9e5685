"""Problems x engine -> samples, journalled as they finish: one loop with back pressure (`loop`)."""

from tamis.sample.in_order import pools, sample_in_order
from tamis.sample.lazy import LazyEngine
from tamis.sample.loop import sample
from tamis.sample.pending import Adaptive, Round
from tamis.sample.progress import Progress

__all__ = ["Adaptive", "LazyEngine", "Progress", "Round", "pools", "sample", "sample_in_order"]
