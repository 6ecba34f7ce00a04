"""The systems that a benchmark compares: style encoders, and painters by their pictures."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from megastyle_cli.benchmark.vector_cache import LoadedEncoder
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import recorded_weights
from megastyle_cli.io.formats import format_of
from megastyle_cli.io.images import ImageReader
from megastyle_cli.models.registry import BACKENDS, WITHOUT_WEIGHTS, load

DECODED_PX = 384  # side of images for encoders without weights of their own
ORIGINALS = "originals"  # the benchmark's own pictures, beside painters
TRAINED_ON = "trained_on.json"
Kind = Literal["encoder", "painter"]


@dataclass(frozen=True, kw_only=True)
class System:
    """One row of the table: an encoder by backend and model, or a painter by its pictures."""

    name: str
    kind: Kind
    backend: str = ""
    model: str | None = None
    pictures: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies it, for the run key."""
        known = {"name": self.name, "kind": self.kind}
        if self.kind == "painter":
            return {**known, "pictures": self.pictures}
        return {**known, "backend": self.backend, **recorded_weights("model", self.model)}


def parse_systems(texts: Sequence[str]) -> list[System]:
    """The systems that `--system` names.

    Each is the backend of an encoder, package.module:Class, a model (a folder or a Hugging Face
    name), a painter's pictures (a folder of images or a file of records), `originals`, or
    NAME=one of these. Raises MegastyleError if encoders and painters are mixed, or two systems
    have one name.
    """
    systems = [_parse(text) for text in texts]
    if len({system.kind for system in systems}) > 1:
        raise MegastyleError(
            "--system mixes encoders and painters: "
            + ", ".join(f"{each.name} is {_kind_in_words(each)}" for each in systems),
            hint="compare each kind in a call of its own",
        )
    names = [system.name for system in systems]
    for name in names:
        if names.count(name) > 1:
            raise MegastyleError(f"two systems are called {name}", hint="give --system NAME=...")
    return systems


def load_encoder(system: System, hardware: Mapping[str, str] | None = None) -> LoadedEncoder:
    """The encoder of a system; a model runs on `hardware`, its device and dtype.

    Raises MegastyleError if it does not load.
    """
    options = {"model": system.model, **(hardware or {})} if system.model else {}
    encoder = load("style_encoder", system.backend, **options)
    weights = recorded_weights("model", system.model).get("model_digest", "")
    side_px = None if system.model else DECODED_PX
    parts = (system.backend, encoder.name, weights, options.get("dtype"))
    return LoadedEncoder(
        encoder=encoder,
        reader=ImageReader(side_px),
        fingerprint=" ".join(filter(None, (*parts, f"{side_px} px" if side_px else ""))),
    )


def trained_on(system: System, encoder: object) -> frozenset[str] | None:
    """The styles and groups that an encoder was fitted on; None if that is not known.

    By its attribute `trained_on`, or by `trained_on.json` in a model's folder: an object with lists
    `styles` and `groups`.
    """
    declared = getattr(encoder, "trained_on", None)
    if system.model and (file := Path(system.model).expanduser() / TRAINED_ON).is_file():
        declared = _read_list(file)
    if not isinstance(declared, Collection) or isinstance(declared, str):
        return None
    return frozenset(map(str, declared))


def _read_list(file: Path) -> list[str]:
    try:
        found = json.loads(file.read_text())
        return [str(name) for key in ("styles", "groups") for name in found.get(key, [])]
    except (ValueError, AttributeError, TypeError):
        raise MegastyleError(
            f"{file} is not an object with lists of styles and groups", hint="repair or delete it"
        ) from None


def _parse(text: str) -> System:
    given, sign, value = text.partition("=")
    named = bool(sign) and not Path(text).exists()
    name, value = (given, value) if named else (text, text)
    if not (name and value):
        raise MegastyleError(f"--system is {text!r}, not NAME=SYSTEM", hint="name both")
    path = Path(value).expanduser()
    if value == ORIGINALS:
        return System(name=name, kind="painter", pictures=ORIGINALS)
    if value in BACKENDS["style_encoder"] and not (path.exists() and named):
        if value not in (*WITHOUT_WEIGHTS, "builtin"):
            raise MegastyleError(
                f"--system {value} needs weights", hint="name the model's folder instead"
            )
        return System(name=name, kind="encoder", backend=value)
    if path.exists() and not _is_model(path):
        short = value.rstrip("/") if not named else name
        return System(name=short, kind="painter", pictures=value)
    if not path.exists() and ":" in value:
        return System(name=name, kind="encoder", backend=value)
    if not path.exists() and (format_of(value) or value.startswith((".", "/")) or "/" not in value):
        raise MegastyleError(
            f"--system {value}: there is no such backend, folder or file",
            hint=f"choose {', '.join((*WITHOUT_WEIGHTS, 'builtin'))}, a model or pictures",
        )
    return System(name=name, kind="encoder", backend="auto", model=value)


def _is_model(path: Path) -> bool:
    """Whether a path holds weights, rather than pictures or records."""
    if path.is_file():
        return path.suffix in (".pth", ".pt", ".safetensors")
    return (path / "config.json").is_file() or any(path.glob("*.safetensors"))


def _kind_in_words(system: System) -> str:
    return "an encoder" if system.kind == "encoder" else "a painter's pictures"
