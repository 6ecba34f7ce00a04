"""Every shared flag once: one name, one meaning, on every command that has it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from megastyle_cli.errors import MegastyleError

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUTS]...",
        help="Pictures, folders, JSON lines (.jsonl, .gz .bz2 .xz), .parquet, .tar or - for stdin.",
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
        " FLUX.1 to paint, Qwen3-VL and its like to caption.",
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
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        metavar="N",
        min=1,
        help="Records worked on at once; changes speed, never results.",
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


def separator(paths: bool, null: bool) -> str | None:
    """What separates file names on standard input; None if it holds JSON lines."""
    return "\0" if null else "\n" if paths else None


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


def told(backend: str, model: str | None) -> dict[str, str]:
    """Both as options of a run; a run without a model does not mention one."""
    return {"backend": backend, **({"model": model} if model else {})}


def decoded_px(model: str | None, builtin_px: int) -> int | None:
    """The longer side pictures are decoded at: a model does its own processing of whole ones."""
    return None if model else builtin_px


def load_embedder(backend: str, model: str | None) -> Any:
    """The text embedder, with its model if one is named."""
    from megastyle_cli.models.backend import load

    return load("text_embedder", backend, **({"model": model} if model else {}))
