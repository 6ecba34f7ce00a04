"""Which backend, model and engine the options mean, and what opens them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.choices import EmbedderName
from megastyle_cli.core.errors import MegastyleError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from megastyle_cli.compute import engine as engines
    from megastyle_cli.io.embedding_cache import EmbedTexts
    from megastyle_cli.models.protocols import Assigner


def rung(
    embedder: EmbedderName | None, backend: str, model: str | None, *, is_nemo: bool
) -> tuple[EmbedderName, list[tuple[str, str | None]]]:
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


def captioner_backend(backend: str, model: str | None, base_url: str | None) -> str:
    """The backend of the captioner: a server or a model that is named selects its own."""
    if base_url and backend not in ("builtin", "openai"):
        raise MegastyleError(
            f"backend {backend!r} takes no --base-url", hint="leave one of them out"
        )
    if backend != "builtin":
        return backend
    return "openai" if base_url else "transformers" if model else backend


def load_encoder(backend: str, model: str | None) -> Any:
    """The style encoder, with its model if one is named."""
    from megastyle_cli.models.registry import load

    return load("style_encoder", backend, **({"model": model} if model else {}))


def lora_name(lora: str, how_to_get_it: str = "give a .safetensors file") -> str:
    """The LoRA as records name it: its file's stem and 8 hex digits over its bytes.

    Raises MegastyleError that ends in `how_to_get_it` if there is no such file.
    """
    import hashlib

    path = Path(lora)
    if not path.is_file():
        raise MegastyleError(f"there is no LoRA {lora}", hint=how_to_get_it)
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
    from megastyle_cli.models.registry import load

    how = {"model": model, "device": device if backend == "sentence-transformers" else None}
    return load("text_embedder", backend, **{key: name for key, name in how.items() if name})


def open_assigner(device: str | None, engine: str) -> "Assigner | None":
    """What compares points with centroids on the device of that name; None: the engine's cores do.

    Without a name a GPU does if there is one. Raises MegastyleError if the device is not there.
    """
    from importlib.util import find_spec

    from megastyle_cli.models.registry import load

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
    spread: "Callable[[Any, str, str | None], EmbedTexts] | None" = None,
    advance: "Callable[[int], None]" = lambda count: None,
) -> "EmbedTexts":
    """What embeds texts, its vectors kept in `cache` if one is named until `closing` ends.

    `spread` makes an `Embed` of the embedder and its names; without it this thread embeds.
    `advance` is told how many vectors were in the cache.
    """
    from megastyle_cli.io.embedding_cache import cached_embedder

    loaded = load_embedder(backend, model, device)
    embed = loaded.embed if spread is None else spread(loaded, backend, model)
    return cached_embedder(embed, f"{backend} {loaded.name}", cache, closing, advance)


def open_engine(
    engine: str, workers: int | None, inputs: Sequence[str]
) -> "Callable[[], engines.Engine]":
    """What opens the engine meant, when the work begins. Raises MegastyleError if it cannot be."""
    from functools import partial
    from importlib.util import find_spec

    from megastyle_cli.compute.engine import load_engine as load

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
