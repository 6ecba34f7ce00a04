"""LoRAs of any pipeline are loaded to the last tensor, or an error says what did not fit."""

import diffusers
import numpy as np
import pytest
import torch
from diffusers import QwenImagePipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from megastyle_cli.core.errors import MegastyleError
from tests.models.text_to_image.painting import REQUEST, load_painter, paint


def save_lora(folder, path):
    """Saves a random LoRA of the tiny Qwen-Image with diffusers, and returns its path."""
    transformer = diffusers.QwenImageTransformer2DModel.from_pretrained(folder / "transformer")
    torch.manual_seed(1)
    transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_out.0"]))
    weights = {
        name: torch.randn_like(weight)
        for name, weight in get_peft_model_state_dict(transformer).items()
    }
    QwenImagePipeline.save_lora_weights(
        path.parent, transformer_lora_layers=weights, weight_name=path.name
    )
    return path


def test_a_lora_changes_the_image_unless_its_strength_is_0(pipeline_folders, painters, tmp_path):
    lora = str(save_lora(pipeline_folders["qwen"], tmp_path / "l.safetensors"))

    with_it, without = (
        paint(load_painter(pipeline_folders["qwen"], lora=lora, lora_strength=s), REQUEST)[0]
        for s in (1.0, 0.0)
    )

    (bare,) = paint(painters["qwen"], REQUEST)
    assert np.array_equal(without, bare) and not np.array_equal(with_it, bare)


def test_a_lora_that_does_not_fit_to_the_last_tensor_raises(pipeline_folders, tmp_path):
    lora = save_lora(pipeline_folders["qwen"], tmp_path / "l.safetensors")
    weights = load_file(lora)
    some = next(iter(weights))
    for name, tensors in (
        ("less", {key: w for key, w in weights.items() if key != some}),
        ("more", {**weights, some.replace("blocks.0", "blocks.9"): weights[some]}),
        ("none", {"layer.weight": torch.zeros(2, 2)}),
    ):
        save_file({key: w.clone() for key, w in tensors.items()}, tmp_path / f"{name}.safetensors")
        with pytest.raises(MegastyleError, match="tensors, of which|is not a LoRA for a Qwen"):
            load_painter(pipeline_folders["qwen"], lora=str(tmp_path / f"{name}.safetensors"))


def test_a_missing_file_raises(pipeline_folders, tmp_path):
    with pytest.raises(MegastyleError, match="there is no LoRA"):
        load_painter(pipeline_folders["qwen"], lora=str(tmp_path / "none.safetensors"))


def test_a_lora_beside_quantized_weights_acts_by_its_strength(pipeline_folders, tmp_path):
    pytest.importorskip("torchao")
    lora = str(save_lora(pipeline_folders["qwen"], tmp_path / "l.safetensors"))
    options = {"lora": lora, "quantize": "int8"}

    full, none = (
        paint(load_painter(pipeline_folders["qwen"], **options, lora_strength=s), REQUEST)[0]
        for s in (1.0, 0.0)
    )

    assert not np.array_equal(full, none)
