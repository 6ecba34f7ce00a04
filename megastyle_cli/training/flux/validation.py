"""What FLUX has learned, on pairs that stay the same: losses at fixed noise levels, and samples.

The training loss is noisy, since every step draws other noise levels; eight fixed levels are not.
Each pair is also given another style's reference: a model that looks at its reference then does
worse, one that is blind to it does not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import gather_object
from PIL import Image
from torch import Tensor

from megastyle_cli.core.record import Record, record_seed
from megastyle_cli.io.images import save_picture
from megastyle_cli.models.flux.model import unpack_latents
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.sampling import INFERENCE_GUIDANCE, denoise
from megastyle_cli.models.flux.schedule import sampling_sigmas
from megastyle_cli.models.flux.vae import decode_latents, pixels_to_images
from megastyle_cli.training.common.loop import Measured
from megastyle_cli.training.flux.augment import Opened
from megastyle_cli.training.flux.batch import Conditions, first_pairs
from megastyle_cli.training.flux.pairs import Pairs
from megastyle_cli.training.flux.trainer import Trainer

LEVELS = tuple((k + 0.5) / 8 for k in range(8))  # as torchtitan validates FLUX
MOST_PAIRS = 32
STEPS = 30  # from noise to a sample

Draw = Callable[[Sequence[Record], Path, str], None]  # records to a sheet with a title


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Squared errors of held-out pairs, unweighted, each (pairs, 8): own and other reference."""

    own: Tensor
    other: Tensor

    @property
    def measured(self) -> Measured:
        """The means, and that of each noise level."""
        levels = {
            f"loss_at_{level:.2f}": round(float(mean), 6)
            for level, mean in zip(LEVELS, self.own.mean(0), strict=True)
        }
        own, other = float(self.own.mean()), float(self.other.mean())
        told = {"loss": round(own, 6), "loss_other_reference": round(other, 6)}
        gain = {"reference_gain": round(other - own, 6)}
        return {"pairs": len(self.own), **told, **gain, **levels}


def held_out_losses(trainer: Trainer, pairs: Pairs) -> Measured:
    """The losses on the first pairs, shared by the ranks; nothing if there are no pairs.

    Every rank must call it, and gets the same answer.
    """
    settings, world = trainer.settings, trainer.accelerator.num_processes
    found = first_pairs(pairs, MOST_PAIRS, settings.seed, settings.size_px)
    if not found:
        return {}
    mine = range(trainer.accelerator.process_index, len(found), world)
    with trainer.at_rest():
        # of a single pair the other reference is its own, and the gain nothing
        rows = [(k, *_errors(trainer, found[k], found[(k + 1) % len(found)], k)) for k in mine]
    every = sorted(gather_object(rows), key=_place)
    own, other = (torch.stack([row[which] for row in every]) for which in (1, 2))
    return Scores(own=own, other=other).measured


def paint_samples(trainer: Trainer, pairs: Pairs, draw: Draw) -> Measured:
    """Paints the first pairs from fixed seeds into RUN/samples/, and draws them beside references.

    The first rank paints, the others wait.
    """
    if trainer.accelerator.is_main_process:
        settings = trainer.settings
        found = first_pairs(pairs, settings.layout.samples, settings.seed, settings.size_px)
        folder = trainer.folder / "samples" / f"step-{trainer.at:08}"
        records: list[Record] = []
        for k, one in enumerate(found):
            painted, reference = folder / f"{k}.png", trainer.folder / "samples" / f"ref-{k}.png"
            with trainer.at_rest():
                save_picture(_painted(trainer, one, k), painted)
            save_picture(one.reference, reference)
            records.append(
                {
                    "id": f"{k}: {one.id}",
                    "style_id": one.id,
                    "content": one.content,
                    "style_file_name": str(reference),
                    "file_name": str(painted),
                }
            )
        if records:
            draw(records, folder.with_suffix(".png"), f"step {trainer.at:,}")
    trainer.accelerator.wait_for_everyone()
    return {}


def _errors(trainer: Trainer, one: Opened, other: Opened, k: int) -> tuple[Tensor, Tensor]:
    """The errors (8,) of a pair at the fixed levels, with its own reference and with another's."""
    encoders, count = trainer.encoders, len(LEVELS)
    tokens = encoders.latents([one.target, one.reference, other.reference])
    words = encoders.words([one.content])
    seeds = [record_seed(trainer.settings.seed, "held out", 8 * k + i) for i in range(count)]
    own, others = (
        _told_errors(
            trainer,
            Conditions(
                latents=tokens[:1].expand(count, -1, -1),
                references=reference.expand(count, -1, -1),
                noise=encoders.noise(seeds, trainer.settings.size_px),
                words=PromptEmbeddings(
                    states=words.states.expand(count, -1, -1),
                    pooled=words.pooled.expand(count, -1),
                ),
                sigmas=torch.tensor(LEVELS, device=trainer.device),
                weights=torch.ones(count, device=trainer.device),
                ids=[one.id] * count,
                failures=[],
            ),
        )
        for reference in (tokens[1:2], tokens[2:])
    )
    return own, others


def _told_errors(trainer: Trainer, batch: Conditions) -> Tensor:
    """The errors of a batch, on the CPU, in chunks as in training; no other rank takes part."""
    inner = trainer.accelerator.unwrap_model(trainer.loss)
    words = batch.words
    found = []
    for start in range(0, len(batch.ids), trainer.chunk):
        rows = slice(start, start + trainer.chunk)
        known = (batch.latents, batch.references, batch.noise, words.states, words.pooled)
        found.append(inner(*(part[rows] for part in known), batch.sigmas[rows], trainer.ids))
    return torch.cat(found).cpu()


def _painted(trainer: Trainer, one: Opened, k: int) -> Image.Image:
    """The picture painted for a pair, RGB."""
    encoders, settings = trainer.encoders, trainer.settings
    transformer = trainer.transformer
    is_half = trainer.dtype != torch.float32
    noise = encoders.noise([record_seed(settings.seed, "samples", k)], settings.size_px)
    with torch.autocast(trainer.device.type, trainer.dtype, enabled=is_half):
        tokens = denoise(
            transformer,
            noise.to(trainer.dtype),
            encoders.latents([one.reference]).to(trainer.dtype),
            encoders.words([one.content]),
            sampling_sigmas(STEPS),
            trainer.ids,
            # what FLUX.1-dev is told for pictures; a model of our own knows one number only
            guidance=settings.guidance if settings.init else INFERENCE_GUIDANCE,
        )
    latents = unpack_latents(tokens, trainer.rows, trainer.rows)
    return pixels_to_images(decode_latents(trainer.pipeline.vae, latents))[0]


def _place(row: tuple[int, Tensor, Tensor]) -> int:
    return row[0]
