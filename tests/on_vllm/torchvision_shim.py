"""Lets torchvision of the package index, which is built for CUDA, be imported beside torch for CPUs.

`make test-vllm` puts this file into its environment, to be imported at start-up. The library in which torchvision declares two
of its operators does not load there, and without the declarations it cannot be imported; its transforms need neither operator.
"""

import importlib.abc
import sys

_KEPT = []


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Declares the operators when torchvision is about to be imported; finds nothing itself."""

    def find_spec(self, name, *_):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _KEPT.append(library)


sys.meta_path.insert(0, _BeforeTorchvision())
