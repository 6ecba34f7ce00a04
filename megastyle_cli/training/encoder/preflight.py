"""Checks before `train-encoder` starts: output, weights, prompts, memory and disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import SiglipVisionModel

from megastyle_cli.core.check import Check, failed
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Run
from megastyle_cli.models.device import resolve_dtype
from megastyle_cli.models.encoders.siglip_vision import inspect_tower
from megastyle_cli.models.hub import cache_only
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.common.distributed import check_batch_divides, start_accelerator
from megastyle_cli.training.common.memory_plan import FLOAT, MemoryPlan
from megastyle_cli.training.common.memory_probe import least_free_bytes
from megastyle_cli.training.common.preflight import (
    TOPIC,
    check_disk,
    check_memory,
    check_output,
    check_weights,
)
from megastyle_cli.training.encoder.augment import Augmentation
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.encoder.data import LabelledImages, TrainingData
from megastyle_cli.training.encoder.memory_cost import batch_bytes, plan_encoder_memory
from megastyle_cli.training.encoder.prompt_targets import check_text_embedder, text_source
from megastyle_cli.training.encoder.trainer import EncoderTrainer


def check_encoder_run(
    config: EncoderConfig, run: Run, data: TrainingData, folder: Path, options: RunOptions
) -> Iterator[Check]:
    """The checks of a run, from the files' headers and configs: no weight is loaded."""
    yield check_output(run, folder, options)
    with cache_only():
        try:
            path, files, size = inspect_tower(config.init)
        except MegastyleError as error:
            yield failed(TOPIC, "weights", error)
            return
        yield check_weights(config.init, path, files)
        if config.text_weight:
            yield _check_prompts(data.split.training, config)
    if size is None:
        text = f"unknown: there is no config.json beside {path}"
        yield Check(topic=TOPIC, name="memory", text=text, ok=False, is_needed=False)
        return
    with torch.device("meta"):
        trained = sum(weight.numel() for weight in SiglipVisionModel(size).parameters())
    plan = _plan(config, size, trained, data.split.training)
    yield check_memory(plan, EncoderTrainer.out_of_memory_hint)
    yield check_disk(folder, config, trained)


def _check_prompts(images: LabelledImages, config: EncoderConfig) -> Check:
    try:
        images.check_prompts()
        embedder = check_text_embedder(text_source(config.init, config.text_model))
        text = f"prompts of {len(images.style_ids):,} styles, embedded by {embedder}"
    except MegastyleError as error:
        return failed(TOPIC, "prompts", error)
    return Check(topic=TOPIC, name="prompts", text=text)


def _plan(config: EncoderConfig, size: Any, trained: int, images: LabelledImages) -> MemoryPlan:
    """The memory plan that the trainer makes, for a tower of `size` (a SiglipVisionConfig)."""
    accelerator = start_accelerator("train-encoder")
    check_batch_divides(config.global_batch, accelerator)
    world = accelerator.num_processes
    dtype = resolve_dtype(None if config.dtype == "auto" else config.dtype, accelerator.device)
    augmentation = Augmentation(flip=config.flip, crop_area=config.crop)
    decoded_px = augmentation.decoded_px(int(size.image_size))
    prompts = len(set(images.prompts)) if config.text_weight else 0
    prompt_bytes = prompts * int(size.hidden_size) * FLOAT
    batch = config.global_batch
    return plan_encoder_memory(
        size,
        config,
        parameters=trained,
        extra=batch_bytes(batch, batch // world, decoded_px) + prompt_bytes,
        is_half=dtype != torch.float32,
        free=least_free_bytes(accelerator),
        world=world,
    )
