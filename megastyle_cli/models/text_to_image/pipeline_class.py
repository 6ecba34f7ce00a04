"""The class of a diffusers pipeline and of its models, from the model_index.json of its folder."""

import inspect
import json
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import diffusers
import torch

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.extras import pip_install

LIBRARIES = ("diffusers", "transformers")


def read_model_index(folder: Path) -> dict[str, Any]:
    """The content of model_index.json. Raises MegastyleError if it names no pipeline class."""
    try:
        index: Any = json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError, RecursionError):
        index = None
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise MegastyleError(
            f"{folder} is not a text-to-image model: it has no readable model_index.json",
            hint="give the folder of a text-to-image pipeline, such as Qwen-Image's",
        )
    return index


def model_names(model: str, folder: Path) -> tuple[str, ...]:
    """What a model is called: by the user, and in model_index.json by whoever saved it."""
    saved = read_model_index(folder).get("_name_or_path")
    names = (model.rstrip("/").partition("@")[0], str(saved or ""))
    return tuple(name.rpartition("/")[2] for name in names)


def pipeline_class(folder: Path, index: dict[str, Any]) -> Any:
    """The pipeline's class. Raises MegastyleError unless it generates images from text alone."""
    name = index["_class_name"]
    kind = getattr(diffusers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
        raise MegastyleError(
            f"{folder} is a {name}, which diffusers {diffusers.__version__} does not have",
            hint=f"{pip_install()} -U diffusers",
        )
    parameters = inspect.signature(kind.__call__).parameters
    takes_text = {"prompt", "height", "width"} <= parameters.keys()
    required = [
        name
        for name, parameter in islice(parameters.items(), 1, None)
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        and name != "prompt"
    ]
    if not takes_text or "num_frames" in parameters or required:
        raise MegastyleError(
            f"{folder} is a {name}, which does not generate images from text alone",
            hint="give a text-to-image model: Qwen-Image, FLUX.1, FLUX.2, SD3, SDXL or similar",
        )
    return kind


def model_classes(index: dict[str, Any]) -> dict[str, Any]:
    """The classes of a pipeline's models by name; its other parts are tokenizers and settings."""
    classes = {}
    for name, entry in index.items():
        is_class = isinstance(entry, list) and [type(each) for each in entry] == [str, str]
        if not is_class or entry[0] not in LIBRARIES:
            continue
        kind = getattr(import_module(entry[0]), entry[1], None)
        if isinstance(kind, type) and issubclass(kind, torch.nn.Module):
            classes[name] = kind
    return classes
