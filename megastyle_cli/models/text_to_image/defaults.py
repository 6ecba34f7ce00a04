"""Steps and guidance of each text-to-image model by default: those of its model card.

Checked against the code of diffusers 0.42.1 where `source` names a class; the model cards are cited
from memory, since none was at hand. A class that is not listed runs with the defaults of its own
`__call__`, which a warning says: they are those of one model of the class, if of any.
"""

import inspect
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

# Words in the name of a model that was distilled to few steps without guidance.
DISTILLED = ("turbo", "schnell", "lightning", "distilled", "sprint", "fast")


@dataclass(frozen=True, kw_only=True)
class ModelDefaults:
    """What one model was made for. `guidance` is the value of the pipeline's own argument.

    `words`: the model is known by one of these in its name; without any it stands for the rest of
    its class. `guidance` None: the model has none, or diffusers takes none.
    """

    steps: int
    guidance: float | None
    source: str
    words: tuple[str, ...] = ()


def _model(
    steps: int, guidance: float | None, source: str, words: tuple[str, ...] = ()
) -> ModelDefaults:
    return ModelDefaults(steps=steps, guidance=guidance, source=source, words=words)


# Per class, the first that fits.
DEFAULTS: dict[str, tuple[ModelDefaults, ...]] = {
    "QwenImagePipeline": (
        _model(40, 4.0, "MegaStyle (arXiv 2604.08364); the card of Qwen/Qwen-Image has 50 steps"),
    ),
    "QwenImage21Pipeline": (_model(40, 1.0, "QwenImage21Pipeline.__call__"),),
    "FluxPipeline": (
        _model(4, None, "black-forest-labs/FLUX.1-schnell", DISTILLED),
        _model(28, 4.5, "black-forest-labs/FLUX.1-Krea-dev", ("krea",)),
        _model(50, 3.5, "black-forest-labs/FLUX.1-dev"),
    ),
    "Flux2Pipeline": (_model(50, 4.0, "black-forest-labs/FLUX.2-dev"),),
    "Flux2KleinPipeline": (
        _model(4, None, "black-forest-labs/FLUX.2-klein-4B", DISTILLED),
        _model(50, 4.0, "black-forest-labs/FLUX.2-klein-base-4B"),
    ),
    "Flux2KleinKVPipeline": (_model(4, None, "Flux2KleinKVPipeline.__call__"),),
    "StableDiffusion3Pipeline": (
        _model(4, 0.0, "stabilityai/stable-diffusion-3.5-large-turbo", DISTILLED),
        _model(28, 3.5, "stabilityai/stable-diffusion-3.5-large", ("3.5-large",)),
        _model(40, 4.5, "stabilityai/stable-diffusion-3.5-medium", ("3.5-medium",)),
        _model(28, 7.0, "stabilityai/stable-diffusion-3-medium-diffusers"),
    ),
    "StableDiffusionXLPipeline": (
        _model(1, 0.0, "stabilityai/sdxl-turbo", ("turbo",)),
        _model(50, 5.0, "StableDiffusionXLPipeline.__call__"),
    ),
    "StableDiffusionPipeline": (
        _model(1, 0.0, "stabilityai/sd-turbo", ("turbo",)),
        _model(50, 7.5, "StableDiffusionPipeline.__call__"),
    ),
    # 9 steps are 8 passes; guidance is off at 0 and not at 1
    "ZImagePipeline": (
        _model(9, 0.0, "Tongyi-MAI/Z-Image-Turbo", DISTILLED),
        _model(50, 4.0, "Tongyi-MAI/Z-Image"),
    ),
    "ChromaPipeline": (_model(40, 3.0, "lodestones/Chroma1-HD"),),
    "CogView4Pipeline": (_model(50, 3.5, "zai-org/CogView4-6B"),),
    "HiDreamImagePipeline": (
        _model(16, 0.0, "HiDream-ai/HiDream-I1-Fast", ("fast",)),
        _model(28, 0.0, "HiDream-ai/HiDream-I1-Dev", ("-dev",)),
        _model(50, 5.0, "HiDream-ai/HiDream-I1-Full"),
    ),
    "Lumina2Pipeline": (_model(50, 4.0, "Alpha-VLLM/Lumina-Image-2.0"),),
    "AuraFlowPipeline": (_model(50, 3.5, "AuraFlowPipeline.__call__"),),
    "KolorsPipeline": (_model(50, 5.0, "KolorsPipeline.__call__"),),
    "HunyuanDiTPipeline": (_model(50, 5.0, "HunyuanDiTPipeline.__call__"),),
    "PixArtAlphaPipeline": (_model(20, 4.5, "PixArtAlphaPipeline.__call__"),),
    "PixArtSigmaPipeline": (_model(20, 4.5, "PixArtSigmaPipeline.__call__"),),
    "SanaPipeline": (_model(20, 4.5, "SanaPipeline.__call__"),),
    "SanaSprintPipeline": (_model(2, 4.5, "SanaSprintPipeline.__call__"),),
}


def model_defaults(
    kind: Any, argument: str | None, names: Iterable[str], *, is_distilled: bool = False
) -> ModelDefaults:
    """The defaults of a model of pipeline class `kind`, whose `argument` is its guidance.

    `names` are what the model is called: on the hub, its folder, in model_index.json.
    `is_distilled`: its config says so. Logs a warning if the class is not listed.
    """
    called = " ".join(names).lower()
    for each in DEFAULTS.get(kind.__name__, ()):
        if not each.words or any(word in called for word in each.words):
            return each
        if is_distilled and each.words == DISTILLED:
            return each
    parameters = inspect.signature(kind.__call__).parameters
    steps = int(parameters["num_inference_steps"].default)
    guidance = parameters[argument].default if argument else None
    log.warning(
        "no defaults are known for a %s: %d steps%s are used, those of its class in diffusers;"
        " --steps and --guidance take the values of the model's card",
        kind.__name__,
        steps,
        "" if guidance is None else f" and guidance {guidance:g}",
    )
    return _model(steps, guidance, f"{kind.__name__}.__call__")
