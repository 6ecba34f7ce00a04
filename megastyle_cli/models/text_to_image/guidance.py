"""How each text-to-image pipeline is guided, and the names of its arguments for encoded prompts.

`true_cfg_scale` of Qwen-Image acts only with a negative prompt, for which " " is enough;
`guidance_scale` is classifier-free guidance for SD3 and SDXL, and an input of the network for FLUX.
"""

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from megastyle_cli.core.errors import MegastyleError

GuidanceKind = Literal["classifier-free", "embedded", "none"]


@dataclass(frozen=True, kw_only=True)
class PipelineSpec:
    """How a pipeline is guided and takes its prompts.

    `classifier-free` guidance compares with a negative prompt, at the cost of a second pass in each
    step; `embedded` guidance is an input of the network. `encoded` are the arguments that take the
    values of `encode_prompt`, in order, None for a value that is not passed on; without them the
    pipeline is given text. `encodes_negative`: `encode_prompt` returns the negative prompt's too.
    `off` is the scale up to which classifier-free guidance takes no second pass. The sides of an
    image are multiples of `multiple_px`: 8 pixels per latent and 2 latents per token, or more.
    """

    kind: GuidanceKind
    argument: str | None = None
    negative: str | None = None  # the default negative prompt; None: the pipeline's own
    encoded: tuple[str | None, ...] = ()
    encodes_negative: bool = False
    off: float = 1.0
    multiple_px: int = 16  # of the sides of an image


_STABLE_DIFFUSION = PipelineSpec(
    kind="classifier-free",
    argument="guidance_scale",
    encoded=(
        *("prompt_embeds", "negative_prompt_embeds"),
        *("pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
    ),
    encodes_negative=True,
)
SPECS: dict[str, PipelineSpec] = {
    "QwenImagePipeline": PipelineSpec(
        kind="classifier-free",
        argument="true_cfg_scale",
        negative=" ",
        encoded=("prompt_embeds", "prompt_embeds_mask"),
    ),
    "QwenImage21Pipeline": PipelineSpec(
        kind="classifier-free",
        argument="true_cfg_scale",
        negative=" ",
        encoded=("prompt_embeds", "prompt_embeds_mask", None),
        multiple_px=32,
    ),
    # its embeddings are lists of different lengths, so it is given text
    "ZImagePipeline": PipelineSpec(kind="classifier-free", argument="guidance_scale", off=0.0),
    "FluxPipeline": PipelineSpec(
        kind="embedded",
        argument="guidance_scale",
        encoded=("prompt_embeds", "pooled_prompt_embeds", None),
    ),
    "Flux2Pipeline": PipelineSpec(
        kind="embedded", argument="guidance_scale", encoded=("prompt_embeds", None)
    ),
    "Flux2KleinPipeline": PipelineSpec(
        kind="classifier-free",
        argument="guidance_scale",
        negative="",
        encoded=("prompt_embeds", None),
    ),
    "StableDiffusion3Pipeline": _STABLE_DIFFUSION,
    "StableDiffusionXLPipeline": _STABLE_DIFFUSION,
}


def pipeline_spec(kind: Any) -> PipelineSpec:
    """The spec of a pipeline class: from the table, else from the parameters of its call."""
    known = SPECS.get(kind.__name__)
    if known is not None:
        return known
    parameters = inspect.signature(kind.__call__).parameters
    if "true_cfg_scale" in parameters and "negative_prompt" in parameters:
        return PipelineSpec(kind="classifier-free", argument="true_cfg_scale", negative=" ")
    if "guidance_scale" not in parameters:
        return PipelineSpec(kind="none")
    if "negative_prompt" in parameters:
        return PipelineSpec(kind="classifier-free", argument="guidance_scale")
    return PipelineSpec(kind="embedded", argument="guidance_scale")


def resolve_guidance(
    pipeline: Any,
    spec: PipelineSpec,
    guidance: float | None,
    negative: str | None,
    default: float | None,
) -> float | None:
    """The guidance scale, otherwise the `default`; None where the pipeline has no guidance.

    Raises MegastyleError if an option would have no effect.
    """
    name = type(pipeline).__name__
    kind = "none" if is_distilled(pipeline) else spec.kind
    if kind == "none" and guidance is not None:
        raise MegastyleError(
            f"--guidance {guidance:g} has no effect: this {name} has no guidance",
            hint="omit it, or give a model that is not distilled",
        )
    if kind != "classifier-free" and negative is not None:
        raise MegastyleError(
            f"--negative {negative!r} has no effect: this {name} has no negative prompt",
            hint="omit it",
        )
    value = default if guidance is None else guidance
    if kind == "none" or spec.argument is None or value is None:
        return None
    if kind == "classifier-free" and value <= spec.off and negative is not None:
        raise MegastyleError(
            f"--negative {negative!r} has no effect at --guidance {value:g}",
            hint=f"give a guidance above {spec.off:g}, or omit the negative prompt",
        )
    return float(value)


def is_distilled(pipeline: Any) -> bool:
    """Whether its config says that it works without guidance (FLUX.1-schnell, FLUX.2 klein)."""
    if type(pipeline).__name__ == "FluxPipeline":
        return not pipeline.transformer.config.guidance_embeds
    return bool(pipeline.config.get("is_distilled", False))
