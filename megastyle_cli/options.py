"""Every shared flag once: one name, one meaning, on every command that has it."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megastyle_cli.choices import Container, EmbedderRung, PictureFormat
from megastyle_cli.errors import MegastyleError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from megastyle_cli.engines import engine as engines
    from megastyle_cli.models.backend import Assigner
    from megastyle_cli.stream.embeddings import Embed

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUTS]...",
        help="Pictures, folders, JSON lines (.jsonl, .gz .bz2 .xz .zst), .csv, .tsv, .parquet, .tar"
        " or - for stdin.",
        show_default=False,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        help="File, directory or - for stdout.",
    ),
]
FolderOutput = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Directory for pictures and metadata.jsonl.",
        show_default=False,
    ),
]
Format = Annotated[
    Container,
    typer.Option(
        "--format", help="Keep pictures as files in a folder, or in WebDataset tars, or parquet."
    ),
]
PicturesAs = Annotated[PictureFormat, typer.Option("--picture-format", help="Format of a picture.")]
Quality = Annotated[
    int | None,
    typer.Option(
        "--quality",
        metavar="N",
        min=1,
        max=100,
        show_default=False,
        help="Of jpg and webp pictures; default 92.",
    ),
]
ShardSize = Annotated[
    int,
    typer.Option("--shard-size", metavar="N", min=1, help="Records a tar or parquet file holds."),
]
Errors = Annotated[
    str | None,
    typer.Option(
        "--errors",
        metavar="FILE",
        show_default=False,
        help="Where failed records go; default: beside the output.",
    ),
]
MaxErrors = Annotated[
    str, typer.Option("--max-errors", metavar="N|N%", help="Failures tolerated before exit code 3.")
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with an unfinished output, or extend a finished one."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Force = Annotated[bool, typer.Option("--force", help="Resume although the options have changed.")]
Label = Annotated[
    str, typer.Option(metavar="KEY", help="Pictures of one style share this key's value.")
]
ContentLabel = Annotated[
    str,
    typer.Option(
        metavar="KEY", help="As --label, for contents; retrieval is among other contents."
    ),
]
ShardOf = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        show_default=False,
        help="This process's share of the records, 0 <= I < N; or auto (Slurm array).",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", min=0, show_default=False, help="Only the first N input records."
    ),
]
Paths = Annotated[bool, typer.Option("--paths", help="stdin holds one file name a line.")]
NulPaths = Annotated[
    bool, typer.Option("-0", "--null", help="stdin holds file names separated by NUL.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="For everything drawn.")]
Backend = Annotated[
    str,
    typer.Option(
        "--backend", metavar="NAME", help="Which implementation, or package.module:Class."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default=False,
        help="By name or folder: sentence-transformers for texts, SigLIP's tower for pictures,"
        " Qwen-Image or FLUX to paint, Qwen3-VL and its like to caption.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        show_default=False,
        help="Where the model runs: cpu, cuda, cuda:N; default: a GPU if there is one.",
    ),
]
Dtype = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option(
        "--dtype",
        metavar="float32|bfloat16",
        show_default=False,
        help="Numbers the model runs in; default: bfloat16 on a GPU, float32 on a CPU.",
    ),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(
        "--engine",
        metavar="local|ray",
        help="Where the work runs: on this machine's cores, or on those of a Ray cluster"
        " (RAY_ADDRESS).",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        show_default=False,
        help="Cores to work on, default: all; changes speed, never results.",
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        metavar="N",
        min=1,
        help="Records worked on at once; changes speed, never results.",
    ),
]
Holdout = Annotated[
    float, typer.Option(min=0, max=0.9, metavar="SHARE", help="Of styles, for validation.")
]
SplitKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        show_default=False,
        help='Styles whose records say "heldout" here are held out, no others.',
    ),
]
Warmup = Annotated[
    float, typer.Option(min=0, max=1, metavar="SHARE", help="Of the steps, then --schedule.")
]
WeightDecay = Annotated[float, typer.Option(min=0, metavar="W", help="On matrices only.")]
Clip = Annotated[float, typer.Option(min=0, metavar="L", help="Longest gradient; 0: any.")]
Ema = Annotated[
    float, typer.Option(min=0, max=0.99999, metavar="D", help="Decay of averaged weights; 0: off.")
]
Recompute = Annotated[
    str,
    typer.Option(
        metavar="auto|none|all|N",
        help="Layers computed twice, to keep less (checkpointing): by memory, none, all, or"
        " every Nth.",
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the model's layers first: pays off for many.")
]
LoraStrength = Annotated[
    float, typer.Option("--lora-strength", metavar="S", help="How much of the LoRA is added.")
]
Quantize = Annotated[
    Literal["int8", "fp8", "nf4"] | None,
    typer.Option(
        "--quantize",
        metavar="int8|fp8|nf4",
        show_default=False,
        help="Round the weights, for smaller cards (torchao; nf4: bitsandbytes).",
    ),
]
CheckpointEvery = Annotated[int, typer.Option(min=1, metavar="STEPS", help="Save so often.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        show_default=False,
        help="Keep text embeddings here; dedup and cluster share them.",
    ),
]
Stats = Annotated[
    Path | None,
    typer.Option(
        "--stats",
        metavar="FILE",
        show_default=False,
        help="Write counts, seconds and error kinds as JSON.",
    ),
]
Sheet = Annotated[
    Path | None,
    typer.Option(
        "--sheet", metavar="FILE.png", show_default=False, help="Draw a labelled contact sheet."
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--page",
        metavar="FILE.html",
        show_default=False,
        help="Write a one-file page to look through, offline.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("-n", "--dry-run", help="Say what would be done; load no model, write nothing."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Errors only.")]
Verbose = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        show_default=False,
        metavar="",
        help="More words; twice for debugging.",
    ),
]


def inputs_or_stdin(inputs: list[str] | None, context: typer.Context) -> list[str]:
    """The inputs named, else standard input; if that is a terminal, short help and exit 2."""
    import sys

    if inputs:
        return inputs
    if sys.stdin is None or sys.stdin.isatty():
        sys.stderr.write(f"{context.get_usage()}\n")
        raise MegastyleError(
            f"{context.info_name} needs an input: name one, or pipe records in",
            hint=f"megastyle {context.info_name} --help shows examples",
        )
    return ["-"]


def given(context: typer.Context, names: Collection[str]) -> str | None:
    """The first of these parameters that stands on the command line, as its flag."""
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in names and source is not None and source.name == "COMMANDLINE":
            return parameter.opts[-1]
    return None


def separator(paths: bool, null: bool) -> str | None:
    """What separates file names on standard input; None if it holds JSON lines."""
    return "\0" if null else "\n" if paths else None


def rung(
    embedder: EmbedderRung | None, backend: str, model: str | None, *, is_nemo: bool
) -> tuple[EmbedderRung, list[tuple[str, str | None]]]:
    """The rung meant of the ladder of text embedders, and backend and model of each step of it.

    Raises MegastyleError if a model is named that the rung does not run.
    """
    runs_model = bool(model) or backend == "sentence-transformers" or is_nemo
    meant = embedder or ("sentence" if runs_model else "static")
    if meant == "static":
        if model:
            raise MegastyleError(
                f"--embedder static runs no --model {model!r}", hint="leave one of them out"
            )
        return meant, [(backend, None)]
    second = ("sentence-transformers" if backend == "builtin" else backend, model)
    return meant, [second] if meant == "sentence" else [("builtin", None), second]


def embedder(backend: str, model: str | None) -> str:
    """The text embedder meant: naming a model selects the backend that runs models."""
    return "sentence-transformers" if model and backend == "builtin" else backend


def encoder(backend: str, model: str | None) -> str:
    """The style encoder meant: naming a model selects the backend that runs models."""
    if model and backend in ("statistics", "edges", "imagenet"):
        raise MegastyleError(f"backend {backend!r} takes no --model", hint="leave one of them out")
    return "siglip" if model and backend == "builtin" else backend


def stylist(backend: str, model: str | None) -> str:
    """The stylist meant: naming a model selects the backend that runs models."""
    return "flux" if model and backend == "builtin" else backend


def painter(backend: str, model: str | None) -> str:
    """The painter meant: naming a model selects the backend that runs models."""
    return "diffusers" if model and backend == "builtin" else backend


def captioner(backend: str, model: str | None, base_url: str | None) -> str:
    """The captioner meant: naming a server or a model selects the backend that asks it."""
    if base_url and backend not in ("builtin", "openai"):
        raise MegastyleError(
            f"backend {backend!r} takes no --base-url", hint="leave one of them out"
        )
    if backend != "builtin":
        return backend
    return "openai" if base_url else "transformers" if model else backend


def load_encoder(backend: str, model: str | None) -> Any:
    """The style encoder, with its model if one is named."""
    from megastyle_cli.models.backend import load

    return load("style_encoder", backend, **({"model": model} if model else {}))


LEAST_PX, MOST_PX = 32, 4096


def parsed_size(text: str | None) -> tuple[int | None, tuple[int, int] | None]:
    """The longer side, or width and height, that PX or WIDTHxHEIGHT asks for; else both None.

    Raises MegastyleError if it is neither, or out of range.
    """
    if text is None:
        return None, None
    sides = [int(side) if side.isdecimal() else 0 for side in text.lower().split("x")]
    if len(sides) > 2 or not all(LEAST_PX <= side <= MOST_PX for side in sides):
        raise MegastyleError(
            f"--size is {text!r}, not PX or WIDTHxHEIGHT from {LEAST_PX} to {MOST_PX}",
            hint="give 512 or 768x512",
        )
    return (sides[0], None) if len(sides) == 1 else (None, (sides[0], sides[1]))


def lora_name(lora: str) -> str:
    """The LoRA as records name it: its file's stem and 8 hex digits over its bytes."""
    import hashlib

    path = Path(lora)
    if not path.is_file():
        raise MegastyleError(f"there is no LoRA {lora}", hint="give a .safetensors file")
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return f"{path.stem}@{digest[:8]}"


def told(backend: str, model: str | None) -> dict[str, str]:
    """Both as options of a run; a run without a model does not mention one."""
    return {"backend": backend, **({"model": model} if model else {})}


def decoded_px(model: str | None, builtin_px: int) -> int | None:
    """The longer side pictures are decoded at: a model does its own processing of whole ones."""
    return None if model else builtin_px


def load_embedder(backend: str, model: str | None, device: str | None = None) -> Any:
    """The text embedder, with its model if one is named, on the device if it runs on any."""
    from megastyle_cli.models.backend import load

    how = {"model": model, "device": device if backend == "sentence-transformers" else None}
    return load("text_embedder", backend, **{key: name for key, name in how.items() if name})


def open_assigner(device: str | None, engine: str) -> "Assigner | None":
    """What compares points with centroids on the device of that name; None: the engine's cores do.

    Without a name a GPU does if there is one. Raises MegastyleError if the device is not there.
    """
    from importlib.util import find_spec

    from megastyle_cli.models.backend import load

    if device is None:
        # the device file, since asking torch takes seconds where there is no GPU
        has_gpu = any(Path("/dev").glob("nvidia[0-9]*")) and find_spec("torch") is not None
        if engine != "local" or not has_gpu:
            return None
    elif device == "cpu":
        return None
    assigner: Assigner = load("assigner", "torch", device=device)
    return None if assigner.name.startswith("cpu ") else assigner


def refuse_device(device: str | None, engine: str) -> None:
    """Raises MegastyleError if the engine's nodes would not work on the device of that name."""
    if device not in (None, "cpu") and engine != "local":
        raise MegastyleError(
            f"--engine {engine} works on the cores of its nodes, not on --device {device}",
            hint="leave one of them out",
        )


def kept_embedder(
    backend: str,
    model: str | None,
    cache: Path | None,
    closing: "ExitStack",
    device: str | None = None,
    spread: "Callable[[Any, str, str | None], Embed] | None" = None,
    advance: "Callable[[int], None]" = lambda count: None,
) -> "Embed":
    """What embeds texts, its vectors kept in `cache` if one is named until `closing` ends.

    `spread` makes an `Embed` of the embedder and its names; without it this thread embeds.
    `advance` is told how many vectors were in the cache.
    """
    from megastyle_cli.stream.embeddings import kept

    loaded = load_embedder(backend, model, device)
    embed = loaded.embed if spread is None else spread(loaded, backend, model)
    return kept(embed, f"{backend} {loaded.name}", cache, closing, advance)


def open_engine(
    engine: str, workers: int | None, inputs: Sequence[str]
) -> "Callable[[], engines.Engine]":
    """What opens the engine meant, when the work begins. Raises MegastyleError if it cannot be."""
    from functools import partial
    from importlib.util import find_spec

    from megastyle_cli.engines.engine import load

    if engine == "ray" and "-" in inputs:
        raise MegastyleError(
            "--engine ray cannot read standard input", hint="name files that every node sees"
        )
    if engine == "ray" and find_spec("ray") is None:  # now, not after the input was read
        raise MegastyleError(
            "--engine ray needs the package 'ray', which is not installed",
            hint="pip install 'megastyle[ray]'",
        )
    return partial(load, engine, workers)
