"""Networks of full size without their memory: shapes, types, devices and the memory plans.

Fake tensors have sizes and no content, so that all 12 billion weights of FLUX.1 run in seconds. The
autocast of a GPU is emulated.
"""

from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import SiglipVisionConfig, SiglipVisionModel

from megastyle_cli.models.encoders.siglip_vision import StyleTower
from megastyle_cli.models.flux.lora_training import attach_lora, select_target_modules
from megastyle_cli.models.flux.model import position_ids
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.sampling import denoise
from megastyle_cli.training.encoder import memory_cost as encoder_cost
from megastyle_cli.training.flux import memory_cost as flux_cost
from megastyle_cli.training.flux.trainer import FlowMatching
from tests.cuda_autocast import gpu_autocast
from tests.training.encoder.test_memory_cost import SO400M

TEXT, ROWS, RANK = 512, 32, 128  # of 512 px


class OneDevice(TorchDispatchMode):
    """Fails where a tensor is created that is not on `device`, other than a single number.

    What is computed from tensors that were elsewhere before, such as a schedule, may stay there.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if given and all(each.device.type != self.device for each in given):
            return result
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.dim() and tensor.device.type != self.device:
                raise AssertionError(f"{func} made {tuple(tensor.shape)} on {tensor.device}")
        return result


def make_fake(model: nn.Module) -> None:
    """Replaces tensors on the meta device by fake ones on the CPU; tied weights stay tied."""
    made: dict[int, nn.Parameter] = {}
    for part in model.modules():
        for name, weight in part._parameters.items():
            if weight is not None and id(weight) not in made:
                empty = torch.empty(weight.shape, dtype=weight.dtype)
                made[id(weight)] = nn.Parameter(empty, weight.requires_grad)
            part._parameters[name] = None if weight is None else made[id(weight)]
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def kept_bytes(model: nn.Module, *inputs: Tensor) -> int:
    """Bytes that a forward pass keeps for the backward pass, without the weights."""
    own = {weight.untyped_storage()._cdata for weight in model.parameters()}
    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = (storage.nbytes(), tensor)  # held: no address is used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), gpu_autocast():
        rows = model(*inputs)
    assert rows.requires_grad and rows.dtype == torch.float32
    return sum(size for size, _ in kept.values())


def test_all_of_flux_1_keeps_what_the_plan_counts() -> None:
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(guidance_embeds=True).to(torch.bfloat16)
        transformer.requires_grad_(False)
        targets = select_target_modules(transformer, "all")
        attach_lora(transformer, targets, rank=RANK, alpha=RANK, seed=0)
    with FakeTensorMode():
        make_fake(transformer)
        trained = sum(w.numel() for w in transformer.parameters() if w.requires_grad)
        model = FlowMatching(transformer, torch.bfloat16, 1.0)
        images = [torch.randn(1, ROWS**2, 64) for _ in range(3)]
        prompts = (torch.randn(1, TEXT, 4096).bfloat16(), torch.randn(1, 768).bfloat16())
        kept = kept_bytes(model, *images, *prompts, torch.ones(1), position_ids(ROWS, ROWS, 1))
        config = transformer.config

    planned = flux_cost.footprint(
        config,
        text_tokens=TEXT,
        image_tokens=ROWS**2,
        rank=RANK,
        is_half=True,
        on_gpu=True,
        is_compiled=False,
    )
    assert len(targets) == 304 and trained == 612_630_528
    assert planned.bytes_per_item(0) == pytest.approx(kept, rel=0.05)


def test_all_of_so400m_keeps_what_the_plan_counts() -> None:
    with torch.device("meta"):
        tower = StyleTower(SiglipVisionModel(SO400M).train(), torch.bfloat16)
    with FakeTensorMode():
        make_fake(tower)
        more, less = (kept_bytes(tower, torch.randn(n, 3, 384, 384)) for n in (2, 1))

    planned = encoder_cost.footprint(SO400M, is_half=True, is_compiled=False)
    assert planned.bytes_per_item(0) == pytest.approx(more - less, rel=0.05)


def small_flux() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=20,
        axes_dims_rope=(4, 6, 6),
        in_channels=16,
        guidance_embeds=True,
    )


def test_denoising_creates_no_tensor_on_another_device() -> None:
    device = torch.device("meta")  # stands for a GPU
    with device:
        transformer = small_flux()
        tokens, states = torch.randn(1, 4, 16), torch.randn(1, 8, 24)
        prompts = PromptEmbeddings(states=states, pooled=torch.randn(1, 20))
    ids = position_ids(2, 2, 1).to(device)
    sigmas = torch.linspace(1, 0, 3)

    with torch.inference_mode(), OneDevice("meta"):
        painted = denoise(transformer, tokens, tokens, prompts, sigmas, ids)

    assert painted.device == device and painted.shape == tokens.shape


def test_a_tower_creates_no_tensor_on_another_device() -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    config = SiglipVisionConfig(**sizes, num_hidden_layers=1, image_size=32, patch_size=8)
    with torch.device("meta"):
        vision = SiglipVisionModel(config)
        images = torch.randn(2, 3, 32, 32)

    with OneDevice("meta"):
        rows = vision(pixel_values=images).pooler_output
        torch.autograd.backward(rows.sum())

    assert rows.device.type == "meta"


def test_the_guard_fails_where_a_tensor_is_on_another_device() -> None:
    with pytest.raises(AssertionError, match="on cpu"), OneDevice("meta"):
        torch.zeros(3)
    with OneDevice("meta"):
        torch.tensor(0.5)  # a single number may come from anywhere
        torch.zeros(3, device="meta")
