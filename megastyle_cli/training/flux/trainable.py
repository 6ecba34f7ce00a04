"""The trainable part of FLUX, a LoRA or all weights: created, saved, read back, exported."""

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
from megastyle_cli.training.common.run_folder import run_output
from megastyle_cli.training.flux.config import FluxConfig

RANK = 128  # the paper's
OFFICIAL_FILE = "megastyle_flux.safetensors"
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"  # what load_lora_weights looks for in a folder


class TrainableModel:
    """A FLUX pipeline whose transformer is ready to be trained, in host memory.

    `rank` is None where all weights are trained. `model` identifies the frozen weights it starts
    from, by revision where the hub has one, and by 8 hex digits over them.
    """

    def __init__(self, config: FluxConfig, dtype: torch.dtype) -> None:
        self.config, self.dtype = config, dtype
        self.is_whole = config.full or config.init is not None
        _check_no_lora_options(config, self.is_whole)
        new = None
        if config.init is not None:
            new = new_transformer(Path(config.init).expanduser(), config.seed)
        self.folder = find_flux(config.model)
        self.pipeline = self._read(new)
        self.transformer = self.pipeline.transformer
        _check_widths(self.pipeline)
        is_snapshot = self.folder.parent.name == "snapshots"
        revision = self.folder.name if is_snapshot else ""
        hashed = fingerprint(first_values(self.transformer.state_dict()))
        self.model = "@".join(filter(None, (config.model, revision, hashed)))
        self.rank: int | None = None
        if self.is_whole:
            self.transformer.requires_grad_(True)
        else:
            self._attach_lora()

    def metadata(self, step: int) -> dict[str, str]:
        """The header of the weights; trainers differ in the first four entries."""
        config = self.config
        values = {
            "timesteps": config.timesteps,
            "loss_weight": config.loss_weight,
            "shift": SHIFT,
            "guidance": config.guidance,
            "model": self.model,
            "step": step,
            "seed": config.seed,
            "size": config.size,
            "rank": self.rank,
            "version": __version__,
        }
        return {f"megastyle.{k}": str(value) for k, value in values.items() if value is not None}

    def write_checkpoint(self, folder: Path, metadata: dict[str, str]) -> None:
        """The trained weights, exactly: lora.safetensors or transformer.safetensors."""
        if self.rank is not None:
            lora = extract_lora(self.transformer, self.targets)
            save_lora(lora, folder / "lora.safetensors", metadata=metadata)
        else:
            save_file(self._weights(None), folder / "transformer.safetensors", metadata=metadata)

    def read_checkpoint(self, folder: Path) -> None:
        """Reads the weights back from the file of `write_checkpoint`."""
        if self.rank is not None:
            load_lora(read_lora(folder / "lora.safetensors", self.targets), self.transformer)
        else:
            self.transformer.load_state_dict(load_file(folder / "transformer.safetensors"))

    def export(self, folder: Path, metadata: dict[str, str], dtype: torch.dtype) -> Path:
        """Writes RUN/lora/ with the LoRA in two formats, or RUN/flux/, a whole model; its path."""
        if self.rank is None:
            return self._export_whole(folder / "flux", metadata, dtype)
        lora = {
            target: type(factors)(factors.down.to(dtype), factors.up.to(dtype), factors.alpha)
            for target, factors in extract_lora(self.transformer, self.targets).items()
        }
        with run_output(folder / "lora") as temporary:
            temporary.mkdir()
            save_lora(lora, temporary / OFFICIAL_FILE, "official", metadata)
            save_lora(lora, temporary / DIFFUSERS_FILE, "diffusers", metadata)
        return folder / "lora"

    def _export_whole(self, final: Path, metadata: dict[str, str], dtype: torch.dtype) -> Path:
        pipeline = self.pipeline
        if pipeline.text_encoder_2 is None:  # freed after all prompts were encoded
            pipeline = self._read(self.transformer)
        with run_output(final) as temporary:
            temporary.mkdir()
            pipeline.save_pretrained(temporary)
            for old in (temporary / "transformer").glob("*.safetensors*"):
                old.unlink()
            name = "diffusion_pytorch_model.safetensors"
            save_file(self._weights(dtype), temporary / "transformer" / name, metadata=metadata)
        return final

    def _read(self, transformer: Transformer | None) -> Pipeline:
        """The model, with that transformer if one is given; trained weights are in float32."""
        dtype = torch.float32 if self.is_whole else self.dtype
        pipeline = load_flux(str(self.folder), dtype, transformer)
        if (
            self.is_whole and self.dtype != torch.float32
        ):  # otherwise they are in that dtype already
            for part in (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
                part.to(self.dtype)
        return pipeline

    def _weights(self, dtype: torch.dtype | None) -> dict[str, Tensor]:
        weights = self.transformer.state_dict()
        return {
            name: w.detach().to("cpu", dtype or w.dtype).contiguous() for name, w in weights.items()
        }

    def _attach_lora(self) -> None:
        """Adds a LoRA to the frozen transformer: a new one, or that of a file."""
        config = self.config
        self.targets = select_target_modules(self.transformer, config.targets)
        start = None
        rank, alpha = config.rank, config.alpha
        if config.lora is not None:
            start = read_lora(Path(config.lora).expanduser(), self.targets, self.model)
            file_rank, file_alpha = common_rank(start, config.lora)
            if config.rank not in (None, file_rank):
                raise MegastyleError(
                    f"{config.lora} has rank {file_rank}, but --rank is {config.rank}",
                    hint="omit --rank, or train a new LoRA without --lora",
                )
            rank, alpha = file_rank, file_alpha if config.alpha is None else config.alpha
        self.rank = rank or RANK
        if config.quantize is not None:
            quantize_flux(self.transformer, config.quantize)
        attach_lora(
            self.transformer,
            self.targets,
            rank=self.rank,
            alpha=self.rank if alpha is None else alpha,
            seed=config.seed,
        )
        if start is not None:
            load_lora(start, self.transformer)


def _check_no_lora_options(config: FluxConfig, is_whole: bool) -> None:
    """Raises MegastyleError for LoRA options where all weights are trained."""
    lora_options = {
        "--lora": config.lora,
        "--rank": config.rank,
        "--alpha": config.alpha,
        "--quantize": config.quantize,
    }
    given = [flag for flag, value in lora_options.items() if value is not None]
    if is_whole and given:
        whole = "--init" if config.init is not None else "--full"
        raise MegastyleError(
            f"{given[0]} cannot be combined with {whole}, which trains all weights",
            hint="omit one of them",
        )


def _check_widths(pipeline: Any) -> None:
    """Raises MegastyleError if the transformer does not fit the other parts of the pipeline."""
    config = pipeline.transformer.config
    expected = {
        "in_channels": 4 * pipeline.vae.config.latent_channels,
        "joint_attention_dim": pipeline.text_encoder_2.config.hidden_size,
        "pooled_projection_dim": pipeline.text_encoder.config.hidden_size,
    }
    for name, width in expected.items():
        if config[name] != width:
            raise MegastyleError(
                f"the transformer's {name} is {config[name]}, but the other parts of the model"
                f" need {width}",
                hint="correct the config",
            )
