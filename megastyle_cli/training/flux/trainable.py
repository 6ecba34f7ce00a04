"""What is trained of a FLUX, a LoRA or the whole transformer: made, saved, read back, finished."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from megastyle_cli import __version__
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.init import new_transformer
from megastyle_cli.models.flux.loader import find_flux, load_flux
from megastyle_cli.models.flux.lora_file import read_lora, save_lora
from megastyle_cli.models.flux.lora_training import (
    attach_lora,
    common_rank,
    extract_lora,
    load_lora,
    select_target_modules,
)
from megastyle_cli.models.flux.model import Transformer
from megastyle_cli.models.flux.schedule import SHIFT
from megastyle_cli.models.flux.setup import quantize_flux
from megastyle_cli.models.strict_weights import fingerprint, first_values
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline
from megastyle_cli.training.common.atomic_folder import write_whole
from megastyle_cli.training.flux.config import Settings

RANK = 128  # the paper's
OFFICIAL_FILE = "megastyle_flux.safetensors"
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"  # what load_lora_weights finds in a folder


class Student:
    """The pipeline with a transformer that is ready to be trained, in memory of the CPU.

    `rank` is None where all weights are trained. `model` names the frozen weights it starts from by
    revision, where the hub tells one, and by 8 hex digits over them.
    """

    def __init__(self, settings: Settings, dtype: torch.dtype) -> None:
        self.settings = settings
        is_whole = settings.full or settings.init is not None
        _refuse_both(settings, is_whole)
        drawn = None
        if settings.init is not None:
            drawn = new_transformer(Path(settings.init).expanduser(), settings.seed)
        self.folder = find_flux(settings.model)
        self.is_whole, self.dtype = is_whole, dtype
        self.pipeline = self._read(drawn)
        self.transformer = self.pipeline.transformer
        _refuse_other_widths(self.pipeline)
        is_snapshot = self.folder.parent.name == "snapshots"
        revision = self.folder.name if is_snapshot else ""
        hashed = fingerprint(first_values(self.transformer.state_dict()))
        self.model = "@".join(filter(None, (settings.model, revision, hashed)))
        self.rank: int | None = None
        if is_whole:
            self.transformer.requires_grad_(True)
        else:
            self._attach()

    def facts(self, step: int) -> dict[str, str]:
        """What the weights say of themselves; trainers differ in the first four."""
        told = self.settings
        known = {
            "timesteps": told.timesteps,
            "loss_weight": told.loss_weight,
            "shift": SHIFT,
            "guidance": told.guidance,
            "model": self.model,
            "step": step,
            "seed": told.seed,
            "size": told.size_px,
            "rank": self.rank,
            "version": __version__,
        }
        return {f"megastyle.{k}": str(value) for k, value in known.items() if value is not None}

    def write_checkpoint(self, folder: Path, facts: dict[str, str]) -> None:
        """The trained weights as they are, exactly: lora.safetensors or transformer.safetensors."""
        if self.rank is not None:
            save_lora(
                extract_lora(self.transformer, self.targets),
                folder / "lora.safetensors",
                metadata=facts,
            )
            return
        save_file(self._whole(None), folder / "transformer.safetensors", metadata=facts)

    def read_checkpoint(self, folder: Path) -> None:
        """Takes the weights back from `write_checkpoint`'s file."""
        if self.rank is not None:
            load_lora(read_lora(folder / "lora.safetensors", self.targets), self.transformer)
            return
        held = load_file(folder / "transformer.safetensors")
        self.transformer.load_state_dict(held)

    def finish(self, folder: Path, facts: dict[str, str], dtype: torch.dtype) -> Path:
        """Writes RUN/lora/ with the LoRA in both forms, or RUN/flux/, a whole model; gives it."""
        if self.rank is None:
            return self._finish_whole(folder / "flux", facts, dtype)
        lora = {
            target: type(factors)(factors.down.to(dtype), factors.up.to(dtype), factors.alpha)
            for target, factors in extract_lora(self.transformer, self.targets).items()
        }

        def write(aside: Path) -> None:
            aside.mkdir()
            save_lora(lora, aside / OFFICIAL_FILE, "official", facts)
            save_lora(lora, aside / DIFFUSERS_FILE, "diffusers", facts)

        write_whole(folder / "lora", write)
        return folder / "lora"

    def _finish_whole(self, final: Path, facts: dict[str, str], dtype: torch.dtype) -> Path:
        pipeline = self.pipeline
        if pipeline.text_encoder_2 is None:  # it made room
            pipeline = self._read(self.transformer)

        def write(aside: Path) -> None:
            pipeline.save_pretrained(aside)
            for old in (aside / "transformer").glob("*.safetensors*"):
                old.unlink()
            name = "diffusion_pytorch_model.safetensors"
            save_file(self._whole(dtype), aside / "transformer" / name, metadata=facts)

        write_whole(final, write)
        return final

    def _read(self, transformer: Transformer | None) -> Pipeline:
        """The model, with that transformer if there is one; weights to be trained in float32."""
        dtype = torch.float32 if self.is_whole else self.dtype
        pipeline = load_flux(str(self.folder), dtype, transformer)
        if self.is_whole and self.dtype != torch.float32:  # else they were read so
            for part in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
                part.to(self.dtype)
        return pipeline

    def _whole(self, dtype: torch.dtype | None) -> dict[str, Tensor]:
        weights = self.transformer.state_dict()
        return {
            name: w.detach().to("cpu", dtype or w.dtype).contiguous() for name, w in weights.items()
        }

    def _attach(self) -> None:
        """A LoRA on the frozen transformer: new, or that of a file."""
        told = self.settings
        self.targets = select_target_modules(self.transformer, told.targets)
        start = None
        rank, alpha = told.rank, told.alpha
        if told.lora is not None:
            start = read_lora(Path(told.lora).expanduser(), self.targets, self.model)
            held_rank, held_alpha = common_rank(start, told.lora)
            if told.rank not in (None, held_rank):
                raise MegastyleError(
                    f"{told.lora} has rank {held_rank}, --rank is {told.rank}",
                    hint="leave --rank out, or train a new LoRA without --lora",
                )
            rank, alpha = held_rank, held_alpha if told.alpha is None else told.alpha
        self.rank = rank or RANK
        if told.quantize is not None:
            quantize_flux(self.transformer, told.quantize)
        attach_lora(
            self.transformer,
            self.targets,
            rank=self.rank,
            alpha=self.rank if alpha is None else alpha,
            seed=told.seed,
        )
        if start is not None:
            load_lora(start, self.transformer)


def _refuse_both(settings: Settings, is_whole: bool) -> None:
    """Raises MegastyleError for options of a LoRA where all weights are trained."""
    told = {
        "--lora": settings.lora,
        "--rank": settings.rank,
        "--alpha": settings.alpha,
        "--quantize": settings.quantize,
    }
    named = [flag for flag, value in told.items() if value is not None]
    if is_whole and named:
        whole = "--init" if settings.init is not None else "--full"
        raise MegastyleError(
            f"{named[0]} is of a LoRA on frozen weights, and {whole} trains all of them",
            hint="leave one of them out",
        )


def _refuse_other_widths(pipeline: Any) -> None:
    """Raises MegastyleError if the transformer does not fit the parts it works with."""
    config = pipeline.transformer.config
    wanted = {
        "in_channels": 4 * pipeline.vae.config.latent_channels,
        "joint_attention_dim": pipeline.text_encoder_2.config.hidden_size,
        "pooled_projection_dim": pipeline.text_encoder.config.hidden_size,
    }
    for name, width in wanted.items():
        if config[name] != width:
            raise MegastyleError(
                f"the transformer's {name} is {config[name]}, the other parts of the model give"
                f" {width}",
                hint="mend the config",
            )
