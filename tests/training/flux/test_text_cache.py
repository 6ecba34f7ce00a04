"""Stored prompt embeddings: equal to the encoders', named by prompt and encoders, made once."""

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.loader import load_flux
from megastyle_cli.training.flux.text_cache import PromptCache, TextEncoders, bytes_per_prompt
from tests.tiny_flux import save_tiny_flux

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = save_tiny_flux(tmp_path_factory.mktemp("model"), text_tokens=5)
    return load_flux(str(folder), torch.float32)


@pytest.fixture
def accelerator():
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


def test_stored_embeddings_equal_the_encoders_bit_for_bit(pipeline, accelerator, tmp_path):
    cache = PromptCache(tmp_path, pipeline, CPU)
    cache.fill(["a fox", "a hill"], pipeline, accelerator)

    with torch.no_grad():
        expected = TextEncoders(pipeline, CPU).embed(["a hill", "a fox", "a hill"])
    found = cache.embed(["a hill", "a fox", "a hill"])

    assert torch.equal(found.states, expected.states) and torch.equal(found.pooled, expected.pooled)
    assert not torch.equal(found.states[0], found.states[1])
    size = found.states[0].nbytes + found.pooled[0].nbytes
    assert size == bytes_per_prompt(pipeline) == cache.bytes_per_prompt


def test_an_embedding_does_not_depend_on_the_other_prompts(pipeline):
    with torch.no_grad():
        alone = TextEncoders(pipeline, CPU).embed(["a fox"])
        among = TextEncoders(pipeline, CPU).embed(["a hill", "a fox", "a longer line of words"])

    assert torch.equal(alone.states[0], among.states[1])
    assert torch.equal(alone.pooled[0], among.pooled[1])


def test_a_prompt_is_encoded_once(pipeline):
    passes = []
    hook = pipeline.text_encoder_2.register_forward_hook(lambda *_: passes.append(1))
    encoders = TextEncoders(pipeline, CPU)

    with torch.no_grad():
        for _ in range(3):
            encoders.embed(["a fox", "a hill", "a fox"])
    hook.remove()

    assert len(passes) == 2


def test_stored_prompts_are_not_encoded_again(pipeline, accelerator, tmp_path):
    cache = PromptCache(tmp_path, pipeline, CPU)
    cache.fill(["a fox"], pipeline, accelerator)
    before = cache.path("a fox").stat().st_mtime_ns

    assert cache.missing(["a hill", "a fox", "a hill"]) == ["a hill"]
    cache.fill(cache.missing(["a hill", "a fox"]), pipeline, accelerator)

    assert cache.path("a fox").stat().st_mtime_ns == before
    assert cache.missing(["a hill", "a fox"]) == []


def test_other_encoders_have_other_file_names(pipeline, tmp_path):
    other = load_flux(str(save_tiny_flux(tmp_path / "other", seed=1, text_tokens=5)), torch.float32)
    longer = load_flux(str(save_tiny_flux(tmp_path / "longer", text_tokens=6)), torch.float32)
    half = load_flux(str(save_tiny_flux(tmp_path / "half", text_tokens=5)), torch.bfloat16)

    names = {PromptCache(tmp_path, p, CPU).path("a fox") for p in (pipeline, other, longer, half)}

    assert len(names) == 4


def test_prompts_without_space_on_the_disk_are_rejected_with_both_sizes(
    pipeline, tmp_path, monkeypatch
):
    cache = PromptCache(tmp_path / "words", pipeline, CPU)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**20))

    with pytest.raises(
        MegastyleError, match="the embeddings of 3,000 prompts need 1.6 MiB in"
    ) as error:
        cache.missing(f"a thing {n}" for n in range(3000))

    assert "1.0 MiB are free" in str(error.value) and error.value.exit_code == 1
