"""Validation of FLUX on pairs that stay the same: losses at fixed noise levels, and samples.

The training loss is noisy, since every step draws other noise levels; eight fixed levels are not.
Each pair is also scored with another style's reference: a model that looks at its reference then
does worse, one that ignores it does not.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from megastyle_cli.report.contact_sheet import write_sheet
from megastyle_cli.report.rows import rows_of
from megastyle_cli.training.common.run import Metrics
from megastyle_cli.training.flux.batch import PairBatch, fixed_pairs
from megastyle_cli.training.flux.pair_images import LoadedPair
from megastyle_cli.training.flux.pairs import Pairs

if TYPE_CHECKING:
    from megastyle_cli.training.flux.trainer import FluxTrainer

LEVELS = tuple((k + 0.5) / 8 for k in range(8))  # as torchtitan validates FLUX
MAX_PAIRS = 32
SAMPLING_STEPS = 30


@dataclass(frozen=True, kw_only=True)
class HeldOutErrors:
    """Unweighted squared errors of held-out pairs, (pairs, 8): own and another's reference."""

    own: Tensor
    other: Tensor

    @property
    def metrics(self) -> Metrics:
        """The means, and the mean at each noise level."""
        levels = {
            f"loss_at_{level:.2f}": round(float(mean), 6)
            for level, mean in zip(LEVELS, self.own.mean(0), strict=True)
        }
        own, other = float(self.own.mean()), float(self.other.mean())
        return {
            "pairs": len(self.own),
            "loss": round(own, 6),
            "loss_other_reference": round(other, 6),
            "reference_gain": round(other - own, 6),
            **levels,
        }


def held_out_losses(trainer: "FluxTrainer", pairs: Pairs) -> Metrics:
    """The losses on the first pairs, shared among the ranks; empty if there are no pairs.

    Every rank must call it, and gets the same result.
    """
    config, world = trainer.config, trainer.accelerator.num_processes
    loaded = fixed_pairs(pairs, MAX_PAIRS, config.seed, config.size)
    if not loaded:
        return {}
    mine = range(trainer.accelerator.process_index, len(loaded), world)
    errors: dict[int, list[Tensor]] = {}
    with trainer.ema_weights():
        for k in mine:
            # a single pair has only its own reference, and a gain of zero
            other = loaded[(k + 1) % len(loaded)].reference
            errors[k] = _errors(trainer, loaded[k], k, (loaded[k].reference, other))
    gathered = dict(gather_object(list(errors.items())))
    own, other_errors = (
        torch.stack([gathered[k][which] for k in sorted(gathered)]) for which in (0, 1)
    )
    return HeldOutErrors(own=own, other=other_errors).metrics


def paint_samples(trainer: "FluxTrainer", pairs: Pairs) -> None:
    """Renders the first pairs from fixed seeds into RUN/samples/, with a sheet that shows
    references.

    Each rank paints a share; every rank must call it.
    """
    config, accelerator = trainer.config, trainer.accelerator
    samples = trainer.folder / "samples"
    folder = samples / f"step-{trainer.step:08}"
    records: list[Record] = []
    for k, pair in enumerate(fixed_pairs(pairs, config.samples, config.seed, config.size)):
        painted, reference = folder / f"{k}.png", samples / f"ref-{k}.png"
        if k % accelerator.num_processes == accelerator.process_index:
            with trainer.ema_weights():
                save_picture(_paint(trainer, pair, k), painted)
            save_picture(pair.reference, reference)
        records.append(
            {
                "id": f"{k}: {pair.id}",
                "style_id": pair.id,
                "content": pair.content,
                "style_file_name": str(reference),
                "file_name": str(painted),
            }
        )
    accelerator.wait_for_everyone()  # the sheet shows what all ranks have painted
    if records and accelerator.is_main_process:
        write_sheet(rows_of(records), folder.with_suffix(".png"), title=f"step {trainer.step:,}")


def _errors(
    trainer: "FluxTrainer", pair: LoadedPair, k: int, references: tuple[Image.Image, Image.Image]
) -> list[Tensor]:
    """The errors (8,) of a pair at the fixed levels, with each of the references."""
    encoders, count = trainer.encoders, len(LEVELS)
    tokens = encoders.latents([pair.target, *references])  # (3, n, 4c)
    prompt = encoders.embed([pair.content])
    seeds = [record_seed(trainer.config.seed, "held out", 8 * k + i) for i in range(count)]
    return [
        _batch_errors(
            trainer,
            PairBatch(
                latents=tokens[:1].expand(count, -1, -1),
                references=reference.expand(count, -1, -1),
                noise=encoders.noise(seeds, trainer.config.size),
                prompts=PromptEmbeddings(
                    states=prompt.states.expand(count, -1, -1),
                    pooled=prompt.pooled.expand(count, -1),
                ),
                sigmas=torch.tensor(LEVELS, device=trainer.device),
                weights=torch.ones(count, device=trainer.device),
                ids=[pair.id] * count,
                failures=[],
            ),
        )
        for reference in (tokens[1:2], tokens[2:])
    ]


def _batch_errors(trainer: "FluxTrainer", batch: PairBatch) -> Tensor:
    """The errors of a batch, on the CPU, in micro-batches; other ranks do not take part."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    starts = range(0, len(batch.ids), trainer.micro_batch)
    parts = [slice(start, start + trainer.micro_batch) for start in starts]
    return torch.cat([trainer.errors(batch, rows, model) for rows in parts]).cpu()


def _paint(trainer: "FluxTrainer", pair: LoadedPair, k: int) -> Image.Image:
    """The RGB image painted for a pair."""
    encoders, config = trainer.encoders, trainer.config
    is_half = trainer.dtype != torch.float32
    noise = encoders.noise([record_seed(config.seed, "samples", k)], config.size)
    with torch.autocast(trainer.device.type, trainer.dtype, enabled=is_half):
        tokens = denoise(
            trainer.transformer,
            noise.to(trainer.dtype),
            encoders.latents([pair.reference]).to(trainer.dtype),
            encoders.embed([pair.content]),
            sampling_sigmas(SAMPLING_STEPS),
            trainer.ids,
            # as FLUX.1-dev is used; a model trained from scratch knows its own guidance only
            guidance=config.guidance if config.init else INFERENCE_GUIDANCE,
        )
    latents = unpack_latents(tokens, trainer.rows, trainer.rows)
    return pixels_to_images(decode_latents(trainer.pipeline.vae, latents))[0]
