"""Pairs per second and FLOPs of train-flux, and the time to generate an image.

Measured in one run:

official  the structure of the official training loop: one pair per step, activation checkpointing
          of every block, eager, images opened and conditions encoded between steps, AdamW not fused
step      batch sizes x activation checkpointing x eager or compiled, with conditions in memory
whole     the loop of `train-flux` with the fastest of these settings: conditions are encoded in
          batches, ahead of the steps
transfer  one image in 30 steps with a reference, exact, without loading the model

On a CPU the model is tiny and its weights random, so its figures say nothing about a GPU. FLOPs are
counted for a LoRA on all modules: the forward pass of linear layers and attention, the gradients of
their inputs, those of the LoRA, and recomputation.

  python benchmarks/flux.py [--model FLUX.1-dev/] [--batches 1,2,4,8] [--compile] [--steps N]
"""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for the tiny FLUX of the tests

from megastyle_cli.core.errors import is_out_of_memory  # noqa: E402
from megastyle_cli.io.inputs import read_records  # noqa: E402
from megastyle_cli.models.flux.flux_stylist import FluxStylist  # noqa: E402
from megastyle_cli.models.flux.prompt_embeddings import max_text_tokens  # noqa: E402
from megastyle_cli.models.protocols import PictureRequest  # noqa: E402
from megastyle_cli.training.common.split import Split  # noqa: E402
from megastyle_cli.training.flux.batch import PairBatch, PairLoader, encode_batch  # noqa: E402
from megastyle_cli.training.flux.config import FluxConfig  # noqa: E402
from megastyle_cli.training.flux.pair_images import load_pair  # noqa: E402
from megastyle_cli.training.flux.pairs import (  # noqa: E402
    Pairs,
    PairSampler,
    TrainingPairs,
    split_pairs,
)
from megastyle_cli.training.flux.trainer import FluxTrainer  # noqa: E402
from tests.tiny_flux import save_tiny_flux  # noqa: E402
from tests.training.contexts import run_context  # noqa: E402

PICTURES = ROOT / "examples" / "pictures" / "contents"
SOURCE_PX = 512  # side of the released images, which are PNG
LR = 1e-4
WARM_UP = 2  # steps that are not timed

Row = dict[str, Any]


def step_flops(config: Any, tokens: int, rank: int, share_twice: float) -> float:
    """FLOPs of one pair: 87 T for FLUX.1 at 512 px and rank 128, 127 T with full recomputation."""
    width = config.num_attention_heads * config.attention_head_dim
    double, single = config.num_layers, config.num_single_layers
    linear = 24 * width**2 * tokens * (double + single)
    attention = 4 * tokens**2 * width * (double + single)
    lora = 2 * tokens * width * rank * (18 * double + 17 * single)
    forward = linear + attention + lora
    return (1 + share_twice) * forward + linear + 2.5 * attention + 2 * lora


class Bench:
    """A model, training pairs, and the work to be timed."""

    def __init__(
        self, model: str, pairs: Split[Pairs], scratch: Path, args: argparse.Namespace
    ) -> None:
        self.pairs, self.scratch, self.steps = pairs, scratch, args.steps
        self.config = FluxConfig(
            model=model, rank=args.rank, size=args.size, steps=10**6, encode_text="beside"
        )

    def official(self) -> Row:
        """Measures the structure of the official loop."""
        trainer, sampler = self._trainer(1, 1, is_compiled=False)
        groups = trainer.optimizer.param_groups
        trainer.optimizer = torch.optim.AdamW(
            [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in groups],
            lr=LR,
            fused=False,
            foreach=False,
        )

        def step(number: int) -> None:
            draw = sampler.draw(number)
            pair = load_pair(self.pairs.training, draw, self.config.size, augment=True)
            with torch.no_grad():
                batch = encode_batch([pair], [draw], trainer.encoders, self.config)
            trainer.train_step(batch, LR)

        return self._row("official", trainer, 1, self._median_s(step))

    def step(self, batch: int, every: int, *, is_compiled: bool) -> Row:
        """Measures a step without its loader."""
        trainer, sampler = self._trainer(batch, every, is_compiled=is_compiled)
        loaded = self._loaded(trainer, sampler, 1)[0]
        seconds = self._median_s(lambda _: trainer.train_step(loaded, LR))
        return self._row("step", trainer, batch, seconds)

    def whole(self, batch: int, every: int, *, is_compiled: bool) -> Row:
        """Measures the loop with its loader."""
        trainer, sampler = self._trainer(batch, every, is_compiled=is_compiled)
        loader = self._loader(trainer, sampler)
        batches = loader.batches(0, WARM_UP + self.steps)
        seconds = self._median_s(lambda _: trainer.train_step(next(batches), LR))
        loader.close()
        return self._row("whole", trainer, batch, seconds)

    def transfer(self, *, is_compiled: bool) -> Row:
        """Measures an image; its time is reported as that of a step."""
        self._begin()
        stylist = FluxStylist(self.config.model, compiled=is_compiled)
        size = (self.config.size, self.config.size)
        reference = Image.new("RGB", size, "teal")

        def paint(number: int) -> None:
            request = PictureRequest(
                content="a picture",
                references=(reference,),
                reference_keys=("teal",),
                weights=(1.0,),
                size_px=size,
                seed=number,
            )
            stylist.restyle([request])

        seconds = self._median_s(paint)
        row: Row = {"what": "transfer", "batch": 1, "blocks": _blocks(is_compiled)}
        return {**row, "step_s": seconds, "samples_per_s": 1 / seconds, **_peak()}

    def _begin(self) -> None:
        """Frees the memory of the previous row; a trainer has reference cycles, hence gc."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def _trainer(
        self, batch: int, every: int, *, is_compiled: bool
    ) -> tuple[FluxTrainer, PairSampler]:
        self._begin()
        AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
        config = replace(
            self.config,
            global_batch=batch,
            chunk=str(batch),
            recompute=str(every) if every else "none",
            compile=is_compiled,
        )
        sampler = PairSampler(self.pairs.training, batch=batch, seed=0)
        context = run_context(self.scratch, "train-flux", accelerator=accelerator)
        data = TrainingPairs(split=self.pairs, sampler=sampler)
        return FluxTrainer(config, data, context), sampler

    def _loader(self, trainer: FluxTrainer, sampler: PairSampler) -> PairLoader:
        return PairLoader(sampler, trainer.encoders, trainer.config, rank=0, world=1)

    def _loaded(self, trainer: FluxTrainer, sampler: PairSampler, count: int) -> list[PairBatch]:
        loader = self._loader(trainer, sampler)
        found = list(loader.batches(0, count))
        loader.close()
        return found

    def _median_s(self, work: Callable[[int], Any]) -> float:
        took = []
        for number in range(WARM_UP + self.steps):
            started = time.perf_counter()
            work(number)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            took.append(time.perf_counter() - started)
        return statistics.median(took[WARM_UP:])

    def _row(self, what: str, trainer: FluxTrainer, batch: int, seconds: float) -> Row:
        plan, config = trainer.plan, trainer.transformer.config
        tokens = max_text_tokens(trainer.pipeline) + 2 * trainer.rows**2
        share = plan.num_recomputed / plan.layers
        flops = step_flops(config, tokens, self.config.rank or 0, share) * batch
        row: Row = {"what": what, "batch": batch, "twice": f"{plan.num_recomputed}/{plan.layers}"}
        row["blocks"] = _blocks(trainer.config.compile)
        row |= {"step_s": seconds, "samples_per_s": batch / seconds}
        return {**row, "tflop_per_s": flops / seconds / 1e12, **_peak()}


def _blocks(is_compiled: bool) -> str:
    return "compiled" if is_compiled else "eager"


def _peak() -> Row:
    if not torch.cuda.is_available():
        return {}
    return {"peak_gib": torch.cuda.max_memory_allocated() / 2**30}


def rows(bench: Bench, batches: list[int], *, with_compiled: bool) -> Iterator[Row]:
    """All measurements; a row that does not fit on the device has no figures."""
    yield fitting("official", 1, bench.official)
    best: Row = {"samples_per_s": None}
    how: tuple[int, int, bool] = (1, 1, False)
    for is_compiled in (False, True) if with_compiled else (False,):
        for batch in batches:
            for every in (0, 4, 2, 1):
                step = partial(bench.step, batch, every, is_compiled=is_compiled)
                row = fitting("step", batch, step)
                yield row
                if (row["samples_per_s"] or 0) > (best["samples_per_s"] or 0):
                    best, how = row, (batch, every, is_compiled)
    batch, every, is_compiled = how
    yield fitting("transfer", 1, partial(bench.transfer, is_compiled=with_compiled))
    yield fitting("whole", batch, partial(bench.whole, batch, every, is_compiled=is_compiled))


def fitting(what: str, batch: int, measure: Callable[[], Row]) -> Row:
    """The row of `measure`, or one without figures if the device runs out of memory."""
    try:
        row = measure()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        row = {"what": what, "batch": batch, "samples_per_s": None}
    sys.stderr.write(f"{json.dumps(row)}\n")  # kept if a later row crashes
    return row


def make_pairs(folder: Path, styles: int = 16, each: int = 4) -> Split[Pairs]:
    """Pairs of PNG images cropped from the example photographs, in invented styles."""
    sources = sorted(PICTURES.glob("*.jpg"))
    lines = []
    for number in range(styles * each):
        with Image.open(sources[number % len(sources)]) as source:
            shift = number // len(sources) % 32
            box = (shift, shift, source.width - shift, source.height - shift)
            picture = source.resize((SOURCE_PX, SOURCE_PX), Image.Resampling.BICUBIC, box)
        picture.save(folder / f"{number}.png", compress_level=1)
        known = {"id": str(number), "style_id": number // each, "content": f"picture {number}"}
        lines.append({**known, "file_name": f"{number}.png"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = read_records([str(folder)])
    return split_pairs(records, label="style_id", holdout=0, split_key=None, seed=0)


def table(found: list[Row]) -> str:
    """The rows as a Markdown table."""
    keys = ("what", "batch", "twice", "blocks", "step_s", "samples_per_s", "tflop_per_s")
    keys += ("peak_gib",) if torch.cuda.is_available() else ()
    lines = ["| " + " | ".join(keys) + " |", "| --- " * len(keys) + "|"]
    for row in found:
        cells = [row.get(key, "") for key in keys]
        if row["samples_per_s"] is None:
            cells[5] = "out of memory"
        shown = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table, then the same rows as one line of JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--model", help="a FLUX folder; without one a tiny one is made")
    parser.add_argument("--batches", default="1,2,4,8")
    parser.add_argument("--compile", action="store_true", help="measure compiled blocks too")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each row")
    parser.add_argument("--size", type=int, help="pixels; 512, for the tiny model 32")
    parser.add_argument("--rank", type=int, help="128, for the tiny model 4")
    args = parser.parse_args()
    args.size = args.size or (512 if args.model else 32)
    args.rank = args.rank or (128 if args.model else 4)
    where = f"{os.cpu_count()} cores, no GPU"
    if torch.cuda.is_available():
        where = torch.cuda.get_device_name()
    facts = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "where": where,
        "threads": torch.get_num_threads(),
        "model": args.model or "tiny: 4 blocks of width 32",
        "size": args.size,
    }
    sys.stdout.write("".join(f"{name}: {value}\n" for name, value in facts.items()))
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "imgs").mkdir()
        model = args.model or str(save_tiny_flux(scratch / "model", text_tokens=64))
        bench = Bench(model, make_pairs(scratch / "imgs"), scratch, args)
        batches = [int(number) for number in args.batches.split(",")]
        found = list(rows(bench, batches, with_compiled=args.compile))
    gain = (found[-1]["samples_per_s"] or 0) / (found[0]["samples_per_s"] or float("inf"))
    sys.stdout.write(f"{table(found)}\n\nwhole to official: {gain:.2f} x the samples a second\n")
    sys.stdout.write(f"{json.dumps({**facts, 'gain': gain, 'rows': found})}\n")


if __name__ == "__main__":
    main()
