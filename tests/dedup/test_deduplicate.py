"""The three stages together: kept keepers, true scores, the first text kept, whatever the texts."""

import random
import time
from itertools import combinations

import numpy as np
import pytest

from megastyle_cli.dedup import pairwise, semantic
from megastyle_cli.dedup.config import PRESETS, DedupConfig, NearConfig, SemanticConfig
from megastyle_cli.dedup.exact import normalize
from megastyle_cli.dedup.options import KeepPolicy
from megastyle_cli.models.builtin.text_embedder import StaticEmbedder
from tests.dedup.helpers import (
    ODD,
    WORDS,
    decide,
    decide_near,
    first_kept,
    jaccard,
    lookup,
    numbered,
    odd_texts,
    pairs_of,
    prompts,
    unit,
)

EVERY_STAGE = DedupConfig(near=NearConfig(), semantic=SemanticConfig(threshold=0.9))


@pytest.mark.parametrize("ngram", [1, 2, 3])
def test_near_duplicates_equal_the_rule_applied_to_all_pairs(ngram: int) -> None:
    texts = prompts(400, seed=ngram)
    near = NearConfig(threshold=0.75, ngram=ngram, bands=200, band_rows=3)

    found = list(decide(texts, DedupConfig(exact=None, near=near)))

    expected = first_kept(
        len(texts), lambda a, b: jaccard(texts[a], texts[b], ngram), near.threshold
    )
    assert len(expected) > 40
    assert pairs_of(found) == expected
    assert [one.score for one in found] == pytest.approx(
        [jaccard(texts[row], texts[of], ngram) for row, of in expected]
    )


def test_every_keeper_is_kept_earlier_and_close_enough_when_all_stages_run() -> None:
    texts = prompts(1500, seed=5)
    texts += [text.upper() for text in texts[::3]]
    embed = StaticEmbedder().embed

    found = list(decide(texts, EVERY_STAGE, [embed]))

    dropped = {one.row for one in found}
    vectors = embed(texts[:1500] + texts[:1500:3])  # a copy shares the decision on its text
    least = {"exact": 1.0, "near": 0.72, "semantic": 0.9}
    assert {one.stage for one in found} == set(least)
    for one in found:
        other = one.duplicate_of
        assert other not in dropped and other < one.row
        true_score = {
            "exact": float(normalize(texts[one.row]) == normalize(texts[other])),
            "near": jaccard(texts[one.row], texts[other], 1),
            "semantic": float(vectors[one.row] @ vectors[other]),
        }[one.stage]
        assert one.score == pytest.approx(true_score, abs=1e-6)
        assert one.score >= least[one.stage]


def test_blocks_and_workers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = prompts(700, seed=6)
    embed = StaticEmbedder().embed
    whole = list(decide(texts, EVERY_STAGE, [embed]))

    monkeypatch.setattr(semantic, "_BLOCK", 9)
    monkeypatch.setattr(pairwise, "BLOCK", 5)
    monkeypatch.setattr(pairwise, "_BANK", 11)

    assert list(decide(texts, EVERY_STAGE, [embed], workers=3, block=7)) == whole
    assert {one.stage for one in whole} == {"exact", "near", "semantic"}


def test_distinct_texts_are_not_chained_away() -> None:
    words = WORDS[:30]
    # each text differs from the one before by two words, the last from the first by all
    chain = [" ".join(WORDS[30 : 30 + step] + words[step:]) for step in range(0, 31, 2)]

    found = decide_near(chain, NearConfig())

    kept = found.kept_rows().tolist()
    assert len(kept) > 3
    for a, b in combinations(kept, 2):
        assert jaccard(chain[a], chain[b], 1) < NearConfig().threshold


def test_exact_ignores_case_width_and_white_space() -> None:
    texts = ["Teal  on Ochre", "teal on ochre ", "\uff34eal on\u00a0ochre", "teal on ochre.", ""]

    found = decide([*texts, " "], DedupConfig())

    assert pairs_of(found) == [(1, 0), (2, 0), (5, 4)]
    assert {one.stage for one in found} == {"exact"} and {one.score for one in found} == {1.0}


def test_raw_texts_are_equal_byte_by_byte_only() -> None:
    texts = ["Teal", "teal", "Teal", "te\u0301al", "t\u00e9al", "\ud800", "\ud800"]

    assert pairs_of(decide(texts, DedupConfig(exact="raw"))) == [(2, 0), (6, 5)]


def test_without_stages_every_record_is_kept() -> None:
    found = decide(["same"] * 5, DedupConfig(exact=None))

    assert found.kept_rows().tolist() == [0, 1, 2, 3, 4] and not found.is_copy.any()


def test_a_copy_of_a_near_duplicate_names_the_kept_text_and_is_marked_as_a_copy() -> None:
    text = " ".join(WORDS[:30])
    edited = text.replace(WORDS[15], "other")

    found = decide_near([text, edited, edited, text], NearConfig())

    assert pairs_of(found) == [(1, 0), (2, 0), (3, 0)]
    assert [one.stage for one in found] == ["near", "near", "exact"]
    assert found.is_copy.tolist() == [False, False, True, True]
    assert len(found) == 4 and found.dropped_rows().tolist() == [1, 2, 3]


def test_the_order_of_texts_does_not_change_the_number_of_groups_that_are_far_apart() -> None:
    rng = random.Random(3)
    families = [rng.choices(WORDS, k=30) for _ in range(50)]
    texts = [" ".join(words) for words in families]
    texts += [" ".join([*words[:29], "changed"]) for words in families]

    kept = []
    for seed in range(3):
        random.Random(seed).shuffle(texts)
        kept.append(len(decide_near(texts, NearConfig()).kept_rows()))

    assert kept == [50, 50, 50]


def test_odd_texts_do_not_crash_and_only_equal_ones_are_joined() -> None:
    config = DedupConfig(near=NearConfig(), semantic=SemanticConfig())

    found = list(decide(ODD + ODD, config, [StaticEmbedder().embed]))

    first = {(one.row, one.duplicate_of) for one in found if one.row < len(ODD)}
    assert (1, 0) in first  # both are empty once trimmed
    assert (9, 8) not in first  # two emoji are two words
    assert {one.row for one in found} >= set(range(len(ODD), 2 * len(ODD)))


@pytest.mark.parametrize("seed", range(5))
def test_random_characters_never_crash(seed: int) -> None:
    config = DedupConfig(near=NearConfig(ngram=3), semantic=SemanticConfig())

    found = decide(odd_texts(300, seed), config, [StaticEmbedder().embed])

    assert all(one.duplicate_of < one.row for one in found)


@pytest.mark.parametrize("keep", ["first", "longest", "hard", "easy"])
def test_no_texts_have_no_duplicates(keep: KeepPolicy) -> None:
    config = DedupConfig(near=NearConfig(), semantic=SemanticConfig(), keep=keep)

    assert list(decide([], config, [StaticEmbedder().embed])) == []


@pytest.mark.parametrize("seed", range(3))
def test_longest_applies_the_rule_by_length_whatever_the_order_of_records(seed: int) -> None:
    texts = prompts(300, seed)
    texts += [text.upper() + "  " for text in texts[::7]]
    ids = [f"id{row:03}" for row in range(len(texts))]
    near = NearConfig(threshold=0.75, bands=200, band_rows=3)
    order = sorted(range(len(texts)), key=lambda row: (-len(texts[row]), ids[row]))
    expected = first_kept(
        len(texts), lambda a, b: jaccard(texts[order[a]], texts[order[b]], 1), 0.75
    )
    kept = {ids[row] for row in order} - {ids[order[position]] for position, _ in expected}

    for shuffle in range(2):
        rows = random.Random(shuffle).sample(range(len(texts)), len(texts))
        found = decide(
            [texts[row] for row in rows],
            DedupConfig(near=near, keep="longest"),
            ids=[ids[row] for row in rows],
        )
        assert {ids[rows[row]] for row in found.kept_rows()} == kept


def test_of_equal_length_the_record_of_least_id_is_kept() -> None:
    texts = ["teal ink", "TEAL INK", "Teal Ink", "red"]

    found = decide(texts, DedupConfig(keep="longest"), ids=["c", "a", "b", "d"])

    assert pairs_of(found) == [(0, 1), (2, 1)]


@pytest.mark.parametrize("keep", ["hard", "easy"])
@pytest.mark.parametrize("far", [0, 1])
def test_hard_keeps_the_text_farther_from_the_centroid_and_easy_the_nearer(
    keep: KeepPolicy, far: int
) -> None:
    pair = [[0.5, 0.866025], [0.6, 0.8]]  # the second is farther from the others
    vectors = unit(np.array([*(pair if far == 1 else pair[::-1]), *[[0.0, 1.0]] * 5]))
    config = DedupConfig(semantic=SemanticConfig(threshold=0.99), keep=keep)

    found = pairs_of(decide(numbered(7), config, [lookup(vectors)]))

    kept = far if keep == "hard" else 1 - far
    assert (1 - kept, kept) in found


def test_keeping_by_embeddings_does_not_depend_on_the_order_of_records() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(
        rng.normal(size=(40, 8))[rng.integers(0, 40, 200)] + rng.normal(0, 0.1, (200, 8))
    )
    config = DedupConfig(semantic=SemanticConfig(threshold=0.95), keep="hard")
    kept = []
    for seed in range(2):
        rows = random.Random(seed).sample(range(200), 200)
        found = decide(
            [f"text {row}" for row in rows],
            config,
            [lookup(vectors)],
            ids=[f"{row:03}" for row in rows],
        )
        kept.append({rows[row] for row in found.kept_rows()})

    assert kept[0] == kept[1] and len(kept[0]) < 200


def test_one_prompt_twenty_thousand_times_leaves_one() -> None:
    found = pairs_of(decide_near(["Teal on ochre, in ink."] * 20_000, NearConfig()))

    assert found == [(row, 0) for row in range(1, 20_000)]


def test_variants_of_one_prompt_leave_one_without_comparing_all_pairs() -> None:
    words = WORDS[:40]
    texts = [
        " ".join([*words[: row % 40], f"w{row}", *words[row % 40 + 1 :]]) for row in range(5000)
    ]

    assert pairs_of(decide_near(texts, NearConfig())) == [(row, 0) for row in range(1, 5000)]


def test_texts_of_a_megabyte_are_compared_like_all_others() -> None:
    rng = random.Random(0)
    words = [f"{rng.randrange(1 << 40):x}" for _ in range(90_000)]
    texts = [" ".join(words), " ".join([*words[:-50], "other"]), " ".join(words[::-2])]
    assert len(texts[0]) > 900_000

    assert pairs_of(decide_near(texts, NearConfig())) == [(1, 0)]


@pytest.mark.parametrize("edit", ["swap", "drop", "typo", "reorder", "case"])
def test_the_default_finds_edited_prompts_and_no_others(edit: str) -> None:
    rng = random.Random(edit)
    vocabulary = [a + b for a in WORDS[:24] for b in WORDS[24:48]]  # each in few prompts
    texts = [" ".join(rng.choices(vocabulary, k=rng.randint(35, 45))) for _ in range(1000)]

    def edited(text: str) -> str:
        words = text.split()
        at = rng.randrange(1, len(words) - 1)
        if edit == "swap":
            words[at] = rng.choice(vocabulary)
        elif edit == "drop":
            del words[at]
        elif edit == "typo":
            words[at] = words[at][1:]
        elif edit == "reorder":
            words = words[at:] + words[:at]
        else:
            return text.upper() + " ."
        return " ".join(words)

    found = decide_near(texts + [edited(text) for text in texts], PRESETS["styles"][1])

    assert pairs_of(found) == [(1000 + row, row) for row in range(1000)]


def test_nemo_takes_candidates_without_comparing_them() -> None:
    text = " ".join(WORDS[:40])
    other = text.replace(WORDS[20], "changed")
    exact, near = PRESETS["nemo"]

    found = decide([text, text.upper(), other, "else"], DedupConfig(exact=exact, near=near))

    assert {one.stage for one in found} == {"near"} and (1, 0) in pairs_of(found)


def test_texts_of_every_kind_in_blocks_of_any_size_leave_the_same() -> None:
    texts = [*ODD, "x" * 1_000_000, *(["Teal on ochre, in ink."] * 500), *prompts(200, seed=9)]
    config = DedupConfig(near=NearConfig(template=0.2), semantic=SemanticConfig(threshold=0.95))
    embed = StaticEmbedder().embed

    found = list(decide(texts, config, [embed]))

    assert {one.stage for one in found} >= {"exact", "semantic"}
    for block, workers in ((7, 3), (100_000, 2)):
        assert list(decide(texts, config, [embed], workers=workers, block=block)) == found


def test_the_seconds_of_the_stages_are_parts_of_the_time_taken() -> None:
    started = time.perf_counter()

    found = decide(prompts(50, seed=0), EVERY_STAGE, [StaticEmbedder().embed])

    assert min(found.seconds[stage] for stage in ("exact", "near", "semantic")) > 0
    assert sum(found.seconds.values()) < time.perf_counter() - started
