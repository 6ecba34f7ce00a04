"""The vLLM captioner: how it asks, and one sentence where vllm is not there."""

import sys
from importlib.util import find_spec

import pytest

from megastyle_cli.errors import MegastyleError
from megastyle_cli.models.backend import Question, load
from megastyle_cli.models.captioner_vllm import conversation
from tests.conftest import draw
from tests.models.tiny_vlm import TEMPLATE, _tokenizer

QUESTION = Question(picture=draw(1), instruction="Say what.", request="Now.", max_tokens=4)


def test_a_question_is_the_instruction_the_picture_and_the_request_in_the_chat_format():
    (message,) = conversation(QUESTION)

    text, picture, request = message["content"]
    assert picture == {"type": "image_pil", "image_pil": QUESTION.picture}
    # vLLM shows the chat template each picture as a part of type image
    shown = {**message, "content": [text, {"type": "image"}, request]}
    prompt = _tokenizer().apply_chat_template(
        [shown], chat_template=TEMPLATE, tokenize=False, add_generation_prompt=True
    )
    assert prompt == (
        "<|im_start|>user\nSay what.<|vision_start|><|image_pad|><|vision_end|>Now.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed")
def test_without_vllm_one_sentence_says_what_to_install():
    with pytest.raises(MegastyleError, match="needs the package 'vllm'") as refused:
        load("captioner", "vllm", model="Qwen/Qwen3-VL-8B-Instruct")

    assert refused.value.hint.startswith("pip install vllm")
    assert "vllm" not in sys.modules


def test_a_model_must_be_named():
    with pytest.raises(MegastyleError, match="backend 'vllm' needs a model"):
        load("captioner", "vllm")
