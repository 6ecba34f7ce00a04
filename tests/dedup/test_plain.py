"""Plain Python gives the bytes of compiled code."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from megastyle_cli.compute.engine import LocalEngine
from megastyle_cli.compute.jit import MAX_PLAIN_RECORDS, choose_by_size
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup.config import PRESETS, DedupConfig, NearConfig
from megastyle_cli.dedup.deduplicate import Decisions, collect_signatures, find_duplicates
from megastyle_cli.dedup.exact import count_characters, normalize_block
from megastyle_cli.dedup.near import AdjacencyList, band_buckets, merge_bands, select_greedily
from megastyle_cli.dedup.signatures import SignatureStore, compute_signatures
from megastyle_cli.runner.progress import Stage
from tests.dedup.helpers import odd_texts, prompts

CONFIGS = [near for _, near in PRESETS.values()] + [NearConfig(ngram=3), NearConfig(threshold=0.3)]
FEW, MANY = MAX_PLAIN_RECORDS, MAX_PLAIN_RECORDS + 1


def both(function: Any, *arguments: Any) -> tuple[Any, Any]:
    """The results of plain Python and of compiled code."""
    choose_by_size(FEW)
    plain = function(*arguments)
    choose_by_size(MANY)
    return plain, function(*arguments)


def equal(one: Any, other: Any) -> bool:
    """Whether two objects hold the same arrays, types included."""
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return all(equal(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, tuple):
        return all(map(equal, one, other))
    return one.dtype == other.dtype and np.array_equal(one, other)


@pytest.mark.parametrize("near", CONFIGS)
def test_signatures_are_those_of_compiled_code(near: NearConfig) -> None:
    texts = StringArray.from_strings([*odd_texts(300, 1), *prompts(100, 1), "w " * 9000, ""])

    assert equal(*both(normalize_block, texts))
    assert equal(*both(count_characters, texts))
    assert equal(*both(compute_signatures, normalize_block(texts), near))
    assert equal(*both(texts.take, np.array([3, 1, 1])))


@pytest.mark.parametrize("near", CONFIGS)
def test_the_selection_is_that_of_compiled_code(near: NearConfig) -> None:
    texts = StringArray.from_strings([*odd_texts(150, 2), *prompts(250, 2)])
    store = SignatureStore(near)
    store.add_records(np.arange(len(texts), dtype=np.int32), np.zeros(len(texts), np.int32))
    store.add_signatures(compute_signatures(texts, near))
    bands, ngrams = list(store.band_keys()), store.ngram_sets()
    order = np.random.default_rng(0).permutation(len(texts)).astype(np.int32)
    links = AdjacencyList(
        np.arange(len(texts) + 1),
        np.roll(np.arange(len(texts), dtype=np.int32), 7),
        len(texts),
        np.linspace(0, 1, len(texts)),
    )

    def select() -> Any:
        buckets = merge_bands(map(band_buckets, bands), len(texts))
        return select_greedily(order, ngrams, buckets, near, links)

    assert equal(*both(select))


def test_decisions_are_those_of_compiled_code() -> None:
    texts = [*odd_texts(100, 3), *prompts(200, 3), *prompts(50, 3)]
    config = DedupConfig(near=PRESETS["styles"][1])

    def decide() -> Decisions:
        engine = LocalEngine(1)
        store = collect_signatures([StringArray.from_strings(texts)], config, engine)
        none: Any = None
        stage = Stage("dedup", quiet=True, to_stdout=False)
        return find_duplicates(store, config, none, [], engine, stage)

    plain, compiled = both(decide)

    assert list(plain) == list(compiled) and len(list(plain)) > 50
