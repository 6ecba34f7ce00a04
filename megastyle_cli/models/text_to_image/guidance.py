"""What guidance means to each text-to-image pipeline, and by what names it takes encoded prompts.

`true_cfg_scale` of Qwen-Image acts only beside a negative prompt, " " suffices; `guidance_scale` is
classifier-free guidance for SD3 and SDXL, and a number that the network reads for FLUX.
"""

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from megastyle_cli.core.errors import MegastyleError

GuidanceKind = Literal["contrast", "embedded", "none"]


@dataclass(frozen=True, kw_only=True)
class GuidanceRecipe:
    """How a pipeline is guided and told its prompts.

    `contrast` paints against a negative prompt, which costs a second pass a step; `embedded` tells
    the network a number. `encoded` are the arguments that `encode_prompt` returns the values of, in
    order, None for one that is left to the pipeline; `paired` says that it returns the negative
    prompt's too. Without `encoded` the pipeline is told words.
    """

    kind: GuidanceKind
    argument: str | None = None
    negative: str | None = None  # the negative prompt where none is given; None: the pipeline's own
    encoded: tuple[str | None, ...] = ()
    paired: bool = False


_PAIRS = (
    *("prompt_embeds", "negative_prompt_embeds"),
    *("pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
)
RECIPES: dict[str, GuidanceRecipe] = {
    "QwenImagePipeline": GuidanceRecipe(
        kind="contrast",
        argument="true_cfg_scale",
        negative=" ",
        encoded=("prompt_embeds", "prompt_embeds_mask"),
    ),
    "FluxPipeline": GuidanceRecipe(
        kind="embedded",
        argument="guidance_scale",
        encoded=("prompt_embeds", "pooled_prompt_embeds", None),
    ),
    "Flux2Pipeline": GuidanceRecipe(
        kind="embedded", argument="guidance_scale", encoded=("prompt_embeds", None)
    ),
    "Flux2KleinPipeline": GuidanceRecipe(
        kind="contrast",
        argument="guidance_scale",
        negative="",
        encoded=("prompt_embeds", None),
    ),
    "StableDiffusion3Pipeline": GuidanceRecipe(
        kind="contrast", argument="guidance_scale", encoded=_PAIRS, paired=True
    ),
    "StableDiffusionXLPipeline": GuidanceRecipe(
        kind="contrast", argument="guidance_scale", encoded=_PAIRS, paired=True
    ),
}


def guidance_recipe(kind: Any) -> GuidanceRecipe:
    """The recipe of a pipeline class: from the table, else from what its call can be told."""
    known = RECIPES.get(kind.__name__)
    if known is not None:
        return known
    asked = inspect.signature(kind.__call__).parameters
    if "true_cfg_scale" in asked and "negative_prompt" in asked:
        return GuidanceRecipe(kind="contrast", argument="true_cfg_scale", negative=" ")
    if "guidance_scale" not in asked:
        return GuidanceRecipe(kind="none")
    contrasts = "negative_prompt" in asked
    return GuidanceRecipe(kind="contrast" if contrasts else "embedded", argument="guidance_scale")


def resolve_guidance(
    pipeline: Any, recipe: GuidanceRecipe, guidance: float | None, negative: str | None
) -> float | None:
    """The guidance to paint with: as asked for, else the pipeline's own; None where there is none.

    Raises MegastyleError if what is asked for would have no effect.
    """
    name = type(pipeline).__name__
    kind = "none" if _is_distilled(pipeline, recipe) else recipe.kind
    if kind == "none" and guidance is not None:
        raise MegastyleError(
            f"--guidance {guidance:g} would do nothing: this {name} knows no guidance",
            hint="leave it out, or give a model that is not distilled",
        )
    if kind != "contrast" and negative is not None:
        raise MegastyleError(
            f"--negative {negative!r} would do nothing: this {name} has no negative prompt",
            hint="leave it out",
        )
    if kind == "none" or recipe.argument is None:
        return None
    default = inspect.signature(type(pipeline).__call__).parameters[recipe.argument].default
    chosen = float(default if guidance is None else guidance)
    if kind == "contrast" and chosen <= 1 and negative is not None:
        raise MegastyleError(
            f"--negative {negative!r} would do nothing at --guidance {chosen:g}",
            hint="give a guidance above 1, or leave the negative prompt out",
        )
    return chosen


def _is_distilled(pipeline: Any, recipe: GuidanceRecipe) -> bool:
    """Whether these weights were taught to do without guidance (FLUX.1-schnell, FLUX.2-klein)."""
    if recipe.kind == "embedded" and type(pipeline).__name__ == "FluxPipeline":
        return not pipeline.transformer.config.guidance_embeds
    return bool(pipeline.config.get("is_distilled", False))
