"""Trainer of the style encoder: one exact gradient of the whole global batch per step.

A step embeds the images of all ranks, computes the loss of all embeddings together, and propagates
its gradient in micro-batches (gradient_cache.py). The loop is `Trainer.train` in common/trainer.py.
"""

import json
from collections.abc import Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import SiglipVisionModel

from megastyle_cli.core.errors import TOO_MANY_FAILURES, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.evaluate.metrics import retrieval_scores
from megastyle_cli.models.encoders.siglip_vision import (
    StyleTower,
    count_tensors,
    load_tower,
    normalize_pixels,
    save_folder,
    save_official,
)
from megastyle_cli.models.tensor_files import read_weights
from megastyle_cli.training.common.distributed import any_rank
from megastyle_cli.training.common.memory_probe import least_free_bytes
from megastyle_cli.training.common.optimizer import MOMENT_BYTES, build_optimizer
from megastyle_cli.training.common.parquet import describe_parquet
from megastyle_cli.training.common.run import Metrics, RunContext
from megastyle_cli.training.common.run_folder import run_output
from megastyle_cli.training.common.trainer import Trainer
from megastyle_cli.training.encoder.augment import Augmentation, AugmentedImages
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.encoder.data import TrainingData
from megastyle_cli.training.encoder.gradient_cache import backward
from megastyle_cli.training.encoder.image_loader import ImageBatch, ImageLoader, read_images
from megastyle_cli.training.encoder.losses import EncoderLoss
from megastyle_cli.training.encoder.memory_cost import batch_bytes, plan_encoder_memory
from megastyle_cli.training.encoder.prompt_targets import (
    PromptTargets,
    prompt_targets,
    text_source,
)

# n images of the global batch, b of this rank, d width

BETAS = (0.9, 0.95)  # SigLIP's
VALIDATION_BATCH = 64  # held-out images embedded at once, without a graph


class EncoderTrainer(Trainer[ImageBatch]):
    """A SigLIP image tower in training."""

    items, noun = "images", "images"
    out_of_memory_hint = "give --recompute all, a smaller tower, or a device with more memory"
    config: EncoderConfig

    def __init__(
        self, config: EncoderConfig, num_steps: int, data: TrainingData, context: RunContext
    ) -> None:
        super().__init__(config, num_steps, context)
        self.data, self.images = data, data.split.training
        free = least_free_bytes(self.accelerator)  # before anything is allocated
        self.vision = load_tower(config.init, config.seed).train().to(self.device)
        self.side_px: int = self.vision.config.image_size
        self.augmentation = Augmentation(flip=config.flip, crop_area=config.crop)
        self.trained = list(self.vision.parameters())
        self.ema = [w.detach().clone() for w in self.trained] if config.ema else []
        self.optimizer = build_optimizer(
            self.vision, config, betas=BETAS, fused=self.device.type == "cuda"
        )
        targets = self._prompt_targets() if config.text_weight else None
        self.loss = EncoderLoss(config.temperature, config.text_weight, targets, self.device)
        prompts = self.loss.prompts
        self.plan = plan_encoder_memory(
            self.vision.config,
            config,
            parameters=self._num_parameters,
            extra=self._batch_bytes + (0 if prompts is None else prompts.nbytes),
            is_half=self.dtype != torch.float32,
            free=free,
            world=self.accelerator.num_processes,
        )
        self.micro_batch = self.plan.micro_batch
        _recompute_activations(self.vision, self.plan.recompute_every)
        if config.compile:
            for layer in self.vision.encoder.layers:
                layer.compile()
        self.tower: nn.Module = self.accelerator.prepare(StyleTower(self.vision, self.dtype))

    def batches(self) -> Generator[ImageBatch, None, None]:
        """This rank's batches from the current step to the last.

        Raises MegastyleError (exit 3), with a checkpoint, when no image can be opened on some rank.
        These are not counted as unusable: their storage may be unavailable only for a while.
        """
        loader = ImageLoader(
            self.images,
            self.data.sampler,
            side_px=self.augmentation.decoded_px(self.side_px),
            device=self.device,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        with closing(loader):
            for batch in loader.batches(self.step, self.num_steps):
                if any_rank(not batch.is_complete, self.accelerator):
                    self.save_checkpoint()
                    raise MegastyleError(
                        f"at step {self.step:,}: none of the {len(self.images):,} training"
                        " images can be opened",
                        hint="check their location; --resume continues from this step",
                        exit_code=TOO_MANY_FAILURES,
                    )
                yield batch

    def forward_backward(self, batch: ImageBatch) -> Metrics:
        """Adds the gradient of the global batch's loss to the weights; the terms of the loss."""
        backward(
            self.tower,
            self._augmented(batch),
            torch.from_numpy(self.images.styles[batch.rows]).to(self.device),
            self.loss,
            self.accelerator,
            self.micro_batch,
        )
        return dict(self.loss.values)

    def batch_ids(self, batch: ImageBatch) -> list[str]:
        """The ids of the images in a batch."""
        return [self.images.ids[row] for row in batch.rows]

    def validate(self) -> Metrics:
        """Retrieval scores of the held-out styles, on the first rank; empty if there are none."""
        held_out = self.data.held_out
        if not len(held_out):
            return {}
        vectors, rows, failures = self.embed_held_out()
        self.log_failures(failures)
        if not rows or not self.accelerator.is_main_process:
            return {}
        labels = [held_out.style_ids[held_out.styles[row]] for row in rows]
        known = held_out.known_contents()
        contents = None if known is None else [known[row] for row in rows]
        scores = {
            "other_contents_only": known is not None,
            **retrieval_scores(vectors, labels, contents, exclude_same_content=known is not None),
        }
        self.log_validation(scores)
        return scores

    def embed_held_out(self) -> tuple[Any, list[int], list[Failure]]:
        """Unit vectors (n, d) of the held-out images, their rows, and this rank's failures.

        Each rank embeds a share, as the finished encoder is used: full decoding, averaged weights.
        """
        images, world = self.data.held_out, self.accelerator.num_processes
        tower = StyleTower(self.vision, self.dtype).eval()
        rows: list[int] = []
        vectors: list[Any] = []
        failures: list[Failure] = []
        size = min(self.micro_batch, VALIDATION_BATCH)
        with self.ema_weights():
            for start in range(self.accelerator.process_index * size, len(images), world * size):
                chunk = range(start, min(start + size, len(images)))
                opened, pixels, failed = read_images(images, chunk, self.side_px)
                if opened:
                    vectors += list(
                        tower(normalize_pixels(torch.stack(pixels).to(self.device))).cpu().numpy()
                    )
                rows += opened
                failures += failed
        tower.train()
        all_rows, all_vectors = gather_object(rows), gather_object(vectors)
        order = np.argsort(all_rows)
        embedded = np.array([all_vectors[i] for i in order], np.float32)
        return embedded, [all_rows[i] for i in order], failures

    def write_weights(self, folder: Path) -> None:
        """Writes the tower to the folder of a checkpoint, as `from_pretrained` reads it."""
        save_folder(self.vision, folder)

    def read_weights(self, folder: Path) -> None:
        """Reads the tower back from the folder of a checkpoint."""
        self.vision.load_state_dict(read_weights(folder / "model.safetensors"))

    def ema_state(self) -> dict[str, Any]:
        """The averaged weights by name; empty if none are kept."""
        names = [name for name, _ in self.vision.named_parameters()]
        return {"ema": dict(zip(names, self.ema, strict=True)) if self.ema else {}}

    def load_ema(self, state: dict[str, Any]) -> None:
        """Copies the averaged weights from the state of training.pt."""
        names = [name for name, _ in self.vision.named_parameters()]
        for name, average in zip(names, self.ema, strict=False):
            average.copy_(state["ema"][name])

    def export(self) -> Path:
        """The finished encoder: RUN/encoder/ in float32, and in it encoder.pth.

        `trained_on.json` lists the styles of the training, so that benchmarks mark what it knows.
        """
        folder = self.folder / "encoder"
        with run_output(folder) as temporary:
            temporary.mkdir()
            save_folder(self.vision, temporary)
            dtype = getattr(torch, self.config.export_dtype)
            save_official(self.vision, temporary / "encoder.pth", dtype)
            known = {"styles": sorted(self.data.split.training.style_ids)}
            (temporary / "trained_on.json").write_text(json.dumps(known) + "\n")
        return folder

    def probe_memory(self, micro_batch: int) -> None:
        """Takes the memory of a step with that micro-batch, and changes no weight."""
        moments = 0.0 if self.optimizer.state else MOMENT_BYTES[self.config.optimizer]
        later = round(self._num_parameters * moments) + self._batch_bytes
        size = min(micro_batch, self.plan.items)
        try:
            reserved = torch.empty(later, dtype=torch.uint8, device=self.device)
            images = torch.zeros(size, 3, self.side_px, self.side_px, device=self.device)
            StyleTower(self.vision, self.dtype)(images).sum().backward()
            del reserved
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    def describe(self) -> list[str]:
        """The plan of the run, in words: size, batch, memory, steps, prompts."""
        config, world = self.config, self.accelerator.num_processes
        batch = config.global_batch
        dtype = str(self.dtype).removeprefix("torch.")
        lines = [
            f"{self._num_parameters:,} parameters in {count_tensors(self.vision)} tensors,"
            f" images of {self.side_px} px, {dtype}",
            f"batch {batch:,} = {config.groups:,} styles x {config.images_per_style},"
            f" {world} x {batch // world:,} on {self.device.type}",
            f"memory: {self.plan.sentence}",
            f"{self.num_steps:,} steps of {config.optimizer}, {config.schedule} schedule,"
            f" {self.data.sampler.steps_per_epoch:,} per epoch, from step {self.step:,}",
        ]
        lines += describe_parquet(self.images.names)
        targets = self.loss.targets
        if targets is not None:
            lines.append(
                f"prompts by {targets.name}, scale {targets.scale:.1f}, bias {targets.bias:.1f},"
                f" weight {config.text_weight}"
            )
        return lines

    @property
    def _num_parameters(self) -> int:
        return sum(weight.numel() for weight in self.trained)

    @property
    def _batch_bytes(self) -> int:
        batch = self.config.global_batch
        decoded_px = self.augmentation.decoded_px(self.side_px)
        return batch_bytes(batch, batch // self.accelerator.num_processes, decoded_px)

    def _augmented(self, batch: ImageBatch) -> AugmentedImages:
        """This rank's images on the device, augmented as they are used.

        The random numbers are drawn for the global batch and the step, so that an image embedded
        twice is cropped alike, in every world size.
        """
        b = len(batch.rows)
        first = self.accelerator.process_index * b
        draws = self.augmentation.draws(self.config.seed, self.step, self.config.global_batch)
        return AugmentedImages(
            pixels=batch.pixels.to(self.device, non_blocking=True),
            draws=draws[first : first + b].to(self.device),
            augmentation=self.augmentation,
            side_px=self.side_px,
        )

    def _prompt_targets(self) -> PromptTargets:
        images = self.images
        images.check_prompts()
        return prompt_targets(
            [prompt or "" for prompt in images.prompts],
            text_source(self.config.init, self.config.text_model),
            self.vision.config.hidden_size,
            self.folder / "prompts",
            str(self.device),
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            gather=gather_object,
        )


def _recompute_activations(vision: SiglipVisionModel, every: int) -> None:
    """Lets every n-th layer keep its input only and recompute the rest in the backward pass."""
    layers: Any = vision.encoder.layers
    for layer in layers[::every] if every else ():
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
