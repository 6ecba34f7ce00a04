"""A new transformer: its config is checked, its weights come from the seed and start at zero."""

import json

import pytest
import torch

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.init import new_transformer
from megastyle_cli.models.flux.model import position_ids, velocity
from tests.models.flux.reference_model import COLUMNS, ROWS, random_inputs
from tests.tiny_flux import TRANSFORMER


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TRANSFORMER))
    return path


def test_the_seed_decides_the_weights_and_the_global_generator_is_untouched(config):
    before = torch.random.get_rng_state()

    one, same, other = (new_transformer(config, seed).state_dict() for seed in (1, 1, 2))

    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["x_embedder.weight"], other["x_embedder.weight"])


def test_a_folder_stands_for_the_config_in_it(config):
    assert new_transformer(config.parent, 0).config == new_transformer(config, 0).config


@torch.inference_mode()
def test_the_first_prediction_is_zero_because_blocks_pass_their_input_on(config):
    transformer = new_transformer(config, 0)
    block = transformer.transformer_blocks[0]
    inputs = random_inputs(TRANSFORMER)
    image, text, conditions = torch.randn(1, 4, 32), torch.randn(1, 3, 32), torch.randn(1, 32)

    flow = velocity(transformer, *inputs, position_ids(ROWS, COLUMNS, 1), guidance=1.0)
    text_out, image_out = block(image, text, conditions)

    assert flow.abs().max() == 0
    assert torch.equal(image_out, image) and torch.equal(text_out, text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a readable config"),
        ("[]", "is not a readable config"),
        (json.dumps({"layers": 3}), "has 'layers', which is not an option of a FLUX transformer"),
        (json.dumps({**TRANSFORMER, "num_layers": "two"}), "is not a valid FLUX config"),
        (json.dumps({**TRANSFORMER, "axes_dims_rope": [2, 2, 2]}), "adds up to 6, .* is 16"),
    ],
)
def test_a_config_that_describes_no_flux_raises(config, content, message):
    config.write_text(content)

    with pytest.raises(MegastyleError, match=message):
        new_transformer(config, 0)
