"""Problems x engine -> samples, journalled as they finish: one loop with back pressure (`loop`)."""

from tamis.sample.in_order import pools, sample_in_order
from tamis.sample.lazy import LazyEngine
from tamis.sample.loop import sample
from tamis.sample.progress import Progress

__all__ = ["LazyEngine", "Progress", "pools", "sample", "sample_in_order"]
