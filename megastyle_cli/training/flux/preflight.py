"""What `train-flux` needs before it starts: output, weights, tokenizers, memory and disk."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AutoTokenizer, CLIPTextConfig, T5Config

from megastyle_cli.core.check import Check, failed
from megastyle_cli.core.errors import MegastyleError, first_line
from megastyle_cli.core.record import Run
from megastyle_cli.models.device import resolve_dtype
from megastyle_cli.models.flux.init import new_transformer
from megastyle_cli.models.flux.loader import CLASSES, find_flux, part_classes
from megastyle_cli.models.flux.lora_training import attach_lora, select_target_modules
from megastyle_cli.models.flux.vae import token_size_px
from megastyle_cli.models.hub import cache_only, find_lora
from megastyle_cli.models.tensor_files import weight_files
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.common.distributed import check_batch_divides, start_accelerator
from megastyle_cli.training.common.memory_probe import least_free_bytes
from megastyle_cli.training.common.preflight import (
    TOPIC,
    check_disk,
    check_memory,
    check_output,
    check_weights,
)
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.memory_cost import FluxMemoryPlan, plan_flux_memory
from megastyle_cli.training.flux.trainable import RANK
from megastyle_cli.training.flux.trainer import SMALLER, token_rows

TOKENIZERS = ("tokenizer", "tokenizer_2")
QUANTIZED = {"int8": torch.int8, "fp8": torch.int8, "nf4": torch.uint8}  # of the same size


def check_flux_run(
    config: FluxConfig, run: Run, folder: Path, options: RunOptions
) -> Iterator[Check]:
    """The checks of a run, from the configs of the model's parts: no weight is loaded."""
    yield check_output(run, folder, options)
    try:
        with cache_only():
            model = find_flux(config.model)
        parts = [name for name in CLASSES if name != "transformer" or config.init is None]
        files = [file for name in parts for file in weight_files(model / name)]
        if config.lora is not None:
            find_lora(config.lora)
        yield check_weights(config.model, model, files)
        tokenizers = [_load_tokenizer(model / name) for name in TOKENIZERS]
        yield Check(topic=TOPIC, name="tokenizers", text=" and ".join(TOKENIZERS))
        planned = _planned_model(config, model, tokenizers[1])
        plan = _plan(config, planned)
    except MegastyleError as error:
        yield failed(TOPIC, "model", error)
        return
    weights = planned.transformer.parameters()
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    yield check_memory(plan.plan, SMALLER)
    yield Check(topic=TOPIC, name="text", text=plan.sentence)
    yield check_disk(folder, config, trained)


def _load_tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises anything for a damaged file
        raise MegastyleError(
            f"{folder} holds no tokenizer that can be read: {first_line(error)}",
            hint="fetch its files again",
        ) from error


def _planned_model(config: FluxConfig, model: Path, tokenizer: Any) -> Any:
    """What `plan_flux_memory` reads of a TrainableModel, with parts that have sizes and no values.

    A LoRA that is given counts with --rank, or the paper's rank: its file is not read.
    """
    accelerator = start_accelerator("train-flux")
    dtype = resolve_dtype(None if config.dtype == "auto" else config.dtype, accelerator.device)
    is_whole = config.full or config.init is not None
    classes = part_classes(model)
    with torch.device("meta"):
        pipeline = SimpleNamespace(
            vae=_empty(classes["vae"], model / "vae", dtype),
            text_encoder=_empty(classes["text_encoder"], model / "text_encoder", dtype),
            text_encoder_2=_empty(classes["text_encoder_2"], model / "text_encoder_2", dtype),
            tokenizer_2=tokenizer,
        )
        kept = torch.float32 if is_whole else dtype
        if config.init is not None:
            transformer: Any = new_transformer(Path(config.init).expanduser(), config.seed)
        else:
            transformer = _empty(classes["transformer"], model / "transformer", kept)
        rank = None if is_whole else config.rank or RANK
        if rank is None:
            transformer.requires_grad_(True)
        else:
            targets = select_target_modules(transformer, config.targets)
            attach_lora(transformer, targets, rank=rank, alpha=rank, seed=config.seed)
            if config.quantize is not None:
                _shrink(transformer, config.quantize)
    return SimpleNamespace(
        config=config,
        pipeline=pipeline,
        transformer=transformer,
        rank=rank,
        dtype=dtype,
        accelerator=accelerator,
    )


def _empty(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A part of the config in its folder, in that dtype."""
    texts: dict[str, Any] = {"text_encoder": CLIPTextConfig, "text_encoder_2": T5Config}
    if folder.name in texts:
        return kind(texts[folder.name].from_pretrained(folder, local_files_only=True)).to(dtype)
    return kind.from_config(kind.load_config(folder)).to(dtype)


def _shrink(transformer: Any, kind: str) -> None:
    """Gives the frozen matrices of the blocks the bytes that they have when quantized."""
    for blocks in (transformer.transformer_blocks, transformer.single_transformer_blocks):
        for module in blocks.modules():
            weight: Any = getattr(module, "weight", None)
            if isinstance(module, torch.nn.Linear) and not weight.requires_grad:
                size = weight.numel() // 2 if kind == "nf4" else weight.numel()
                empty = torch.empty(size, dtype=QUANTIZED[kind])
                module.weight = torch.nn.Parameter(empty, requires_grad=False)


def _plan(config: FluxConfig, planned: Any) -> FluxMemoryPlan:
    check_batch_divides(config.global_batch, planned.accelerator)
    return plan_flux_memory(
        planned,
        device=planned.accelerator.device,
        dtype=planned.dtype,
        rows=token_rows(config.size, token_size_px(planned.pipeline.vae)),
        free=least_free_bytes(planned.accelerator),
        world=planned.accelerator.num_processes,
    )
