"""A tiny random Qwen3-VL, loaded and run by the code for the large ones."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2Config, SiglipVisionConfig, SiglipVisionModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.protocols import UnusableAnswer, VisionLanguageModel, VisionPrompt
from megastyle_cli.models.registry import load
from tests.conftest import draw
from tests.models.tiny_vlm import save_tiny_vlm


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def vlm(folder):
    return load("captioner", "transformers", model=str(folder), device="cpu")


PROMPTS = [
    VisionPrompt(
        image=draw(seed, 40 + 17 * seed, 60),
        instruction="Say what you see.",
        question="Now." + " Please." * (seed % 3),
        max_tokens=4 + 3 * (seed % 4),
    )
    for seed in range(6)
]


def test_answers_come_in_order_and_depend_on_the_image(vlm):
    answers = vlm.generate(PROMPTS)

    assert isinstance(vlm, VisionLanguageModel) and len(answers) == len(PROMPTS)
    assert answers[2] == vlm.generate(PROMPTS[2:3])[0]
    assert len(set(answers)) > 3


def test_a_padded_batch_answers_as_each_prompt_alone(folder, vlm):
    batched = load("captioner", "transformers", model=str(folder), device="cpu")
    batched.batch_size = len(PROMPTS)

    assert batched.generate(PROMPTS) == vlm.generate(PROMPTS)


def test_a_batch_without_memory_is_halved_and_so_are_those_after_it(folder, vlm, caplog):
    batched = load("captioner", "transformers", model=str(folder), device="cpu")
    batched.batch_size = 4
    tried = []

    def check_batch(_, args, kwargs):
        if kwargs["input_ids"].shape[1] > 1:  # the prompt, not a later token
            tried.append(len(kwargs["input_ids"]))
        if len(kwargs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    batched.model.register_forward_pre_hook(check_batch, with_kwargs=True)

    assert batched.generate(PROMPTS) == vlm.generate(PROMPTS)
    assert tried == [4, 2, 2, 2] and batched.batch_size == 2 and len(caplog.records) == 1


def test_an_answer_is_no_longer_than_its_prompt_allows(vlm):
    answers = [vlm.generate([_prompt_of(n)])[0] for n in (3, 12)]

    assert all(isinstance(answer, UnusableAnswer) for answer in answers)  # both are cut off
    short, long = (answer.text for answer in answers)
    assert long.startswith(short.rstrip("\ufffd")) and len(long) > len(short)


def _prompt_of(tokens):
    return VisionPrompt(image=draw(1), instruction="a", question="b", max_tokens=tokens)


def test_texts_and_image_reach_the_model(vlm):
    inputs = vlm._tokenize(PROMPTS[:2])

    texts = vlm.processor.batch_decode(inputs["input_ids"])
    assert all("Say what you see." in text and "<|image_pad|>" in text for text in texts)
    assert texts[0].startswith("<|endoftext|>") or texts[1].startswith("<|endoftext|>")  # left
    patches = inputs["image_grid_thw"].prod(dim=1).sum()
    assert inputs["pixel_values"].shape[0] == patches


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_model_runs_in_the_requested_dtype(folder, dtype):
    vlm = load("captioner", "transformers", model=str(folder), device="cpu", dtype=dtype)

    assert vlm.model.dtype == getattr(torch, dtype)
    assert len(vlm.generate(PROMPTS[:1])) == 1


def test_nothing_is_downloaded_unless_named():
    with pytest.raises(MegastyleError, match="needs a model"):
        load("captioner", "transformers")


@pytest.mark.parametrize("name", ["./missing", "/no/such/folder", "~/nothing-here", "a/b/c"])
def test_a_missing_folder_reaches_no_network(name):
    with pytest.raises(MegastyleError, match="there is no model folder"):
        load("captioner", "transformers", model=name, device="cpu")


def test_a_folder_of_another_kind_of_model_is_one_sentence(tmp_path):
    SiglipVisionModel(
        SiglipVisionConfig(hidden_size=12, intermediate_size=16, num_hidden_layers=1)
    ).save_pretrained(tmp_path)

    with pytest.raises(MegastyleError, match="cannot be loaded|no processor for pictures"):
        load("captioner", "transformers", model=str(tmp_path), device="cpu")


def test_a_model_without_images_is_one_sentence(folder, tmp_path):
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config.pop("processor_class", None)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    GPT2Config(vocab_size=300, n_embd=8, n_layer=1, n_head=1).save_pretrained(tmp_path)

    with pytest.raises(MegastyleError, match="gpt2. has no image processor"):
        load("captioner", "transformers", model=str(tmp_path), device="cpu")


def test_a_model_with_a_missing_tensor_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if name.endswith("mlp.down_proj.weight"))
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})

    with pytest.raises(MegastyleError, match=f"1 weights are missing.*{name.split('.', 1)[1]}"):
        load("captioner", "transformers", model=str(tmp_path), device="cpu")


def test_tied_embeddings_and_tensors_of_unused_parts_are_no_fault(tmp_path):
    save_tiny_vlm(tmp_path, tie_word_embeddings=True)
    weights = load_file(tmp_path / "model.safetensors")
    assert not any("lm_head" in name for name in weights)
    save_file(
        {**weights, "mtp.draft": torch.zeros(1)}, tmp_path / "model.safetensors", {"format": "pt"}
    )

    vlm = load("captioner", "transformers", model=str(tmp_path), device="cpu")

    assert len(vlm.generate(PROMPTS[:1])) == 1
