"""Memory cost of the encoder: known cards get known plans, autograd keeps what is counted."""

import pytest
import torch
from transformers import SiglipVisionConfig

from megastyle_cli.models.encoders.siglip_vision import StyleTower, new_tower
from megastyle_cli.training.common.memory_plan import GIB, plan_memory
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.encoder.memory_cost import (
    batch_bytes,
    footprint,
    plan_encoder_memory,
)

MIB = 2**20
SO400M = SiglipVisionConfig(
    hidden_size=1152,
    intermediate_size=4304,
    num_hidden_layers=27,
    num_attention_heads=16,
    image_size=384,
    patch_size=14,
)
PARAMETERS = 428_225_600


def of_so400m(*, is_compiled):
    return footprint(SO400M, is_half=True, is_compiled=is_compiled)


def planned(free_gib, *, is_compiled, **options):
    """The plan of the paper's batch on one device."""
    return plan_encoder_memory(
        SO400M,
        EncoderConfig(compile=is_compiled, **options),
        parameters=PARAMETERS,
        extra=batch_bytes(8192, 8192, 439),
        is_half=True,
        free=round(free_gib * GIB),
        world=1,
    )


@pytest.mark.parametrize(("is_compiled", "mib"), [(False, 840), (True, 490)])
def test_an_image_in_so400m_takes_the_calculated_bytes(is_compiled, mib):
    assert of_so400m(is_compiled=is_compiled).bytes_per_item(0) / MIB == pytest.approx(
        mib, rel=0.02
    )


def test_layer_inputs_are_counted_in_single_precision():
    # 43 MiB at two bytes per value; but position embeddings are float32, and so is the residual
    cost = of_so400m(is_compiled=False)

    assert cost.layers * cost.inputs / MIB == pytest.approx(2 * 43.2, rel=0.01)
    assert cost.bytes_per_item(1) == cost.outside + 27 * cost.inputs + cost.kept


@pytest.mark.parametrize(
    ("free_gib", "is_compiled", "micro_batch"),
    [(139, True, 128), (139, False, 128), (79, True, 96), (79, False, 64), (23.5, True, 16)],
)
def test_known_cards_get_micro_batches_without_recomputing_layers(
    free_gib, is_compiled, micro_batch
):
    made = planned(free_gib, is_compiled=is_compiled)

    assert (made.micro_batch, made.recompute_every, made.fits) == (micro_batch, 0, True)
    assert made.forward_passes == 4


def test_a_share_that_fits_takes_one_pass():
    made = plan_memory(of_so400m(is_compiled=True), items=205, fixed=10 * GIB, free=139 * GIB)

    assert made.is_single_pass and made.recompute_every == 0 and made.forward_passes == 3


def test_some_layers_are_recomputed_if_that_saves_the_second_pass():
    made = plan_memory(of_so400m(is_compiled=True), items=300, fixed=10 * GIB, free=139 * GIB)

    assert made.is_single_pass and made.recompute_every == 3 and 3 < made.forward_passes < 4


def test_layers_are_recomputed_if_a_micro_batch_would_be_too_small_otherwise():
    made = planned(17, is_compiled=False)

    assert made.recompute_every > 0 and made.fits and made.micro_batch * 729 >= 4096


def test_requested_options_are_kept():
    assert planned(139, is_compiled=True, chunk="7").micro_batch == 7
    assert planned(139, is_compiled=True, recompute="2").recompute_every == 2
    both = planned(20, is_compiled=False, chunk="4096", recompute="none")
    assert (both.micro_batch, both.recompute_every, both.fits) == (4096, 0, False)
    assert "may not be enough" in both.sentence


def test_the_plan_is_described_in_words():
    made = planned(139, is_compiled=True)

    assert made.sentence.startswith("64 chunks of 128 images, each embedded twice, all activ")
    assert made.sentence.endswith("of 139.0 GiB free")
    twice = planned(139, is_compiled=True, recompute="2").sentence
    assert "14 of 27 layers recomputed" in twice


WIDE = {
    "hidden_size": 96,
    "intermediate_size": 288,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 8,
}


def kept_bytes(dtype, layers, images):
    """Bytes that a forward pass keeps for the backward pass, without the weights."""
    vision = new_tower(SiglipVisionConfig(**WIDE, num_hidden_layers=layers), seed=0).train()
    own = {weight.untyped_storage().data_ptr() for weight in vision.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (
                storage.nbytes(),
                tensor,
            )  # held, so that no address is reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        embedded = StyleTower(vision, dtype)(torch.rand(images, 3, 64, 64))
    assert embedded.requires_grad
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_keeps_the_counted_bytes(dtype):
    cost = footprint(
        SiglipVisionConfig(**WIDE, num_hidden_layers=1),
        is_half=dtype != torch.float32,
        is_compiled=False,
    )

    one, two = (kept_bytes(dtype, n, 3) - kept_bytes(dtype, n, 2) for n in (1, 2))

    assert two - one == pytest.approx(cost.kept, rel=0.05)
    assert one - (two - one) == pytest.approx(cost.outside, rel=0.2)
