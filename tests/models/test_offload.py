"""Models move to a device and back without copying their weights back."""

import pytest
import torch
from torch import nn

from megastyle_cli.models.offload import on_device, weight_bytes

META = torch.device("meta")  # stands for a GPU


class Tied(nn.Module):
    """Two layers of one weight, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
        self.other.weight = self.one.weight
        self.register_buffer("steps", torch.arange(3))


def tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def test_inside_everything_is_on_the_device_and_afterwards_the_same_memory_on_the_cpu() -> None:
    model = Tied()
    before = [tensor.data_ptr() for tensor in tensors(model)]

    with torch.inference_mode(), on_device([model], META):
        assert {tensor.device for tensor in tensors(model)} == {META}
        assert model.other.weight is model.one.weight

    assert [tensor.data_ptr() for tensor in tensors(model)] == before
    assert model.one(torch.ones(1, 4)).isfinite().all()


def test_an_error_inside_brings_the_weights_back() -> None:
    model = Tied()

    with pytest.raises(ValueError, match="inside"), on_device([model], META):
        raise ValueError("inside")

    assert {tensor.device.type for tensor in tensors(model)} == {"cpu"}


def test_quantized_weights_move_by_themselves() -> None:
    torchao = pytest.importorskip("torchao.quantization")
    model = nn.Sequential(nn.Linear(64, 64))
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    expected = model(torch.ones(1, 64))

    with on_device([model], torch.device("cpu")):
        assert torch.equal(model(torch.ones(1, 64)), expected)

    assert torch.equal(model(torch.ones(1, 64)), expected)


def test_weights_of_all_models_are_counted() -> None:
    class Pipeline:
        components = {"one": nn.Linear(4, 4).bfloat16(), "none": None, "two": nn.Linear(2, 2)}

    assert weight_bytes(Pipeline()) == 20 * 2 + 6 * 4
