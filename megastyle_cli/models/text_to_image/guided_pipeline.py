"""A text-to-image pipeline with its guidance: prompts encoded one by one, images from seeds."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from megastyle_cli.models.autoencoder_memory import tile
from megastyle_cli.models.image_size import Size
from megastyle_cli.models.offload import offload_layers, on_device
from megastyle_cli.models.text_to_image.defaults import model_defaults
from megastyle_cli.models.text_to_image.guidance import (
    is_distilled,
    pipeline_spec,
    resolve_guidance,
)
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline

# b images

Offload = Literal["model", "layers"]


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt and the arguments (1, ...) that the pipeline takes for it.

    There are none if the pipeline is given the text.
    """

    text: str
    arguments: dict[str, Tensor]

    @property
    def shapes(self) -> tuple[torch.Size, ...]:
        """Of the arguments: prompts with the same shapes share a batch without padding."""
        return tuple(tensor.shape for tensor in self.arguments.values())


class GuidedPipeline:
    """A pipeline, moved to its device, with its number of steps, guidance and negative prompt.

    `offload` "model" keeps the text encoders on the device only while they encode, and the other
    models only while they denoise; "layers" keeps each layer there only while it runs. Without
    `steps` or `guidance` those of `model_defaults` apply, which knows a model by its class and
    `names`. Raises MegastyleError if `guidance` or `negative` would have no effect.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        device: torch.device,
        *,
        steps: int | None,
        guidance: float | None,
        negative: str | None,
        offload: Offload | None,
        names: Sequence[str] = (),
    ) -> None:
        self.pipeline, self.device, self.offload = pipeline, device, offload
        self.spec = pipeline_spec(type(pipeline))
        default = None
        if steps is None or (guidance is None and self.spec.argument is not None):
            known = model_defaults(
                type(pipeline), self.spec.argument, names, is_distilled=is_distilled(pipeline)
            )
            steps, default = steps or known.steps, known.guidance
        self.steps = steps
        self.guidance = resolve_guidance(pipeline, self.spec, guidance, negative, default)
        self.negative = self.spec.negative if negative is None else negative
        self._negative_arguments: dict[str, Tensor] = {}
        pipeline.set_progress_bar_config(disable=True)
        if offload is None:
            pipeline.to(device)
        elif offload == "layers":
            offload_layers(pipeline, device)
        autoencoder = getattr(pipeline, "vae", None)
        if autoencoder is not None and hasattr(autoencoder, "enable_slicing"):
            autoencoder.enable_slicing()  # images are decoded one by one, which changes none

    @property
    def uses_negative(self) -> bool:
        """Whether each step takes a second pass, with the negative prompt."""
        return self.spec.kind == "classifier-free" and (self.guidance or 0) > self.spec.off

    def encode(self, prompts: Sequence[str]) -> dict[str, EncodedPrompt]:
        """The distinct prompts, each encoded alone: none is padded to the length of another."""
        if not self.spec.encoded:
            return {text: EncodedPrompt(text, {}) for text in prompts}
        with self.on_device("encoding"):
            if (
                self.uses_negative
                and not self.spec.encodes_negative
                and not self._negative_arguments
            ):
                arguments = self._encode(self.negative or "")
                self._negative_arguments = {
                    f"negative_{k}": value for k, value in arguments.items()
                }
            return {
                text: EncodedPrompt(text, self._encode(text)) for text in dict.fromkeys(prompts)
            }

    def generate(self, prompts: Sequence[EncodedPrompt], seeds: Sequence[int], size: Size) -> Any:
        """One image of float32 pixels (height, width, 3) in [0, 1] for each prompt and seed.

        The prompts have the same shapes. Noise is drawn on the CPU.
        """
        b = len(prompts)
        arguments: dict[str, Any] = {
            name: torch.cat([prompt.arguments[name] for prompt in prompts]).to(self.device)
            for name in prompts[0].arguments
        }  # (b, ...)
        for name, tensor in self._negative_arguments.items():
            arguments[name] = tensor.expand(b, *tensor.shape[1:]).to(self.device)
        if not self.spec.encoded:
            arguments["prompt"] = [prompt.text for prompt in prompts]
            if self.uses_negative and self.negative is not None:
                arguments["negative_prompt"] = [self.negative] * b
        if self.spec.argument is not None and self.guidance is not None:
            arguments[self.spec.argument] = self.guidance
        return self.pipeline(
            **arguments,
            width=size[0],
            height=size[1],
            num_inference_steps=self.steps,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
        ).images

    @contextmanager
    def on_device(self, phase: Literal["encoding", "denoising"]) -> Iterator[None]:
        """With --offload model, keeps the models of a phase on the device inside the context."""
        if self.offload != "model":
            yield
            return
        components = self.pipeline.components.items()
        models = {name: part for name, part in components if isinstance(part, nn.Module)}
        encoders = {name: part for name, part in models.items() if name.startswith("text_encoder")}
        if phase == "encoding":
            active, removed = encoders, {}
        elif self.spec.encoded:
            active = {name: part for name, part in models.items() if name not in encoders}
            removed = encoders
        else:
            active, removed = models, {}
        with on_device(active.values(), self.device):
            # a pipeline takes the device of its first component for its own
            for name in removed:
                setattr(self.pipeline, name, None)
            try:
                yield
            finally:
                for name, part in removed.items():
                    setattr(self.pipeline, name, part)

    def tile_autoencoder(self) -> bool:
        """Makes the autoencoder decode an image in tiles from now on; whether that is new.

        It takes much less memory for large images; pixels where tiles overlap are blended.
        """
        return tile(getattr(self.pipeline, "vae", None))

    def _encode(self, prompt: str) -> dict[str, Tensor]:
        """The arguments for one prompt."""
        options: dict[str, Any] = {"prompt": prompt, "device": self.device}
        if self.spec.encodes_negative:
            options["do_classifier_free_guidance"] = self.uses_negative
            options["negative_prompt"] = self.negative
        parameters = inspect.signature(self.pipeline.encode_prompt).parameters
        # None: the same text as `prompt`
        options |= {name: None for name in ("prompt_2", "prompt_3") if name in parameters}
        values = self.pipeline.encode_prompt(**options)
        return {
            name: value
            for name, value in zip(self.spec.encoded, values, strict=True)
            if name is not None and value is not None
        }
