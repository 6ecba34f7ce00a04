"""Composable Unix tools for image style; its functions are those of `megastyle_cli.api`."""

import os

TYPE_CHECKING = False  # of `typing`, which takes longer to import than the signals may wait
if TYPE_CHECKING:
    from megastyle_cli.api import (
        Deduplicated,
        MegastyleError,
        Record,
        caption,
        deduplicate,
        embed,
        read_records,
        retrieve,
        score,
        transfer,
        write_records,
    )

__all__ = [
    "Deduplicated",
    "MegastyleError",
    "Record",
    "caption",
    "deduplicate",
    "embed",
    "read_records",
    "retrieve",
    "score",
    "transfer",
    "write_records",
]

__version__ = "0.2.0"

# Libraries that report their use over the network read these when they are imported. Whatever
# starts the toolkit imports this package first, and child processes inherit its environment.
NO_TELEMETRY = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime, whose telemetry is on by default
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers, diffusers
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",  # a convention that other libraries follow
}
for _variable, _off in NO_TELEMETRY.items():
    if not os.environ.get(_variable):
        os.environ[_variable] = _off


def __getattr__(name: str) -> object:
    """A function of `megastyle_cli.api`, which is imported when one is first used."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("megastyle_cli.api"), name)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
