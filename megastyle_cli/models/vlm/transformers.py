"""A vision-language model of transformers, in batches on this machine.

Any model of the image-text-to-text classes whose processor has a chat template: Qwen3-VL, Qwen3.5
and others. Weights are read from .safetensors only; no code beside them is run.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
)

from megastyle_cli.core.errors import BadRecord, MegastyleError, is_out_of_memory
from megastyle_cli.models.device import enter_device, resolve_device, resolve_dtype
from megastyle_cli.models.hub import find_model, pinned_name, unavailable
from megastyle_cli.models.image_only_processor import load_image_only
from megastyle_cli.models.protocols import UnusableAnswer, VisionPrompt
from megastyle_cli.models.strict_weights import load_strictly

QWEN = ("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")  # model_type in config.json
log = logging.getLogger(__name__)

# b prompts, t tokens of the longest prompt, a tokens of the longest answer


class TransformersVlm:
    """Greedy answers by `model`: a folder or a hub NAME[@REVISION]. Nothing else is downloaded.

    Without `device`, several GPUs share one model, layer by layer; under accelerate each rank has
    its own. A batch that does not fit into memory is halved, and so are all that follow. On a CPU
    prompts are answered one at a time, so that an answer depends on its prompt alone, bit for bit:
    padding changes the last bits. Elsewhere batches agree up to kernel rounding. With two threads
    the images of the next batch are decoded and cut into patches while one is answered.
    """

    num_threads = 2

    def __init__(
        self,
        model: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int = 32,
    ) -> None:
        if model is None:
            raise MegastyleError(
                "backend 'transformers' needs a model",
                hint="give one, such as --model Qwen/Qwen3-VL-8B-Instruct",
            )
        resolved = resolve_device(device or _rank_device())
        folder = find_model(model, hint="check --model")
        self.batch_size = 1 if resolved.type == "cpu" else batch_size
        try:
            self.processor = _load_processor(folder, model)
            # Tensors of parts that transformers does not run, such as draft heads, are ignored.
            self.model = load_strictly(
                AutoModelForImageTextToText,
                folder,
                ignore_extra=True,
                dtype=resolve_dtype(dtype, resolved),
                device_map="auto" if _spans_gpus(resolved, device) else {"": resolved},
            )
        except (OSError, ValueError, TypeError, ImportError, AttributeError) as error:
            hint = "name the folder or hub model of a vision-language model"
            raise unavailable("captioner", model, error, hint) from error
        can_think = "enable_thinking" in str(self.processor.chat_template)
        self._template_options = {"enable_thinking": False} if can_think else {}
        self.name = pinned_name(model, folder)
        ends = self.model.generation_config.eos_token_id
        self._ends = set(ends) if isinstance(ends, list) else {ends}
        self._lock = Lock()

    def generate(self, prompts: Sequence[VisionPrompt]) -> list[str | UnusableAnswer | BadRecord]:
        """The model's answer to each prompt, in order."""
        answers: list[str | UnusableAnswer | BadRecord] = []
        while len(answers) < len(prompts):
            done = len(answers)
            answers += self._generate(prompts[done : done + self.batch_size])
        return answers

    def _generate(self, prompts: Sequence[VisionPrompt]) -> list[str | UnusableAnswer]:
        inputs = self._tokenize(prompts)
        try:
            with self._lock:
                return self._generate_tokens(prompts, inputs)
        except RuntimeError as error:
            if len(prompts) == 1 or not is_out_of_memory(error):
                raise
        torch.cuda.empty_cache()
        half = -(-len(prompts) // 2)
        if half < self.batch_size:
            self.batch_size = half
            log.warning("out of memory with %d prompts at once; trying %d", len(prompts), half)
        return self._generate(prompts[:half]) + self._generate(prompts[half:])

    def _tokenize(self, prompts: Sequence[VisionPrompt]) -> Any:
        """The model's input, padded on the left: `input_ids` (b, t) and the image patches."""
        return self.processor.apply_chat_template(
            [_conversation(prompt) for prompt in prompts],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
            **self._template_options,
        )

    @torch.inference_mode()
    def _generate_tokens(
        self, prompts: Sequence[VisionPrompt], inputs: Any
    ) -> list[str | UnusableAnswer]:
        enter_device(self.model.device)  # called from several threads
        longest = max(prompt.max_tokens for prompt in prompts)
        moved = inputs.to(self.model.device, self.model.dtype)
        tokens: Tensor = self.model.generate(
            **moved,
            max_new_tokens=longest,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
        )
        answers = tokens[:, inputs["input_ids"].shape[1] :].tolist()  # (b, a)
        # Each by its own limit: the rest of the batch must not lengthen an answer.
        return [
            self._decode(row[: prompt.max_tokens], prompt.max_tokens)
            for row, prompt in zip(answers, prompts, strict=True)
        ]

    def _decode(self, tokens: list[int], max_tokens: int) -> str | UnusableAnswer:
        text = str(self.processor.decode(tokens, skip_special_tokens=True))
        if len(tokens) == max_tokens and self._ends.isdisjoint(tokens):
            return UnusableAnswer("truncated", "it was cut off at the limit of tokens", text)
        return text


def _conversation(prompt: VisionPrompt) -> list[dict[str, Any]]:
    parts = [
        {"type": "text", "text": prompt.instruction},
        {"type": "image", "image": prompt.image},
        {"type": "text", "text": prompt.question},
    ]
    return [{"role": "user", "content": parts}]


def _rank_device() -> str | None:
    """This rank's GPU under accelerate or torchrun."""
    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if rank is not None and torch.cuda.is_available() else None


def _spans_gpus(resolved: torch.device, device: str | None) -> bool:
    """Whether one model may span all GPUs: no device was named, and no rank has its own."""
    return resolved.type == "cuda" and device is None and "LOCAL_RANK" not in os.environ


def _load_processor(folder: Path, model: str) -> Any:
    kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    whole: Any = AutoProcessor.from_pretrained
    # Without torchvision transformers returns only the tokenizer of some, silently. Qwen's is read
    # without its part for videos in any environment, so that torchvision makes no difference.
    processor = None if kind in QWEN else whole(folder, local_files_only=True)
    if processor is None or (kind.startswith("qwen") and not hasattr(processor, "image_processor")):
        processor = load_image_only(folder)
    if not hasattr(processor, "image_processor"):
        raise MegastyleError(
            f"{model!r} ({kind}) has no image processor here",
            hint=f"install the torchvision that belongs to torch {torch.__version__}, or check that"
            " it is a vision-language model",
        )
    if getattr(processor, "chat_template", None) is None:
        raise MegastyleError(
            f"{model!r} has no chat template, so it cannot answer prompts", hint="check --model"
        )
    processor.tokenizer.padding_side = "left"
    return processor
