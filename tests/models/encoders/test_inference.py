"""Inputs are encoded in order, one at a time on a CPU."""

import numpy as np
import torch

from megastyle_cli.models.encoders.inference import embed_in_batches


def test_rows_come_in_order_one_input_per_call_on_a_cpu():
    sizes = []

    def encode(inputs):
        sizes.append(len(inputs))
        assert torch.is_inference_mode_enabled()
        return torch.tensor([[float(value), -float(value)] for value in inputs])

    rows = embed_in_batches(encode, [3, 1, 2], torch.device("cpu"), 2)

    assert rows.dtype == np.float32 and rows.tolist() == [[3, -3], [1, -1], [2, -2]]
    assert sizes == [1, 1, 1]


def test_no_inputs_give_no_rows_of_the_width():
    assert embed_in_batches(None, [], torch.device("cpu"), 5).shape == (0, 5)
