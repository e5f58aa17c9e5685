"""The transformers engine. Importing it is light; making an `HFEngine` loads torch and transformers."""

from tamis.engines.hf.engine import HFEngine

__all__ = ["HFEngine"]
