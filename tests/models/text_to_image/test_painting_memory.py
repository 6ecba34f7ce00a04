"""The memory plan of synth: counted from the files, refused before 40 GB are loaded."""

import diffusers
import pytest
import torch
from torch import nn

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.text_to_image import painting_memory as memory
from megastyle_cli.models.text_to_image.painting_memory import (
    check_memory,
    count_weights,
    painting_plans,
)

GIB = 2**30
# Qwen-Image: 20.4 and 8.3 billion weights, and the autoencoder's
QWEN = {"transformer": 20_430_000_000, "text_encoder": 8_290_000_000, "vae": 127_000_000}


@pytest.mark.parametrize("name", ["qwen", "sd3"])
def test_the_weights_are_those_of_the_loaded_pipeline(pipeline_folders, painters, name):
    parts = painters[name].model.pipeline.components.items()
    expected = {
        part: sum(w.numel() for w in model.state_dict().values())
        for part, model in parts
        if isinstance(model, nn.Module)
    }

    assert count_weights(pipeline_folders[name]) == expected


def test_plans_are_ordered_from_fast_to_small():
    plans = {flags: round(n / GIB) for flags, n in painting_plans(QWEN, 2).items()}

    assert plans == {
        "": 54,
        "--offload model": 38,
        "--quantize int8": 35,
        "--offload model --quantize int8": 19,
        "--quantize nf4": 26,
        "--offload model --quantize nf4": 15,
        "--offload layers": 0,
    }


@pytest.mark.parametrize(
    ("card_gib", "flags"),
    [
        (48, "--offload model"),
        (40, "--quantize int8"),
        (24, "--offload model --quantize int8"),
        (16, "--offload layers"),
    ],
)
def test_a_card_that_is_too_small_is_refused_with_the_flags_that_fit(
    pipeline_folders, monkeypatch, card_gib, flags
):
    monkeypatch.setattr(memory, "count_weights", lambda folder: QWEN)
    monkeypatch.setattr(memory, "device_memory", lambda device: card_gib * GIB)
    card = torch.device("cuda", 0)

    with pytest.raises(MegastyleError) as error:
        check_memory(pipeline_folders["qwen"], "Qwen/Qwen-Image", card, torch.bfloat16, None, None)

    assert error.value.message == (
        f"Qwen/Qwen-Image takes 53.7 GiB for its weights, and cuda:0 has {card_gib}.0 GiB"
    )
    assert error.value.hint.startswith(f"{flags} --batch-size 1 takes about ")


def test_the_plan_says_what_is_on_the_device(pipeline_folders, monkeypatch):
    monkeypatch.setattr(memory, "count_weights", lambda folder: QWEN)
    monkeypatch.setattr(memory, "device_memory", lambda device: 80 * GIB)
    folder, card = pipeline_folders["qwen"], torch.device("cuda", 1)

    whole = check_memory(folder, "x", card, torch.bfloat16, None, None)
    halved = check_memory(folder, "x", card, torch.bfloat16, "model", "int8")

    assert whole == (
        "memory: 53.7 GiB of weights on cuda:1 at a time (whole, in bfloat16: text_encoder 15.4,"
        " transformer 38.1, vae 0.2 GiB); 80.0 GiB there"
    )
    assert "19.3 GiB of weights on cuda:1 at a time with --offload model --quantize" in halved


def test_a_damaged_part_is_named_before_anything_is_loaded(tmp_path):
    part = tmp_path / "unet"
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"cut")
    (tmp_path / "model_index.json").write_text(
        '{"_class_name": "X", "unet": ["diffusers", "UNet2DConditionModel"]}'
    )
    assert diffusers.UNet2DConditionModel

    with pytest.raises(MegastyleError, match="unet/model.safetensors is damaged"):
        count_weights(tmp_path)
