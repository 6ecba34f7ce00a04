"""Words on the disk: what the encoders gave, under a name of prompt and encoders, made once."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from megastyle_cli.models.flux.loader import load_flux
from megastyle_cli.training.flux.text_cache import TextEncoders, WordStore, bytes_a_prompt
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


def test_what_is_read_is_what_the_encoders_give_bit_for_bit(pipeline, accelerator, tmp_path):
    store = WordStore(tmp_path, pipeline)
    store.fill(["a fox", "a hill"], pipeline, accelerator, print)

    with torch.no_grad():
        wanted = TextEncoders(pipeline, CPU).words(["a hill", "a fox", "a hill"])
    found = store.words(["a hill", "a fox", "a hill"], CPU)

    assert torch.equal(found.states, wanted.states) and torch.equal(found.pooled, wanted.pooled)
    assert not torch.equal(found.states[0], found.states[1])
    size = found.states[0].nbytes + found.pooled[0].nbytes
    assert size == bytes_a_prompt(pipeline)


def test_the_words_of_a_prompt_do_not_depend_on_others(pipeline):
    with torch.no_grad():
        alone = TextEncoders(pipeline, CPU).words(["a fox"])
        among = TextEncoders(pipeline, CPU).words(["a hill", "a fox", "a longer line of words"])

    assert torch.equal(alone.states[0], among.states[1])
    assert torch.equal(alone.pooled[0], among.pooled[1])


def test_a_prompt_is_encoded_once(pipeline):
    passes = []
    hook = pipeline.text_encoder_2.register_forward_hook(lambda *_: passes.append(1))
    encoders = TextEncoders(pipeline, CPU)

    with torch.no_grad():
        for _ in range(3):
            encoders.words(["a fox", "a hill", "a fox"])
    hook.remove()

    assert len(passes) == 2


def test_what_is_there_is_not_encoded_again(pipeline, accelerator, tmp_path):
    store = WordStore(tmp_path, pipeline)
    store.fill(["a fox"], pipeline, accelerator, print)
    before = store.path("a fox").stat().st_mtime_ns

    assert store.lacking(["a hill", "a fox", "a hill"]) == ["a hill"]
    store.fill(["a hill", "a fox"], pipeline, accelerator, print)

    assert store.path("a fox").stat().st_mtime_ns == before
    assert store.lacking(["a hill", "a fox"]) == []


def test_other_encoders_have_other_names(pipeline, tmp_path):
    other = load_flux(str(save_tiny_flux(tmp_path / "other", seed=1, text_tokens=5)), torch.float32)
    longer = load_flux(str(save_tiny_flux(tmp_path / "longer", text_tokens=6)), torch.float32)
    half = load_flux(str(save_tiny_flux(tmp_path / "half", text_tokens=5)), torch.bfloat16)

    names = {WordStore(tmp_path, p).path("a fox") for p in (pipeline, other, longer, half)}

    assert len(names) == 4
