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
    """

    kind: GuidanceKind
    argument: str | None = None
    negative: str | None = None  # the default negative prompt; None: the pipeline's own
    encoded: tuple[str | None, ...] = ()
    encodes_negative: bool = False


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
    pipeline: Any, spec: PipelineSpec, guidance: float | None, negative: str | None
) -> float | None:
    """The guidance scale, by default the pipeline's own; None where it has no guidance.

    Raises MegastyleError if an option would have no effect.
    """
    name = type(pipeline).__name__
    kind = "none" if _is_distilled(pipeline, spec) else spec.kind
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
    if kind == "none" or spec.argument is None:
        return None
    default = inspect.signature(type(pipeline).__call__).parameters[spec.argument].default
    scale = float(default if guidance is None else guidance)
    if kind == "classifier-free" and scale <= 1 and negative is not None:
        raise MegastyleError(
            f"--negative {negative!r} has no effect at --guidance {scale:g}",
            hint="give a guidance above 1, or omit the negative prompt",
        )
    return scale


def _is_distilled(pipeline: Any, spec: PipelineSpec) -> bool:
    """Whether these weights were distilled to work without guidance (FLUX.1-schnell, klein)."""
    if spec.kind == "embedded" and type(pipeline).__name__ == "FluxPipeline":
        return not pipeline.transformer.config.guidance_embeds
    return bool(pipeline.config.get("is_distilled", False))
