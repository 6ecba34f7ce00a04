"""Questions about pictures to a vision-language model of transformers, in batches on this machine.

Any model of the image-text-to-text classes whose processor has a chat template: Qwen3-VL, Qwen3.5
and others. Weights come from .safetensors alone; no code that lies beside them is run.
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    Qwen3VLProcessor,
)
from transformers.utils.logging import disable_progress_bar

from megastyle_cli.core.errors import BadRecord, MegastyleError, is_out_of_memory
from megastyle_cli.models.device import chosen_device, chosen_dtype
from megastyle_cli.models.protocols import VisionPrompt

# b prompts, t tokens of the longest prompt, a tokens of the longest answer


class TransformersVlm:
    """Greedy answers by `model`: a folder or a hub NAME[@REVISION]. Nothing else is downloaded.

    Without `device`, several GPUs share one model, layer by layer; under accelerate each rank has
    its own. A batch that does not fit the memory is halved. On a CPU prompts are answered one at
    a time, so that an answer depends on its prompt alone, bit for bit: padding moves last bits.
    Elsewhere batches agree up to kernel rounding. Two lanes: while one batch is answered, the
    pictures of the next are decoded and cut into patches.
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
                hint="name one, such as --model Qwen/Qwen3-VL-8B-Instruct",
            )
        place = chosen_device(device or _rank_device())
        self.batch_size = 1 if place.type == "cpu" else batch_size
        self.processor = _load_processor(model)
        thinks = "enable_thinking" in str(self.processor.chat_template)
        self._quietly = {"enable_thinking": False} if thinks else {}  # we want no thoughts aloud
        self.model = _load_model(
            model,
            dtype=chosen_dtype(dtype, place),
            device_map="auto" if _is_shared(place, device) else {"": place},
        )
        commit = getattr(self.model.config, "_commit_hash", None)  # None of a folder
        self.name = f"{model}@{commit[:7]}" if commit and "@" not in model else model
        self._turn = Lock()

    def generate(self, prompts: Sequence[VisionPrompt]) -> list[str | BadRecord]:
        """What the model answers to each prompt, in order."""
        answers: list[str | BadRecord] = []
        for start in range(0, len(prompts), self.batch_size):
            answers += self._generate(prompts[start : start + self.batch_size])
        return answers

    def _generate(self, prompts: Sequence[VisionPrompt]) -> list[str]:
        inputs = self._tokenize(prompts)
        try:
            with self._turn:
                return self._generate_tokens(prompts, inputs)
        except RuntimeError as error:
            if len(prompts) == 1 or not is_out_of_memory(error):
                raise
        torch.cuda.empty_cache()
        half = len(prompts) // 2
        return self._generate(prompts[:half]) + self._generate(prompts[half:])

    def _tokenize(self, prompts: Sequence[VisionPrompt]) -> Any:
        """What the model reads, padded on the left: `input_ids` (b, t) and the patches."""
        return self.processor.apply_chat_template(
            [_conversation(prompt) for prompt in prompts],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
            **self._quietly,
        )

    @torch.inference_mode()
    def _generate_tokens(self, prompts: Sequence[VisionPrompt], inputs: Any) -> list[str]:
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
        answered = tokens[:, inputs["input_ids"].shape[1] :].tolist()  # (b, a)
        # Each by its own limit: what else is in the batch must not lengthen an answer.
        return [
            self.processor.decode(row[: prompt.max_tokens], skip_special_tokens=True)
            for row, prompt in zip(answered, prompts, strict=True)
        ]


class ImageOnlyQwen3VLProcessor(Qwen3VLProcessor):
    """Qwen3-VL's processor for pictures only: the part for videos cannot be without torchvision."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        """The parts that a folder of such a model is asked for."""
        return ["image_processor", "tokenizer"]

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            image_processor, tokenizer, None, chat_template=chat_template
        )

    def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
        """Nothing is wanted for videos."""
        if name == "video_processor":
            return None
        return super().check_argument_for_proper_class(  # type: ignore[no-untyped-call]
            name, argument
        )


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


def _is_shared(place: torch.device, asked: str | None) -> bool:
    """Whether one model may spread over all GPUs: nobody said where, and no rank has its own."""
    return place.type == "cuda" and asked is None and "LOCAL_RANK" not in os.environ


def _load_processor(model: str) -> Any:
    processor = _pretrained(AutoProcessor, model)
    if not hasattr(processor, "image_processor"):
        # Without torchvision transformers gives the tokenizer alone, and no word of it.
        kind = _pretrained(AutoConfig, model).model_type
        if not kind.startswith("qwen") or find_spec("torchvision") is not None:
            raise MegastyleError(
                f"{model!r} ({kind}) has no processor for pictures here",
                hint="pip install torchvision, or check that it is a vision-language model",
            )
        processor = _pretrained(ImageOnlyQwen3VLProcessor, model)
    if getattr(processor, "chat_template", None) is None:
        raise MegastyleError(
            f"{model!r} has no chat template: it is no model that answers", hint="check --model"
        )
    processor.tokenizer.padding_side = "left"
    return processor


def _load_model(model: str, **how: Any) -> Any:
    disable_progress_bar()  # type: ignore[no-untyped-call]
    return _pretrained(AutoModelForImageTextToText, model, use_safetensors=True, **how).eval()


def _pretrained(kind: Any, model: str, **how: Any) -> Any:
    """`kind.from_pretrained` of a folder or hub name. Raises MegastyleError if it cannot be had."""
    is_folder = Path(model).expanduser().is_dir()
    if not is_folder and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise MegastyleError(f"there is no model folder {model}", hint="check --model")
    name, _, revision = (model, "", "") if is_folder else model.partition("@")
    try:
        return kind.from_pretrained(
            str(Path(name).expanduser()) if is_folder else name,
            revision=revision or "main",
            local_files_only=is_folder,
            **how,
        )
    except (OSError, ValueError, TypeError, ImportError, AttributeError) as fault:
        reason = str(fault).strip().partition("\n")[0]
        raise MegastyleError(
            f"the captioner {model!r} cannot be had: {reason}",
            hint="name the folder or hub model of a vision-language model",
        ) from fault
