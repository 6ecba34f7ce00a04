"""The table of model backends by role and name, how options select one, and how it is loaded.

It imports no backend before `load` is called for it.
"""

from importlib import import_module
from typing import Any, Literal

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError, is_out_of_memory
from megastyle_cli.core.extras import missing_module

Role = Literal[
    "captioner",
    "text_embedder",
    "style_encoder",
    "text_image",
    "painter",
    "stylist",
    "classifier",
    "assigner",
]

BACKENDS: dict[str, dict[str, str]] = {
    "captioner": {
        "builtin": "megastyle_cli.models.builtin.captioner:PixelCaptioner",
        "transformers": "megastyle_cli.models.vlm.transformers:TransformersVlm",
        "openai": "megastyle_cli.models.vlm.openai_server:ChatClient",
    },
    "text_embedder": {
        "builtin": "megastyle_cli.models.builtin.text_embedder:StaticEmbedder",
        "sentence-transformers": "megastyle_cli.models.encoders.sentence_embedder:SentenceEmbedder",
    },
    "style_encoder": {
        "builtin": "megastyle_cli.models.builtin.discriminant_encoder:DiscriminantEncoder",
        "whitened": "megastyle_cli.models.builtin.style_descriptor:WhitenedDescriptor",
        "statistics": "megastyle_cli.models.builtin.style_descriptor:StyleDescriptor",
        "edges": "megastyle_cli.models.builtin.style_descriptor:EdgeDescriptor",
        "imagenet": "megastyle_cli.models.builtin.imagenet:ImagenetDescriptor",
        "colors": "megastyle_cli.models.builtin.baselines:ColorHistogram",
        "random": "megastyle_cli.models.builtin.baselines:RandomEncoder",
        "siglip": "megastyle_cli.models.encoders.dual_encoder:siglip_encoder",
        "clip": "megastyle_cli.models.encoders.dual_encoder:clip_encoder",
        "dinov2": "megastyle_cli.models.encoders.dinov2:ContentTower",
        "auto": "megastyle_cli.models.encoders.dual_encoder:encoder_by_config",
    },
    "text_image": {"auto": "megastyle_cli.models.encoders.dual_encoder:DualEncoder"},
    "painter": {
        "builtin": "megastyle_cli.models.builtin.magenta_painter:MagentaPainter",
        "diffusers": "megastyle_cli.models.text_to_image.diffusion_painter:DiffusionPainter",
    },
    "stylist": {
        "builtin": "megastyle_cli.models.builtin.magenta_painter:MagentaPainter",
        "flux": "megastyle_cli.models.flux.flux_stylist:FluxStylist",
    },
    "classifier": {
        "open_nsfw": "megastyle_cli.models.builtin.open_nsfw:OpenNsfw",
        "transformers": "megastyle_cli.models.safety:LabelClassifier",
    },
    "assigner": {"torch": "megastyle_cli.models.kmeans_gpu:TorchAssigner"},
}


# names of encoders that were `builtin` in an earlier version -> their backends
FORMER_BUILTIN = {"whitened-statistics": "whitened"}

# style encoders that take no --model
WITHOUT_WEIGHTS = ("whitened", "statistics", "edges", "imagenet", "colors", "random")


def embedder_backend(backend: str, model: str | None) -> str:
    """The backend of the text embedder: naming a model selects the backend that runs models."""
    return "sentence-transformers" if model and backend == "builtin" else backend


def encoder_backend(backend: str, model: str | None) -> str:
    """The backend of the style encoder: naming a model selects the backend that runs models."""
    if model and backend in WITHOUT_WEIGHTS:
        raise MegastyleError(f"backend {backend!r} takes no --model", hint="omit one of them")
    return "siglip" if model and backend == "builtin" else backend


def stylist_backend(backend: str, model: str | None) -> str:
    """The backend of the stylist: naming a model selects the backend that runs models."""
    return "flux" if model and backend == "builtin" else backend


def painter_backend(backend: str, model: str | None) -> str:
    """The backend of the painter: naming a model selects the backend that runs models."""
    return "diffusers" if model and backend == "builtin" else backend


def captioner_backend(backend: str, model: str | None, base_url: str | None) -> str:
    """The backend of the captioner: a server or a model that is named selects its own."""
    if base_url and backend not in ("builtin", "openai"):
        raise MegastyleError(f"backend {backend!r} takes no --base-url", hint="omit one of them")
    if backend != "builtin":
        return backend
    return "openai" if base_url else "transformers" if model else backend


def locate(role: Role, backend: str) -> tuple[str, str]:
    """Module and class of the backend of that name. Raises MegastyleError if there is none."""
    known = BACKENDS[role]
    target = known.get(backend, backend if ":" in backend else "")
    if not target:
        raise MegastyleError(
            f"there is no {role.replace('_', ' ')} backend {backend!r}",
            hint=f"choose one of: {', '.join(known)}, or give package.module:Class",
        )
    module_name, _, class_name = target.partition(":")
    return module_name, class_name


def load(role: Role, backend: str, **options: Any) -> Any:
    """The backend of that name for `role`, or the class at `package.module:Class`, given `options`.

    Raises MegastyleError if the name is unknown, if a package it needs is not installed, or if the
    model does not load.
    """
    module_name, class_name = locate(role, backend)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as missing:
        raise missing_module(missing.name, f"backend {backend!r}") from missing
    if not hasattr(module, class_name):
        raise MegastyleError(f"{module_name} has no class {class_name!r}", hint="check --backend")
    try:
        return getattr(module, class_name)(**options)
    except (MegastyleError, OSError):
        raise
    except Exception as error:  # the fault of the model, not of a record: nothing to try again
        if is_out_of_memory(error):
            raise _too_large(role, backend, options) from error
        sentence = f"the model does not load: {type(error).__name__}: {error}"
        raise MegastyleError(sentence, "-vv shows where", UNEXPECTED) from error


# What to try where a model does not fit, by role.
_SMALLER = {
    "painter": "try --offload model, --offload layers or --quantize int8",
    "stylist": "try --offload model, --offload layers or --quantize int8",
    "captioner": "give a smaller --model, or --base-url of a server with a quantized one",
}


def _too_large(role: Role, backend: str, options: dict[str, Any]) -> MegastyleError:
    model, device = options.get("model") or f"backend {backend!r}", options.get("device")
    return MegastyleError(
        f"{model} does not fit into the free memory of {device or 'the device'}",
        hint=_SMALLER.get(role, "give a smaller --model, or stop other programs on the device"),
        exit_code=UNEXPECTED,
    )
