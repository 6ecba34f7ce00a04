"""Questions about pictures to a vision-language model of vLLM, in this process, on this GPU."""

from collections.abc import Sequence
from importlib import import_module
from threading import Lock
from typing import Any

from PIL.Image import Image

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.models.registry import Question

# No video slots, which a model reserves memory for, and no memory of pictures: each is seen once.
ENGINE: dict[str, Any] = {
    "limit_mm_per_prompt": {"image": 1, "video": 0},
    "mm_processor_cache_gb": 0,
    "enable_prefix_caching": True,  # the instruction, the same for all, is computed once
    "async_scheduling": True,
}


class VllmAnswerer:
    """Greedy answers by `model`, a folder or a hub NAME[@REVISION], with vLLM's own batching.

    `batch_size` questions are handed over at a time; two lanes, so that the next pictures are
    decoded meanwhile. vLLM's kernels agree with a question alone up to rounding. One GPU a
    process: of several, CUDA_VISIBLE_DEVICES names one for each --shard. Raises MegastyleError if
    vllm is not installed.
    """

    lanes = 2

    def __init__(
        self, model: str | None = None, dtype: str | None = None, batch_size: int = 256
    ) -> None:
        if model is None:
            raise MegastyleError(
                "backend 'vllm' needs a model",
                hint="name one, such as --model Qwen/Qwen3-VL-8B-Instruct",
            )
        self._vllm = _package()
        name, _, revision = model.partition("@")
        self._engine = self._vllm.LLM(
            model=name, revision=revision or None, dtype=dtype or "auto", **ENGINE
        )
        self.name, self.at_once = model, batch_size
        self._turn = Lock()  # an engine is not asked from two threads

    def answer(self, questions: Sequence[Question]) -> list[str | BadRecord]:
        """What the model answers to each question, in order."""
        how = [
            self._vllm.SamplingParams(temperature=0, max_tokens=question.max_tokens)
            for question in questions
        ]
        with self._turn:
            said = self._engine.chat(
                [conversation(question) for question in questions],
                sampling_params=how,
                use_tqdm=False,
                # thoughts would use up max_tokens; templates that know none ignore it
                chat_template_kwargs={"enable_thinking": False},
            )
        return [_answered(one) for one in said]


def conversation(question: Question) -> list[dict[str, Any]]:
    """A question as vLLM's chat takes it: the instruction, the picture, the request."""
    parts: list[dict[str, str | Image]] = [
        {"type": "text", "text": question.instruction},
        {"type": "image_pil", "image_pil": question.picture},
        {"type": "text", "text": question.request},
    ]
    return [{"role": "user", "content": parts}]


def _answered(said: Any) -> str | BadRecord:
    if not said.outputs:
        return BadRecord("model_error", "vLLM gave no answer")
    return str(said.outputs[0].text)


def _package() -> Any:
    try:
        return import_module("vllm")
    except ModuleNotFoundError as missing:
        raise MegastyleError(
            f"backend 'vllm' needs the package {missing.name!r}, which is not installed",
            hint="pip install vllm, on a machine with a GPU; or start a server: --base-url URL",
        ) from missing
