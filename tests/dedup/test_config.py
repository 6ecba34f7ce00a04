"""Options override presets, and what a run records of them keeps its keys."""

from typing import Any

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.dedup.config import PRESETS, DedupConfig, NearConfig, resolve_config
from megastyle_cli.dedup.options import DedupOptions, DedupPreset


def resolve(preset: Any = None, embedder: Any = "static", **options: Any) -> DedupConfig:
    return resolve_config(DedupOptions(preset=preset, **options), embedder)


def near_of(preset: Any = None, **options: Any) -> NearConfig:
    config = resolve(preset, **options)
    assert config.near is not None
    return config.near


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({}, 0.2),
        ({"near_threshold": 0.9}, 0.2),
        ({"ngram": 1}, 0.0),
        ({"ngram": 2}, 0.0),
        ({"ngram_of": "words"}, 0.0),
        ({"ngram_of": "characters"}, 0.0),
    ],
)
def test_choosing_ngrams_switches_the_rule_for_common_words_off(
    options: dict[str, Any], share: float
) -> None:
    assert near_of(**options).template == share


def test_options_that_are_given_replace_those_of_the_preset_and_no_others() -> None:
    near = near_of("nemo", near_threshold=0.5, ngram=3)

    assert (near.threshold, near.ngram, near.of) == (0.5, 3, "characters")
    assert (near.bands, near.band_rows, near.seed) == (20, 13, 42)
    assert near_of(near_threshold=0.0).threshold == 0.0
    assert near_of("contents", ngram_of="words") == NearConfig(threshold=0.82, ngram=3)


@pytest.mark.parametrize(
    ("on", "preset", "expected"),
    [
        ("style", None, "styles"),
        ("content", None, "contents"),
        ("title", None, "styles"),
        ("content", "styles", "styles"),
    ],
)
def test_the_preset_follows_the_key_unless_given(
    on: str, preset: str | None, expected: DedupPreset
) -> None:
    assert near_of(preset, on=on) == PRESETS[expected][1]


def test_a_stage_that_is_switched_off_is_absent() -> None:
    config = resolve(exact=False, near=False, semantic=False)

    assert (config.exact, config.near, config.semantic) == (None, None, None)


def test_how_exact_texts_are_compared_is_the_presets_unless_given() -> None:
    assert resolve().exact == resolve("contents").exact == "normalized"
    assert resolve("nemo").exact == resolve(exact_text="raw").exact == "raw"
    assert resolve("nemo", exact_text="normalized").exact == "normalized"
    assert resolve(exact=False, exact_text="raw").exact is None


@pytest.mark.parametrize(
    ("preset", "embedder", "given", "expected"),
    [
        ("styles", "static", None, 0.99),
        ("styles", "verified", None, 0.95),
        ("styles", "sentence", None, 0.95),
        ("nemo", "sentence", None, 0.99),
        ("styles", "sentence", 0.8, 0.8),
        ("nemo", "static", 0.0, 0.0),
    ],
)
def test_the_least_cosine_depends_on_preset_and_embedder_unless_given(
    preset: str, embedder: str, given: float | None, expected: float
) -> None:
    semantic = resolve(preset, embedder=embedder, semantic_threshold=given).semantic

    assert semantic is not None and semantic.threshold == expected
    assert semantic.is_verified == (embedder == "verified")


@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_keeping_by_embeddings_needs_the_semantic_stage(keep: str) -> None:
    assert resolve(keep=keep).keep == keep
    with pytest.raises(MegastyleError, match=f"--keep {keep} ranks by embeddings"):
        resolve(keep=keep, semantic=False)


def test_a_run_records_everything_under_the_keys_that_run_keys_are_made_of() -> None:
    assert resolve("nemo").as_dict() == {
        "exact": "raw",
        "near": {
            "threshold": 0.0,
            "ngram": 24,
            "of": "characters",
            "bands": 20,
            "band_rows": 13,
            "seed": 42,
            "template": 0.0,
        },
        "semantic": {
            "threshold": 0.99,
            "recall": 0.99,
            "is_verified": False,
            "candidates": 0.85,
        },
        "keep": "first",
    }
