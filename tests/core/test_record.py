"""Records: ids, seeds, run keys and provenance."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import (
    Failure,
    Record,
    Run,
    annotate,
    annotate_all,
    as_context_only,
    batched,
    bytes_id,
    canonical_json,
    check_text,
    is_context_only,
    record_seed,
    rename_pictures,
    text_hash,
    text_id,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = st.text().filter(lambda key: key != "_megastyle")  # readers drop what is no object there
RECORDS = st.dictionaries(KEYS, JSON, max_size=5)


def test_ids_and_keys_are_those_of_earlier_versions() -> None:
    """Written down once: outputs of earlier versions must stay resumable."""
    run = Run("caption", {"kind": "style", "schema": "v2"}, "0.1")

    assert bytes_id(b"frog") == "74fa5327cc0f4e94"
    assert text_id({"style": "ink", "n": 1, "_megastyle": {}}) == "5077a3e14c59b024"
    assert record_seed(3, "a", 1) == 1885244391
    assert text_hash("a") == 0xCA978112CA1BBDCA
    assert run.key == "a62834b7"


@given(RECORDS)
def test_the_id_of_a_text_depends_on_content_alone(record: Record) -> None:
    shuffled = dict(reversed(record.items())) | {"_megastyle": {"caption": {}}, "_error": "x"}

    assert text_id(shuffled) == text_id({k: v for k, v in record.items() if k[:1] != "_"})


@given(JSON)
def test_canonical_json_is_json(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.integers(0, 2**31), st.text(), st.integers(0, 9))
def test_seeds_differ_by_seed_id_and_variation(seed: int, record_id: str, variation: int) -> None:
    found = record_seed(seed, record_id, variation)

    assert 0 <= found < 2**32 and found == record_seed(seed, record_id, variation)
    others = [(seed + 1, record_id), (seed, f"{record_id}x")]
    assert found not in [record_seed(*other, variation) for other in others]


@given(RECORDS)
def test_annotating_keeps_the_record_and_earlier_provenance(record: Record) -> None:
    once = annotate(record, "caption", run="1")
    twice = annotate(once, "eval", run="2")

    assert twice["_megastyle"] == {"caption": {"run": "1"}, "eval": {"run": "2"}}
    assert {k: v for k, v in twice.items() if k != "_megastyle"} == record


def test_failures_are_not_annotated() -> None:
    failure = Failure({"id": "a"}, "bad_image", "a is empty")

    found = list(annotate_all([{"id": "b"}, failure], "eval", run="1"))

    assert found == [{"id": "b", "_megastyle": {"eval": {"run": "1"}}}, failure]


def test_no_file_can_mark_a_record_as_context() -> None:
    marked = as_context_only({"id": "a"})

    assert is_context_only(marked) and not is_context_only({"id": "a"})
    assert not is_context_only({key: True for key in marked})


def test_every_picture_name_is_renamed_once() -> None:
    record = {
        "id": "a",
        "file_name": "1.png",
        "style_file_name": "2.png",
        "content_file_name": None,
        "style": "3.png",
        "neighbors": [{"id": "b", "file_name": "4.png"}, {"id": "c"}, "5.png"],
    }

    renamed = rename_pictures(record, lambda name: f"x/{name}")

    assert renamed == {
        **record,
        "file_name": "x/1.png",
        "style_file_name": "x/2.png",
        "neighbors": [{"id": "b", "file_name": "x/4.png"}, {"id": "c"}, "5.png"],
    }
    assert record["file_name"] == "1.png"


def test_another_run_is_refused_with_both_values_of_each_option() -> None:
    run = Run("synth", {"size": 256, "seed": 0, "steps": 4}, "2.0")
    before = {"run": "0", "version": "2.0", "options": {"size": 512, "seed": 0, "model": "a"}}

    with pytest.raises(MegastyleError) as refusal:
        run.check_same_as(before, "out.jsonl")

    assert str(refusal.value) == (
        "out.jsonl was made with other options:"
        " model was 'a' and is None; size was 512 and is 256; steps was None and is 4"
    )


def test_the_sentence_names_the_version_that_made_the_output() -> None:
    run = Run("synth", {"size": 256}, "2.0")
    before = {"run": "0", "version": "1.9", "options": {"size": 512}}

    with pytest.raises(MegastyleError, match="made by megastyle 1.9 with other options: size was"):
        run.check_same_as(before, "out.jsonl")
    run.check_same_as({"run": run.key, "version": "1.9", "options": {}}, "out.jsonl")


def test_a_text_among_the_fields_of_datatrove_is_found() -> None:
    record = {"id": "a", "text": "", "metadata": {"style": "ink"}}

    with pytest.raises(BadRecord, match="no text under 'style', but under 'metadata': flatten"):
        check_text(record, "style")
    with pytest.raises(BadRecord, match="no text under 'content'$"):
        check_text(record, "content")


@pytest.mark.parametrize("text", ["", "  ", "\u200b"])
def test_a_blank_text_is_missing(text: str) -> None:
    with pytest.raises(BadRecord, match="record a has a blank text under 'style'$") as missing:
        check_text({"id": "a", "style": text}, "style")

    assert missing.value.kind == "missing_key"


def test_batches_hold_all_values_in_order() -> None:
    assert list(batched(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batched([], 3)) == []
