"""What autocast does on a GPU, on the CPU: the operations that it runs in float32 there.

The CPU's autocast runs norms in the type of their input, the GPU's runs them in float32, so that a
GPU keeps more for the backward pass. Source: AT_FORALL_FP32 in ATen/autocast_mode.h of torch 2.13.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

FLOAT32_ON_A_GPU = {
    *(functional.layer_norm, torch.layer_norm, torch.native_layer_norm),
    *(functional.rms_norm, torch.rms_norm, functional.group_norm, torch.group_norm),
    *(functional.softmax, torch.softmax, torch.Tensor.softmax),
    *(functional.normalize, torch.linalg.vector_norm, torch.Tensor.norm, torch.norm),
    *(torch.exp, torch.Tensor.exp, torch.log, torch.Tensor.log, torch.rsqrt, torch.Tensor.rsqrt),
    *(torch.pow, torch.Tensor.pow, torch.Tensor.__pow__, torch.reciprocal),
    *(torch.sum, torch.Tensor.sum, torch.prod, torch.Tensor.prod, torch.Tensor.cumsum),
}


class _Float32Operations(TorchFunctionMode):
    """Casts half-precision inputs of those operations to float32."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in FLOAT32_ON_A_GPU and torch.is_autocast_enabled("cpu"):
            args, kwargs = tree_map(_to_float32, (args, dict(kwargs or {})))
            with torch.autocast("cpu", enabled=False):
                return func(*args, **kwargs)
        return func(*args, **(kwargs or {}))


def _to_float32(value: Any) -> Any:
    is_half = isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if is_half else value


@contextmanager
def gpu_autocast() -> Iterator[None]:
    """Inside, autocast of the CPU computes, and keeps, what that of a GPU does."""
    with _Float32Operations():
        yield
