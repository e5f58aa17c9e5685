"""Problems x engine -> samples: order, seeds, concurrency, retry, resume."""
