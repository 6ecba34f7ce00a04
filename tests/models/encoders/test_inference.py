"""Inputs are encoded in order: one at a time on a CPU, else in batches that are prepared ahead."""

import threading

import numpy as np
import pytest
import torch

from megastyle_cli.models.encoders.inference import IMAGES, TOKENS, BatchedEncoder

CPU = torch.device("cpu")


def batched(size=None, width=2, tokens=1):
    return BatchedEncoder(CPU, width, tokens_per_input=tokens, size=size)


def pairs_of(values):
    return torch.tensor([[float(value), -float(value)] for value in values])


@pytest.mark.parametrize("size", [None, 2, 3, 8])
def test_rows_come_in_order_one_input_per_call_on_a_cpu(size):
    sizes = []

    def encode(values):
        sizes.append(len(values))
        assert torch.is_inference_mode_enabled()
        return pairs_of(values)

    rows = batched(size).embed([3, 1, 2], list, encode)

    assert rows.dtype == np.float32 and rows.tolist() == [[3, -3], [1, -1], [2, -2]]
    assert sizes == {None: [1, 1, 1], 2: [2, 1], 3: [3], 8: [3]}[size]


@pytest.mark.parametrize("size", [None, 4])
def test_no_inputs_give_no_rows_of_the_width(size):
    assert batched(size, width=5).embed([], list, lambda _: torch.empty(0, 5)).shape == (0, 5)


def test_the_next_batch_is_prepared_while_one_is_encoded():
    begun = [threading.Event() for _ in range(3)]

    def prepare(values):
        if values:
            begun[values[0] // 2].set()
        return values

    def encode(values):
        following = values[0] // 2 + 1
        assert following == 3 or begun[following].wait(timeout=10)
        return pairs_of(values)

    rows = batched(2).embed(list(range(6)), prepare, encode)
    assert rows[:, 0].tolist() == list(range(6))


def test_a_batch_without_memory_is_halved_and_so_are_those_after_it():
    sizes = []

    def encode(values):
        sizes.append(len(values))
        if len(values) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return pairs_of(values)

    encoder = batched(8)
    rows = encoder.embed(list(range(9)), list, encode)

    assert rows[:, 0].tolist() == list(range(9)) and encoder.size == 2
    assert sizes == [8, 4, 2, 2, 2, 2, 1]


def test_other_errors_and_a_single_input_without_memory_are_raised():
    def fail(error):
        def encode(values):
            raise error

        return encode

    with pytest.raises(RuntimeError, match="wrong shape"):
        batched(4).embed([1, 2], list, fail(RuntimeError("wrong shape")))
    with pytest.raises(torch.OutOfMemoryError):
        batched(4).embed([1], list, fail(torch.OutOfMemoryError("CUDA out of memory")))


def test_a_gpu_takes_as_many_images_as_keep_it_busy():
    meta = torch.device("meta")

    assert BatchedEncoder(CPU, 2, tokens_per_input=729).size == 1
    assert BatchedEncoder(meta, 2, tokens_per_input=729).size == TOKENS // 729
    assert BatchedEncoder(meta, 2, tokens_per_input=49).size == IMAGES
