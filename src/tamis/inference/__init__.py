"""A trained model as a Python object (source document s2): ask it, ask it many things, evaluate it.

from tamis.inference import GRPOInference, InferenceConfig

with GRPOInference(InferenceConfig(model_path="embedded")) as inference:
    result = inference.generate_response(inference.preprocess_prompt("What is 12 + 30?"))
"""

from tamis.inference.config import InferenceConfig
from tamis.inference.grpo import GRPOInference

__all__ = ["GRPOInference", "InferenceConfig"]
