"""The vLLM captioner: how it asks, and one sentence where vllm is not there."""

import ast
import inspect
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.registry import Question, load
from megastyle_cli.models.vlm import vllm as captioner_vllm
from megastyle_cli.models.vlm.vllm import ENGINE, conversation
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


def source_of(part: str) -> str:
    """The source of a part of vllm, which is read and not run: no GPU is needed for that."""
    spec = find_spec("vllm")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("vllm is not installed")
    (folder,) = spec.submodule_search_locations
    return Path(folder, part).read_text()


def arguments_of(function: str, source: str) -> set[str]:
    """The names a function or dataclass can be told, by its source."""
    (found,) = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == function
    )
    if isinstance(found, ast.ClassDef):
        fields = (node.target for node in found.body if isinstance(node, ast.AnnAssign))
        return {field.id for field in fields if isinstance(field, ast.Name)}
    return {argument.arg for argument in (*found.args.args, *found.args.kwonlyargs)}


def told_to(method: str) -> set[str]:
    """The keywords with which our code calls a method of vllm."""
    calls = (
        node
        for node in ast.walk(ast.parse(inspect.getsource(captioner_vllm)))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) == method
    )
    return {word.arg for call in calls for word in call.keywords if word.arg is not None}


def test_what_vllm_is_told_are_names_that_the_installed_vllm_knows():
    settings = {*ENGINE, *told_to("LLM")}
    assert settings <= arguments_of("EngineArgs", source_of("engine/arg_utils.py"))
    assert told_to("SamplingParams") <= arguments_of(
        "SamplingParams", source_of("sampling_params.py")
    )
    asked = told_to("chat")
    assert asked <= arguments_of("chat", source_of("entrypoints/llm.py")) and len(asked) == 3
