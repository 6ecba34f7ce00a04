"""Speed of synth with a text-to-image model, compared with calling diffusers prompt by prompt.

Run: python benchmarks/synth.py
     python benchmarks/synth.py --layers 60 --size 1024 --compile      width of Qwen-Image, on a GPU
     python benchmarks/synth.py --model Qwen/Qwen-Image --size 1024    the weights themselves

Prompts have different lengths; guidance is the paper's (two passes per step). Without --model, a
Qwen-Image with random weights is created: tiny, or with --layers N of the real width (3072) and N
of its 60 blocks. A row is the best of --rounds, by wall and by CPU time; memory is the peak on the
GPU, or on a CPU that of the process so far.
"""

import argparse
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the small models of the tests

from megastyle_cli.models.device import resolve_device, resolve_dtype
from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.models.text_to_image.diffusion_painter import DiffusionPainter, build_prompt
from tests.tiny_pipelines import save_tiny_qwen

REAL_WIDTH: dict[str, Any] = {
    "text_width": 3584,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "axes_dims_rope": (16, 56, 56),
}
WORDS = ("cut", "from", "paper", "in", "teal", "and", "ochre", "with", "soft", "light")


def main() -> None:
    args = arguments()
    device = resolve_device(None)
    with tempfile.TemporaryDirectory() as folder:
        model = args.model
        if model is None:
            shape = {**REAL_WIDTH, "num_layers": args.layers} if args.layers else {}
            model = str(save_tiny_qwen(Path(folder), dtype=resolve_dtype(None, device), **shape))
        requests = [
            PictureRequest(
                content=f"A {'very ' * (k % 3)}small fox",
                style=f"In the style of {' '.join(WORDS[: 4 + k % 6])}.",
                size_px=(args.size, args.size),
                seed=k,
            )
            for k in range(args.count)
        ]
        packages = " ".join(f"{name} {version(name)}" for name in ("torch", "diffusers"))
        where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
        sys.stdout.write(
            f"Python {platform.python_version()} {packages}, {where}, {args.count} pictures of"
            f" {args.size} px, {args.steps} steps\n"
            "                                  images/s   ratio  CPU s/image   memory GiB\n"
        )
        painter = DiffusionPainter(model, steps=args.steps, batch_size=1)
        bare = row("the pipeline, a prompt a call", lambda: one_by_one(painter, requests), args)
        row("synth, 1 at a time", lambda: painter.paint(requests), args, bare)
        if device.type == "cuda":  # on a CPU synth always generates one at a time
            batches(painter, requests, args, bare, "")
        if args.compile:
            del painter
            compiled = DiffusionPainter(model, steps=args.steps, batch_size=1, compiled=True)
            row("synth, 1 at a time, compiled", lambda: compiled.paint(requests), args, bare)
            if device.type == "cuda":
                batches(compiled, requests, args, bare, ", compiled")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model")
    parser.add_argument("--layers", type=int, default=0)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def batches(
    painter: DiffusionPainter,
    requests: list[PictureRequest],
    args: argparse.Namespace,
    bare: float,
    how: str,
) -> None:
    """Rows for larger batches."""
    for batch_size in (2, 4, 8):
        painter.batch_size = batch_size
        row(f"synth, {batch_size} at a time{how}", lambda: painter.paint(requests), args, bare)


def one_by_one(painter: DiffusionPainter, requests: list[PictureRequest]) -> None:
    """One call of the pipeline for each prompt."""
    for request in requests:
        width, height = request.size_px or (0, 0)
        painter.model.pipeline(
            prompt=build_prompt(request),
            negative_prompt=" ",
            true_cfg_scale=painter.model.guidance,
            width=width,
            height=height,
            num_inference_steps=painter.model.steps,
            generator=torch.Generator().manual_seed(request.seed),
        )


def row(
    name: str, work: Callable[[], object], args: argparse.Namespace, bare: float | None = None
) -> float:
    """Measures and writes one row; returns images per second."""
    work()  # to warm up
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    seconds, cpu = [], []
    for _ in range(args.rounds):
        start, cpu_start = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            work()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    rate: float = args.count / min(seconds)
    memory = (
        torch.cuda.max_memory_allocated() / 2**30
        if torch.cuda.is_available()
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    )
    sys.stdout.write(
        f"{name:<32} {rate:9.3f} {rate / (bare or rate):7.2f}"
        f" {min(cpu) / args.count:12.3f} {memory:12.2f}\n"
    )
    sys.stdout.flush()
    return rate


if __name__ == "__main__":
    main()
