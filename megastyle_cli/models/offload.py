"""Models that are on a device only while they are needed: as a whole, or layer by layer.

Weights do not change while a model runs, so they are never copied back: the tensors on the CPU,
often pages of the file that other processes share, take their places again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from megastyle_cli.models.host_memory import free_host_bytes

PINNED_SHARE = 0.5  # of the free host memory that pinned weights may take


@contextmanager
def on_device(modules: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Inside, the modules are on `device`; afterwards they have the weights from before again."""
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = []
    moved: list[nn.Module] = []
    copies: dict[int, Any] = {}  # tied weights are copied once
    try:
        for module in modules:
            if any(type(weight.data) is not Tensor for weight in module.parameters()):
                moved.append(module)  # quantized weights know how to move themselves
                module.to(device)
                continue
            for part in module.modules():
                for own in (part._parameters, part._buffers):
                    kept.append((own, dict(own)))
                    own.update(_copies(own, device, copies))
        yield
    finally:
        for own, before in kept:
            own.update(before)
        for module in moved:
            module.to("cpu")


def _copies(own: dict[str, Any], device: torch.device, copies: dict[int, Any]) -> dict[str, Any]:
    """The tensors of a part of a module on `device`; `copies` holds those that were made before."""
    for tensor in own.values():
        if tensor is not None and id(tensor) not in copies:
            copy = tensor.data.to(device, non_blocking=True)
            is_weight = isinstance(tensor, nn.Parameter)
            copies[id(tensor)] = nn.Parameter(copy, tensor.requires_grad) if is_weight else copy
    return {name: copies.get(id(tensor)) for name, tensor in own.items()}


def offload_layers(pipeline: Any, device: torch.device) -> None:
    """Keeps each layer of a diffusers pipeline on `device` only while it runs.

    The next layer is copied while one runs, from pinned memory: that of all weights, or, where they
    would take more than half of the host's free memory, of the layer that is being copied.
    """
    is_short = weight_bytes(pipeline) > PINNED_SHARE * free_host_bytes()
    pipeline.enable_group_offload(
        device, offload_type="leaf_level", use_stream=True, low_cpu_mem_usage=is_short
    )


def weight_bytes(pipeline: Any) -> int:
    """Bytes of the weights of a pipeline's models."""
    models = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    return sum(
        weight.numel() * weight.element_size() for part in models for weight in part.parameters()
    )
