"""Any engine, held by several workers on one machine or many: actors of Ray.

    stream of requests --> pool --(one request at a time, to whoever has room)--> workers, each with an engine of its own
                             ^-------------(samples as they finish)--------------------'

The requests carry their seeds, so that it does not matter who draws them, nor how often.
"""

from tamis.engines.ray.cluster import connect
from tamis.engines.ray.engine import RayEngine

__all__ = ["RayEngine", "connect"]
