"""Duplicates: kept keepers, true scores, the first kept, whatever the text."""

import random
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from megastyle_cli.compute.local import LocalEngine
from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup import deduplicate as dedup
from megastyle_cli.dedup import ivf_search as cells
from megastyle_cli.dedup import pairwise as neighbors
from megastyle_cli.dedup import semantic
from megastyle_cli.dedup.common_ngrams import mark_common
from megastyle_cli.dedup.config import PRESETS, DedupConfig, NearConfig, SemanticConfig
from megastyle_cli.dedup.deduplicate import Decisions, Duplicate, collect_signatures
from megastyle_cli.dedup.exact import normalize, normalize_block
from megastyle_cli.dedup.ivf_search import SearchRecall
from megastyle_cli.dedup.ngrams import ngram_sets
from megastyle_cli.dedup.report import count_stages
from megastyle_cli.dedup.semantic import SearchStats, TextSource
from megastyle_cli.dedup.signatures import SignatureStore, compute_signatures
from megastyle_cli.io.spool import Spool
from megastyle_cli.models.builtin.text_embedder import StaticEmbedder
from megastyle_cli.runner.progress import Stage

WORDS = [a + b for a in "bcdfghklmn" for b in ("alo", "eru", "ita", "omi", "unda", "ysto")]
ODD = [
    "",
    " \t\n",
    "\0",
    "\ud800",
    "\udfff\ud800 twice",
    "one",
    "!!!",
    "...",
    "\U0001f600",
    "\U0001f601",
    "\U0001f600 \U0001f3a8",
    "\u05e9\u05de\u05df \u05e2\u05dc \u05d1\u05d3",
    "\u202eabc\u202c def",
    "\u5f69\u58a8\u753b\u98ce\u683c",
    "a\u0301 e\u0301",
    "\ufb01ne \u00c5 stra\u00dfe",
    "x" * 5000,
    "word " * 3000,
]


def find_duplicates(
    texts: list[str], workers: int = 1, *, embed=None, ids=None, block=4096, **options
) -> list[Duplicate]:
    embedders = [embed] if embed else []
    return list(decide(texts, DedupConfig(**options), embedders, workers, ids, block))


def decide(texts, config, embedders=(), workers=1, ids=None, block=4096) -> Decisions:
    """The decisions on texts as a run makes them: read in blocks, then again from a spool."""
    blocks = (texts[start : start + block] for start in range(0, len(texts), block))
    engine = LocalEngine(workers)
    progress = Stage("dedup", quiet=True, to_stdout=False)
    store = collect_signatures(map(StringArray.from_strings, blocks), config, engine)
    with Spool() as spool:
        for row, text in enumerate(texts):
            spool.add({"id": ids[row] if ids else f"{row:012}", "text": text})
        source = TextSource(spool, "text")
        return dedup.find_duplicates(store, config, source, embedders, engine, progress)


def pairs_of(found: list[Duplicate]) -> list[tuple[int, int]]:
    return [(one.row, one.duplicate_of) for one in found]


def prompts(count: int, seed: int) -> list[str]:
    """Prompts of 5 to 30 words, a third with one to three words changed, dropped or moved."""
    rng = random.Random(seed)
    made: list[str] = []
    for _ in range(count):
        words = rng.choices(WORDS, k=rng.randint(5, 30))
        if made and rng.random() < 0.4:
            words = rng.choice(made).split()
            for _ in range(rng.randint(0, 3)):
                place = rng.randrange(len(words))
                words[place : place + rng.randint(0, 1)] = [rng.choice(WORDS)]
        made.append(" ".join(words))
    return made


def grams(text: str, ngram: int) -> set[tuple[str, ...]]:
    words = normalize(text).split()
    return {tuple(words[i : i + ngram]) for i in range(max(1, len(words) - ngram + 1))}


def jaccard(first: str, second: str, ngram: int) -> float:
    a, b = grams(first, ngram), grams(second, ngram)
    return len(a & b) / len(a | b)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def first_kept(count, similarity, threshold) -> list[tuple[int, int]]:
    """The rule itself, over all pairs: (row, the first kept row that is close enough)."""
    kept: list[int] = []
    found = []
    for row in range(count):
        keeper = next((at for at in kept if similarity(row, at) >= threshold), None)
        if keeper is None:
            kept.append(row)
        else:
            found.append((row, keeper))
    return found


@pytest.mark.parametrize("ngram", [1, 2, 3])
def test_near_duplicates_equal_the_rule_applied_to_all_pairs(ngram):
    texts = prompts(400, seed=ngram)
    near = NearConfig(threshold=0.75, ngram=ngram, bands=200, band_rows=3)

    found = find_duplicates(texts, exact=None, near=near)

    expected = first_kept(
        len(texts), lambda a, b: jaccard(texts[a], texts[b], ngram), near.threshold
    )
    assert len(expected) > 40
    assert pairs_of(found) == expected
    assert [one.score for one in found] == pytest.approx(
        [jaccard(texts[row], texts[of], ngram) for row, of in expected]
    )


def test_semantic_duplicates_equal_the_rule_applied_to_all_pairs():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(300, 24))
    vectors = unit(centers[rng.integers(0, 300, 2500)] + rng.normal(0, 0.15, (2500, 24)))
    texts = [f"text {row}" for row in range(len(vectors))]
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)

    found = find_duplicates(
        texts,
        semantic=SemanticConfig(threshold=0.95),
        embed=lambda some: vectors[[int(text.split()[1]) for text in some]],
    )

    expected = first_kept(len(texts), lambda a, b: cosines[a, b], 0.95)
    assert len(expected) > 500
    assert pairs_of(found) == expected
    assert [one.score for one in found] == pytest.approx(
        [cosines[pair] for pair in expected], abs=1e-6
    )


def test_every_keeper_is_kept_earlier_and_close_enough_when_all_three_are_on():
    texts = prompts(1500, seed=5)
    texts += [text.upper() for text in texts[::3]]
    near, semantic = NearConfig(), SemanticConfig(threshold=0.9)
    embed = StaticEmbedder().embed

    found = find_duplicates(texts, near=near, semantic=semantic, embed=embed)

    gone = {one.row for one in found}
    vectors = embed(texts[:1500] + texts[:1500:3])  # a copy meets the end of its first
    assert {one.stage for one in found} == {"exact", "near", "semantic"}
    for one in found:
        assert one.duplicate_of not in gone
        assert one.duplicate_of < one.row
        true_score = {
            "exact": float(normalize(texts[one.row]) == normalize(texts[one.duplicate_of])),
            "near": jaccard(texts[one.row], texts[one.duplicate_of], near.ngram),
            "semantic": float(vectors[one.row] @ vectors[one.duplicate_of]),
        }[one.stage]
        assert one.score == pytest.approx(true_score, abs=1e-6)
        least = {"exact": 1.0, "near": near.threshold, "semantic": semantic.threshold}[one.stage]
        assert one.score >= least


def test_where_blocks_end_changes_nothing(monkeypatch):
    texts = prompts(700, seed=6)
    options = {"near": NearConfig(), "semantic": SemanticConfig(threshold=0.9)}
    whole = find_duplicates(texts, embed=StaticEmbedder().embed, **options)

    monkeypatch.setattr(neighbors, "BLOCK", 5)
    monkeypatch.setattr(neighbors, "_BANK", 11)

    assert find_duplicates(texts, 3, block=7, embed=StaticEmbedder().embed, **options) == whole
    assert {one.stage for one in whole} == {"exact", "near", "semantic"}


def test_distinct_texts_are_not_chained_away():
    words = WORDS[:30]
    # each differs from the last by two words, the last from the first by all
    chain = [" ".join(WORDS[30 : 30 + step] + words[step:]) for step in range(0, 31, 2)]

    found = find_duplicates(chain, near=NearConfig())

    kept = [row for row in range(len(chain)) if row not in {one.row for one in found}]
    assert len(kept) > 3
    for a, b in combinations(kept, 2):
        assert jaccard(chain[a], chain[b], 2) < NearConfig().threshold


def test_exact_looks_past_case_width_and_white_space():
    texts = ["Teal  on Ochre", "teal on ochre ", "\uff34eal on\u00a0ochre", "teal on ochre.", ""]

    found = find_duplicates([*texts, " "])

    assert [(one.row, one.duplicate_of, one.stage) for one in found] == [
        (1, 0, "exact"),
        (2, 0, "exact"),
        (5, 4, "exact"),
    ]


def test_a_copy_of_a_near_duplicate_names_the_kept_text():
    text = " ".join(WORDS[:30])
    edited = text.replace(WORDS[15], "other")

    found = find_duplicates([text, edited, edited], near=NearConfig())

    assert [(one.row, one.duplicate_of, one.stage) for one in found] == [
        (1, 0, "near"),
        (2, 0, "near"),
    ]


def test_same_texts_in_another_order_leave_as_many_groups_where_groups_are_far_apart():
    rng = random.Random(3)
    families = [rng.choices(WORDS, k=30) for _ in range(50)]
    texts = [" ".join(words) for words in families]
    texts += [" ".join([*words[:29], "changed"]) for words in families]

    left = []
    for seed in range(3):
        random.Random(seed).shuffle(texts)
        left.append(len(texts) - len(find_duplicates(texts, near=NearConfig())))

    assert left == [50, 50, 50]


def test_whatever_the_text_nothing_crashes_and_only_equals_are_joined():
    embed = StaticEmbedder().embed
    options = {"near": NearConfig(), "semantic": SemanticConfig(), "embed": embed}

    found = find_duplicates(ODD + ODD, **options)

    first = {(one.row, one.duplicate_of) for one in found if one.row < len(ODD)}
    assert (1, 0) in first  # both are empty once trimmed
    assert (9, 8) not in first  # two faces are two words
    assert {one.row for one in found} >= set(range(len(ODD), 2 * len(ODD)))


@pytest.mark.parametrize("seed", range(5))
def test_random_characters_never_crash(seed):
    rng = random.Random(seed)
    ranges = [(0, 0x20), (0x20, 0x7F), (0x5D0, 0x5EA), (0x4E00, 0x4E20), (0xD800, 0xDFFF)]
    ranges += [(0x1F600, 0x1F640), (0x300, 0x36F), (0x2000, 0x206F)]
    texts = [
        "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(0, 12)))
        for _ in range(300)
    ]

    found = find_duplicates(
        texts, near=NearConfig(ngram=3), semantic=SemanticConfig(), embed=StaticEmbedder().embed
    )

    assert all(one.duplicate_of < one.row for one in found)


def test_no_texts_have_no_duplicates():
    options = {"near": NearConfig(), "semantic": SemanticConfig()}

    assert find_duplicates([], embed=StaticEmbedder().embed, **options) == []


def test_every_text_has_a_gram_and_its_hashes_do_not_depend_on_the_others():
    hashes, starts = ngram_sets(normalize_block(StringArray.from_strings(ODD)), 3)
    alone = [ngram_sets(normalize_block(StringArray.from_strings([text])), 3)[0] for text in ODD]

    assert (np.diff(starts) > 0).all()
    for row, own in enumerate(alone):
        assert np.array_equal(hashes[starts[row] : starts[row + 1]], own)


def test_a_sentence_that_differs_in_one_attribute_does_not_mean_the_same():
    sentence = (
        "In the style of {}, {} with {} accents, {} lighting, {} surface, {} edges, {}, in {}."
    )
    seen = ["flat poster", "teal", "orange", "upper left", "smooth", "soft", "broad impasto", "ink"]
    other = ["pixel art", "red", "cream", "dim right", "rough", "sharp", "fine wash", "oil paint"]
    texts = [sentence.format(*seen)]
    texts += [sentence.format(*seen[:i], other[i], *seen[i + 1 :]) for i in range(len(seen))]

    found = find_duplicates(texts, semantic=SemanticConfig(), embed=StaticEmbedder().embed)

    assert found == []


def test_stages_see_what_the_one_before_left_and_show_their_least_alike_pair():
    decisions = Decisions(
        stage=np.array([0, 1, 0, 2, 2, 0, 0, 0, 0, 0]),
        duplicate_of=np.array([0, 0, 2, 0, 2, 5, 6, 7, 8, 9]),
        score=np.array([1, 1, 1, 0.9, 0.8, 1, 1, 1, 1, 1]),
        is_copy=np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0], bool),  # the fifth is one of the fourth
    )
    found = list(decisions)

    exact, near, semantic = count_stages(
        decisions, DedupConfig(near=NearConfig(), semantic=SemanticConfig())
    )

    assert (exact.seen, exact.removed, exact.example) == (10, 2, found[0])
    assert (near.seen, near.removed, near.example) == (8, 1, found[2])
    assert (semantic.seen, semantic.removed, semantic.example) == (7, 0, None)


@pytest.mark.parametrize("seed", range(3))
def test_longest_is_the_rule_in_the_order_of_length_whatever_the_order_of_records(seed):
    texts = prompts(300, seed)
    texts += [text.upper() + "  " for text in texts[::7]]
    ids = [f"id{row:03}" for row in range(len(texts))]
    options = {"near": NearConfig(threshold=0.75, bands=200, band_rows=3), "keep": "longest"}
    order = sorted(range(len(texts)), key=lambda row: (-len(texts[row]), ids[row]))
    expected = first_kept(
        len(texts), lambda a, b: jaccard(texts[order[a]], texts[order[b]], 1), 0.75
    )
    kept = {ids[row] for row in order} - {ids[order[place]] for place, _ in expected}

    for shuffle in range(2):
        rows = random.Random(shuffle).sample(range(len(texts)), len(texts))
        found = find_duplicates(
            [texts[row] for row in rows], ids=[ids[row] for row in rows], **options
        )
        assert {ids[row] for row in rows} - {ids[rows[one.row]] for one in found} == kept


def test_hard_keeps_the_one_farther_from_the_centroid_and_easy_the_nearer():
    far, near, many = [0.6, 0.8], [0.5, 0.866025], [[0.0, 1.0]] * 5
    vectors = unit(np.array([near, far, *many]))
    texts = [f"text {row}" for row in range(len(vectors))]
    embed = lambda some: vectors[[int(text.split()[1]) for text in some]]  # noqa: E731
    semantic = SemanticConfig(threshold=0.99)

    hard = find_duplicates(texts, semantic=semantic, keep="hard", embed=embed)
    easy = find_duplicates(texts, semantic=semantic, keep="easy", embed=embed)

    assert (0, 1) in pairs_of(hard)
    assert (1, 0) in pairs_of(easy)


def test_raw_texts_are_the_same_to_the_byte_only():
    texts = ["Teal", "teal", "Teal", "te\u0301al", "t\u00e9al", "\ud800", "\ud800"]

    found = find_duplicates(texts, exact="raw")

    assert pairs_of(found) == [(2, 0), (6, 5)]


def test_a_text_with_more_neighbours_than_it_names_still_goes_for_the_first_kept(monkeypatch):
    monkeypatch.setattr(neighbors, "MAX_NEIGHBORS", 2)
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(12, 8))
    vectors = unit(centers[rng.integers(0, 12, 600)] + rng.normal(0, 0.25, (600, 8)))
    texts = [f"text {row}" for row in range(len(vectors))]
    cosines = np.round(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 6)

    found = find_duplicates(
        texts,
        semantic=SemanticConfig(threshold=0.9),
        embed=lambda some: vectors[[int(text.split()[1]) for text in some]],
    )

    gone = {one.row: one.duplicate_of for one in found}
    kept = [row for row in range(len(texts)) if row not in gone]
    assert all(cosines[a, b] < 0.9 for a, b in combinations(kept, 2))
    assert all(of not in gone and cosines[row, of] >= 0.9 for row, of in gone.items())
    assert kept == [
        row
        for row in range(len(texts))
        if row not in dict(first_kept(len(texts), lambda a, b: cosines[a, b], 0.9))
    ]


def test_a_vector_of_nan_is_like_nothing():
    vectors = np.array([[1, 0], [np.nan, np.nan], [1, 0], [np.nan, 0]], np.float32)
    embed = lambda some: vectors[[int(text.split()[1]) for text in some]]  # noqa: E731
    texts = [f"text {row}" for row in range(4)]

    for keep in ("first", "hard"):
        found = find_duplicates(texts, semantic=SemanticConfig(), keep=keep, embed=embed)

        assert [{one.row, one.duplicate_of} for one in found] == [{0, 2}]


def test_verified_pairs_are_close_to_both_embedders():
    first = unit(np.array([[1, 0], [1, 0.1], [1, -0.1], [0, 1]]))
    second = unit(np.array([[1, 0], [1, 0.01], [0, 1], [1, 0]]))
    of = lambda rows: lambda some: rows[[int(text.split()[1]) for text in some]]  # noqa: E731
    config = SemanticConfig(threshold=0.99, is_verified=True, candidates=0.9)

    found = decide(
        [f"text {row}" for row in range(4)],
        DedupConfig(semantic=config),
        [of(first), of(second)],
    )

    assert pairs_of(found) == [(1, 0)]


def test_a_verified_search_does_not_claim_to_have_compared_all():
    stats = SearchStats(searches=[SearchRecall()], candidates=0.85)

    first, second = stats.remarks()

    assert stats.as_dict() == {"search": "exact", "candidates_from": 0.85}
    assert "cosine of 0.85 or more were judged" in first and "those pairs: exact" in second
    assert SearchStats(searches=[SearchRecall()]).remarks() == [
        "semantic: exact, every text compared with all before it"
    ]


def test_what_is_kept_of_a_block_holds_no_more_of_it():
    near = NearConfig()
    store = SignatureStore(near)
    block = compute_signatures(StringArray.from_strings(["one two three", "four five"]), near)
    bands = np.frombuffer(block.bands.tobytes(), np.uint32).reshape(block.bands.shape)

    store.add_signatures(replace(block, bands=bands))  # as Ray gives it: a view of its store

    assert all(kept.flags.owndata for kept in store.bands)


def test_one_prompt_twenty_thousand_times_leaves_one():
    found = find_duplicates(["Teal on ochre, in ink."] * 20_000, near=NearConfig())

    assert len(found) == 19_999 and {one.duplicate_of for one in found} == {0}


def test_variants_of_one_prompt_leave_one_without_comparing_all_pairs():
    words = WORDS[:40]
    texts = [
        " ".join([*words[: row % 40], f"w{row}", *words[row % 40 + 1 :]]) for row in range(5000)
    ]

    found = find_duplicates(texts, near=NearConfig())

    assert len(found) == 4999 and {one.duplicate_of for one in found} == {0}


def test_texts_of_a_megabyte_are_compared_like_all_others():
    rng = random.Random(0)
    words = [f"{rng.randrange(1 << 40):x}" for _ in range(90_000)]
    texts = [" ".join(words), " ".join([*words[:-50], "other"]), " ".join(words[::-2])]
    assert len(texts[0]) > 900_000

    found = find_duplicates(texts, near=NearConfig())

    assert pairs_of(found) == [(1, 0)]


@pytest.mark.parametrize("edit", ["swap", "drop", "typo", "reorder", "case"])
def test_the_default_finds_edited_prompts_and_no_others(edit):
    rng = random.Random(edit)
    words_of_prompts = [a + b for a in WORDS[:24] for b in WORDS[24:48]]  # each in few prompts
    texts = [" ".join(rng.choices(words_of_prompts, k=rng.randint(35, 45))) for _ in range(1000)]

    def edited(text: str) -> str:
        words = text.split()
        at = rng.randrange(1, len(words) - 1)
        if edit == "swap":
            words[at] = rng.choice(words_of_prompts)
        elif edit == "drop":
            del words[at]
        elif edit == "typo":
            words[at] = words[at][1:]
        elif edit == "reorder":
            words = words[at:] + words[:at]
        else:
            return text.upper() + " ."
        return " ".join(words)

    found = find_duplicates(texts + [edited(text) for text in texts], near=PRESETS["styles"][1])

    assert pairs_of(found) == [(1000 + row, row) for row in range(1000)]


def captions() -> list[str]:
    """Sentences of one template in all combinations of their attributes."""
    edges = ["sharp edges", "soft edges"]
    lights = ["flat unshaded", "bright scattered", "very dark patchy", "mid-toned top-down"]
    colors = ["white and slate", "teal and rust", "plum and sand", "white and royal blue"]
    return [
        f"In the style of muted shaded graphic, {color} with {accent} accents, {light} lighting,"
        f" partly textured surface, {edge}, in gradient shaded graphic."
        for color in colors
        for accent in ["silver", "gold", "lime", "denim"]
        for light in lights
        for edge in edges
    ]


def test_the_default_keeps_captions_of_one_template_that_differ_in_an_attribute():
    near = PRESETS["styles"][1]

    assert find_duplicates(captions(), near=near) == []
    assert len(find_duplicates(captions(), near=NearConfig())) > 100  # plain words would not
    moved = [caption.replace(", ", " , ", 1).upper() for caption in captions()]
    assert len(find_duplicates(captions() + moved, near=near)) == len(moved)


@pytest.mark.parametrize("count", [2, 3, 50])
def test_variants_of_one_long_prompt_go_by_default_though_all_share_its_words(count):
    words = [f"{a}{b}" for a in WORDS[:20] for b in ("x", "y")]
    texts = [" ".join([*words[:at], "other", *words[at + 1 :]]) for at in range(1, count)]

    found = find_duplicates([" ".join(words), *texts], near=PRESETS["styles"][1])

    assert pairs_of(found) == [(row, 0) for row in range(1, count)]


def test_which_words_are_template_does_not_depend_on_the_order_of_texts():
    texts = captions() + prompts(300, seed=4)
    shuffled = random.Random(0).sample(texts, len(texts))
    grams_of = {}
    for some in (texts, shuffled):
        grams, starts = ngram_sets(normalize_block(StringArray.from_strings(some)), 1)
        mark_common(grams, len(some), 0.2)
        sets = [grams[starts[row] : starts[row + 1]].tolist() for row in range(len(some))]
        assert all(one == sorted(set(one)) for one in sets)
        grams_of[some is texts] = dict(zip(some, sets, strict=True))

    assert grams_of[True] == grams_of[False]
    marked = {gram for one in grams_of[True].values() for gram in one if gram & 1}
    assert 5 < len(marked) < 40


def test_nemo_takes_candidates_without_comparing_them():
    text = " ".join(WORDS[:40])
    other = text.replace(WORDS[20], "changed")

    options = PRESETS["nemo"]
    found = find_duplicates([text, text.upper(), other, "else"], exact=options[0], near=options[1])

    assert {one.stage for one in found} == {"near"} and (1, 0) in {
        (f.row, f.duplicate_of) for f in found
    }


def test_texts_of_every_kind_in_any_shards_of_any_size_leave_the_same(monkeypatch):
    texts = [*ODD, "x" * 1_000_000, *(["Teal on ochre, in ink."] * 500), *prompts(200, seed=9)]
    options = {"semantic": SemanticConfig(threshold=0.95), "embed": StaticEmbedder().embed}
    found = find_duplicates(texts, near=NearConfig(template=0.2), **options)

    for block, workers in ((7, 3), (100_000, 2)):
        monkeypatch.setattr(semantic, "_BLOCK", block)
        again = find_duplicates(
            texts, workers, block=block, near=NearConfig(template=0.2), **options
        )
        assert again == found

    assert {one.stage for one in found} >= {"exact", "semantic"}


def test_one_meaning_thousands_of_times_leaves_one_and_holds_few_pairs(monkeypatch):
    monkeypatch.setattr(neighbors, "MAX_NEIGHBORS", 8)
    monkeypatch.setattr(cells, "MAX_NEIGHBORS", 8)
    row = unit(np.ones((1, 8)))
    for exact in (5_000_000_000, 0):  # all pairs, then cells
        monkeypatch.setattr(cells, "MAX_EXACT", exact)
        found = find_duplicates(
            ["same"] * 4000,
            exact=None,
            semantic=SemanticConfig(),
            embed=lambda some: np.repeat(row, len(some), axis=0),
        )
        assert pairs_of(found) == [(at, 0) for at in range(1, 4000)]


def test_an_embedder_that_gives_nan_is_said_and_loses_nothing():
    embed = lambda some: np.full((len(some), 4), np.nan, np.float32)  # noqa: E731
    config = DedupConfig(exact=None, semantic=SemanticConfig())

    decisions = decide(["a", "b", "c"], config, [embed])

    assert list(decisions) == []
    assert "3 texts got a vector that is no number (NaN)" in decisions.search.remarks()[0]
