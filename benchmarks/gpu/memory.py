"""memory: the memory plans of both trainers against the peak that a step reaches."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.gpu.flux import RANK, ROWS, TEXT_TOKENS, lora_step, new_flux
from benchmarks.gpu.machine import DEVICE, DTYPE, GIB, HAS_GPU, Row, measured, peak_bytes
from benchmarks.gpu.towers import CONFIG
from megastyle_cli.models.encoders.siglip_vision import StyleTower, new_tower
from megastyle_cli.training.common.memory_plan import Footprint
from megastyle_cli.training.encoder import memory_cost as encoder_cost
from megastyle_cli.training.flux import memory_cost as flux_cost

CHUNK = 64 if HAS_GPU else 2


def rows() -> Iterator[Row]:
    """Bytes of an item by the plan and as measured: the slope between one and two batches."""
    for is_compiled in (False, True) if HAS_GPU else (False,):
        blocks = "compiled" if is_compiled else "eager"
        for every in (0, 1):
            row = {"layers": blocks, "recomputed": f"1/{every}" if every else "none"}
            yield measured(
                {"model": "so400m, 384 px" if HAS_GPU else "tiny tower", **row},
                lambda: _encoder(every, is_compiled=is_compiled),  # noqa: B023
            )
            yield measured(
                {"model": "FLUX.1-dev, 512 px, LoRA" if HAS_GPU else "tiny FLUX", **row},
                lambda: _flux(every, is_compiled=is_compiled),  # noqa: B023
            )


def _compared(cost: Footprint, every: int, peaks: list[int | None], items: list[int]) -> Row:
    planned = cost.bytes_per_item(every)
    row: Row = {"planned MiB an item": round(planned / 2**20, 1)}
    if None in peaks:
        return row | {"measured": "no GPU"}
    low, high = (int(peak or 0) for peak in peaks)
    slope = (high - low) / (items[1] - items[0])
    ratio = f"{planned / slope:.2f}"
    return row | {"measured": round(slope / 2**20, 1), "ratio": ratio, "peak GiB": high / GIB}


def _peak_of(step: Callable[[], Any]) -> int | None:
    step()  # makes gradients and moments, which every step has
    if HAS_GPU:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    step()
    return peak_bytes()


def _encoder(every: int, *, is_compiled: bool) -> Row:
    from megastyle_cli.training.encoder.trainer import _recompute_activations

    vision = new_tower(CONFIG, seed=0).train().to(DEVICE)
    _recompute_activations(vision, every)
    if is_compiled:
        for layer in vision.encoder.layers:
            layer.compile()
    tower = StyleTower(vision, DTYPE)
    items = [CHUNK // 2, CHUNK]

    def peak_with(number: int) -> int | None:
        side_px = int(CONFIG.image_size)  # type: ignore[call-overload]
        images = torch.zeros(number, 3, side_px, side_px, device=DEVICE)

        def step() -> None:
            vision.zero_grad(set_to_none=True)
            tower(images).sum().backward()

        return _peak_of(step)

    cost = encoder_cost.footprint(CONFIG, is_half=torch.float32 != DTYPE, is_compiled=is_compiled)
    return _compared(cost, every, [peak_with(number) for number in items], items)


def _flux(every: int, *, is_compiled: bool) -> Row:
    items = [1, 2]
    peaks = []
    for batch in items:
        step = lora_step(every, is_compiled=is_compiled, batch=batch)
        peaks.append(_peak_of(step))
        del step
    with torch.device("meta"):
        config = SimpleNamespace(**_config())
    cost = flux_cost.footprint(
        config,
        text_tokens=TEXT_TOKENS,
        image_tokens=ROWS**2,
        rank=RANK,
        is_half=torch.float32 != DTYPE,
        on_gpu=HAS_GPU,
        is_compiled=is_compiled,
    )
    return _compared(cost, every, peaks, items)


def _config() -> dict[str, Any]:
    if not HAS_GPU:
        return dict(new_flux().config)
    from diffusers import FluxTransformer2DModel

    return dict(FluxTransformer2DModel(guidance_embeds=True).config)
