"""Pipelines are loaded whole, quantized on request, and named by a fingerprint of the denoiser."""

import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.text_to_image.pipeline_loader import (
    denoiser_fingerprint,
    load_pipeline,
)
from tests.models.text_to_image.painting import (
    REQUEST,
    load_painter,
    paint,
    pixels,
)
from tests.tiny_pipelines import save_tiny_qwen


def test_a_missing_weight_raises_with_its_name(tmp_path):
    folder = save_tiny_qwen(tmp_path / "tiny")
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights.pop("proj_out.bias")
    save_file(weights, file)

    with pytest.raises(MegastyleError, match=r"such as proj_out\.bias"):
        load_painter(folder)


def test_a_folder_without_a_part_raises(tmp_path):
    folder = save_tiny_qwen(tmp_path / "tiny")
    (folder / "vae").rename(folder / "away")

    with pytest.raises(MegastyleError, match="not a complete QwenImagePipeline: it has no vae"):
        load_painter(folder)


@pytest.mark.parametrize("quantize", ["int8", "fp8"])
def test_a_quantized_model_gives_nearly_the_same_image(pipeline_folders, painters, quantize):
    pytest.importorskip("torchao")

    (quantized,) = paint(load_painter(pipeline_folders["qwen"], quantize=quantize), REQUEST)

    (whole,) = paint(painters["qwen"], REQUEST)
    assert 0 < abs(quantized - whole).mean() < 5


def test_quantizing_without_the_package_raises_with_the_install_command(
    pipeline_folders, monkeypatch
):
    monkeypatch.setitem(sys.modules, "torchao", None)

    with pytest.raises(MegastyleError, match="needs the package 'torchao'") as error:
        load_painter(pipeline_folders["qwen"], quantize="int8")
    assert error.value.hint == "pip install 'megastyle[quantize]'"


def test_a_model_has_one_name_in_every_dtype(pipeline_folders, painters):
    half = load_painter(pipeline_folders["qwen"], dtype="bfloat16")

    assert half.name == painters["qwen"].name
    assert half.name != painters["flux"].name
    assert half.model.pipeline.transformer.dtype == torch.bfloat16
    assert pixels(half.paint([REQUEST])[0]).std() > 0


def test_the_fingerprint_does_not_depend_on_the_number_of_files(tmp_path):
    folder = save_tiny_qwen(tmp_path / "tiny")
    whole = denoiser_fingerprint(folder)
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    names = sorted(weights)

    file.unlink()
    for shard in (0, 1):
        save_file({n: weights[n] for n in names[shard::2]}, file.with_stem(f"shard-{shard}"))

    assert denoiser_fingerprint(folder) == whole


@pytest.mark.parametrize("name", ["proj_out.weight", "proj_out.bias"])
def test_another_weight_gives_another_fingerprint(tmp_path, name):
    folder = save_tiny_qwen(tmp_path / "tiny")
    before = denoiser_fingerprint(folder)
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)

    weights[name].flatten()[0] += 1
    save_file(weights, file)

    assert denoiser_fingerprint(folder) != before


def test_an_unreadable_tokenizer_raises(tmp_path):
    folder = save_tiny_qwen(tmp_path / "tiny")
    for path in (folder / "tokenizer").iterdir():
        path.write_text("{")

    with pytest.raises(MegastyleError, match="cannot be read"):
        load_pipeline(folder, torch.float32)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vae/config.json", "[1]"),
        ("vae/config.json", '{"_class_name": 5}'),
        ("transformer/config.json", '{"num_layers": "two"}'),
        ("scheduler/scheduler_config.json", "[1]"),
        ("tokenizer/tokenizer.json", "[1]"),
    ],
)
def test_a_forged_config_is_one_sentence(tmp_path, name, text):
    folder = save_tiny_qwen(tmp_path / "tiny")
    assert (folder / name).exists()
    (folder / name).write_text(text)

    with pytest.raises(MegastyleError, match="tiny"):
        load_pipeline(folder, torch.float32)


def test_a_git_lfs_pointer_is_called_one(tmp_path):
    folder = save_tiny_qwen(tmp_path / "tiny")
    (weights,) = (folder / "transformer").glob("*.safetensors")
    weights.write_text("version https://git-lfs.github.com/spec/v1\n")

    with pytest.raises(MegastyleError, match="is a Git LFS pointer"):
        load_painter(folder)
