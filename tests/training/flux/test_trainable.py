"""The trainable part of FLUX: a LoRA or all weights, read back exactly, exported for others."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.lora import target_modules
from megastyle_cli.models.flux.lora_file import read_lora, save_lora
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.trainable import (
    DIFFUSERS_FILE,
    OFFICIAL_FILE,
    TrainableModel,
)
from tests.tiny_flux import TRANSFORMER, random_lora, save_tiny_flux


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_flux(tmp_path_factory.mktemp("model"), text_tokens=5)


@pytest.fixture
def trainable_of(model):
    def make(**changed):
        return TrainableModel(FluxConfig(model=str(model), **changed), torch.float32)

    return make


@pytest.fixture
def size(tmp_path):
    (tmp_path / "size.json").write_text(json.dumps(TRANSFORMER))
    return str(tmp_path / "size.json")


def trained_weights(trainable):
    return [w for w in trainable.transformer.parameters() if w.requires_grad]


def randomize(trainable):
    """Stands for a training: every trained weight is changed."""
    generator = torch.manual_seed(1)
    with torch.no_grad():
        for weight in trained_weights(trainable):
            weight.add_(torch.randn(weight.shape, generator=generator))


def test_a_lora_trains_its_factors_alone_and_starts_as_the_model(trainable_of):
    trainable = trainable_of(rank=4)

    names = {n for n, w in trainable.transformer.named_parameters() if w.requires_grad}
    assert trainable.rank == 4 and names and all("lora_" in name for name in names)
    ups = [w for n, w in trainable.transformer.named_parameters() if "lora_B" in n]
    assert not any(up.any() for up in ups)
    assert trainable_of().rank == 128  # the paper's


@pytest.mark.parametrize("is_new", [False, True])
def test_a_whole_model_trains_every_weight(trainable_of, size, is_new):
    trainable = trainable_of(init=size) if is_new else trainable_of(full=True)

    assert trainable.rank is None
    assert all(weight.requires_grad for weight in trainable.transformer.parameters())


def test_the_frozen_weights_are_identified_by_their_content(trainable_of, model, size):
    assert trainable_of(rank=4).model == trainable_of(rank=8).model
    assert trainable_of(rank=4).model.startswith(f"{model}@")
    assert trainable_of(init=size, seed=1).model != trainable_of(init=size, seed=2).model


@pytest.mark.parametrize("options", [{"rank": 4}, {"full": True}])
def test_a_checkpoint_is_read_back_exactly(trainable_of, tmp_path, options):
    trainable, other = trainable_of(**options), trainable_of(**options)
    randomize(trainable)

    trainable.write_checkpoint(tmp_path, trainable.metadata(7))
    other.read_checkpoint(tmp_path)

    pairs = zip(trained_weights(trainable), trained_weights(other), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    (path,) = tmp_path.glob("*.safetensors")
    with safe_open(path, "pt") as file:
        assert file.metadata()["megastyle.step"] == "7"


def test_an_exported_lora_is_the_same_in_both_formats(trainable_of, tmp_path):
    trainable = trainable_of(rank=4)
    randomize(trainable)

    folder = trainable.export(tmp_path, trainable.metadata(7), torch.bfloat16)

    wanted = target_modules(2, 2)
    official, diffusers = (read_lora(folder / n, wanted) for n in (OFFICIAL_FILE, DIFFUSERS_FILE))
    for target in wanted:
        assert official[target].down.dtype == torch.bfloat16
        assert torch.equal(official[target].down, diffusers[target].down)
        assert torch.equal(official[target].up, diffusers[target].up)


def test_an_exported_model_is_complete_though_the_text_encoders_were_freed(trainable_of, tmp_path):
    trainable = trainable_of(full=True)
    randomize(trainable)
    trainable.pipeline.text_encoder = trainable.pipeline.text_encoder_2 = None

    folder = trainable.export(tmp_path, trainable.metadata(7), torch.float32)

    parts = {path.parent.name for path in folder.rglob("*.safetensors")}
    assert parts == {"transformer", "vae", "text_encoder", "text_encoder_2"}
    stored = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    for name, weight in trainable.transformer.state_dict().items():
        assert torch.equal(stored[name], weight)


@pytest.mark.parametrize("option", [{"rank": 4}, {"alpha": 2.0}, {"quantize": "int8"}])
def test_lora_options_of_a_whole_model_are_rejected(trainable_of, size, option):
    with pytest.raises(MegastyleError, match="--full, which trains all weights"):
        trainable_of(full=True, **option)
    with pytest.raises(MegastyleError, match="--init, which trains all weights"):
        trainable_of(init=size, **option)


def test_a_model_whose_parts_do_not_fit_is_rejected(trainable_of, tmp_path):
    (tmp_path / "size.json").write_text(json.dumps({**TRANSFORMER, "in_channels": 32}))

    with pytest.raises(
        MegastyleError, match="in_channels is 32, but the other parts of the model need 16"
    ):
        trainable_of(init=str(tmp_path / "size.json"))


def test_a_lora_of_another_model_of_the_same_shapes_is_remarked_on(trainable_of, tmp_path, caplog):
    metadata = {"megastyle.model": "FLUX.1-other@01234567"}
    path = tmp_path / "lora.safetensors"
    save_lora(random_lora(target_modules(2, 2)), path, metadata=metadata)

    trainable = trainable_of(lora=str(path))

    (remark,) = caplog.records
    assert f"trained on FLUX.1-other@01234567, not on {trainable.model}" in remark.getMessage()
