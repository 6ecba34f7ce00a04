"""Captions by a model that answers: asked again with the reason, kept in order, or failed."""

import json
import threading

import pytest

from megastyle_cli.caption.caption import caption
from megastyle_cli.caption.concurrency import limit_concurrency, run_concurrently
from megastyle_cli.caption.prompted_captioner import PromptedCaptioner
from megastyle_cli.caption.retry import RetryingClient
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure
from tests.chat_server import ATTRIBUTES, CONTENT, SENTENCE
from tests.conftest import draw


class Told:
    """Answers what `behave` makes of a question, and remembers what it was asked."""

    name, num_threads, batch_size = "told", 2, 3

    def __init__(self, behave):
        self.behave, self.asked = behave, []

    def generate(self, questions):
        self.asked += questions
        return [self.behave(question) for question in questions]


def well(question):
    if "content phrase" in question.question:
        return CONTENT
    if "style sentence" in question.question:
        return SENTENCE
    if "Write the value" in question.question:
        return ATTRIBUTES[question.question[len("Give ") :].partition(":")[0]]
    return json.dumps(ATTRIBUTES)


def captioned(model, records, kind="both", schema="v2", attempts=3, per_attribute=False):
    client = RetryingClient(model, attempts)
    captioner = PromptedCaptioner(client, schema, per_attribute=per_attribute)
    read = lambda names: [draw(int(name)) for name in names]  # noqa: E731
    settings = {"read": read, "kind": kind, "schema": schema, "run": "ab"}
    return list(caption(records, captioner=captioner, **settings)), client


RECORDS = [{"id": str(n), "file_name": str(n), "kept": n} for n in range(5)]


def test_v2_gives_the_sentence_the_template_makes_and_the_attributes_beside_it():
    (told, *_), _ = captioned(Told(well), RECORDS)

    seen = {name: value for name, value in ATTRIBUTES.items() if value != "N/A"}
    assert {f"style_{name}": value for name, value in seen.items()}.items() <= told.items()
    assert told["style"].endswith("in layered paper.")
    assert told["content"] == CONTENT and told["kept"] == 0
    assert told["_megastyle"]["caption"] == {
        "model": "told",
        "run": "ab",
        "instructions": "1",
        "attempts": 1,
    }


def test_one_request_per_attribute_gives_the_same_record_as_one_for_all():
    together, _ = captioned(Told(well), RECORDS)
    alone, _ = captioned(Told(well), RECORDS, per_attribute=True)

    assert alone == together


def test_v1_gives_the_sentence_as_answered_and_no_attributes():
    before = [{**record, "style_light": "of an earlier captioner"} for record in RECORDS]

    (told, *_), _ = captioned(Told(well), before, schema="v1", kind="style")

    assert told["style"] == SENTENCE
    assert "style_light" not in told and "content" not in told


def test_a_content_that_the_record_brings_is_not_asked_for():
    model = Told(well)

    (told,), _ = captioned(model, [{**RECORDS[0], "content": "mine"}])

    assert told["content"] == "mine" and len(model.asked) == 1


def test_a_refused_answer_is_asked_again_with_the_reason():
    def vague_at_first(question):
        if "content phrase" in question.question or "not used" in question.question:
            return well(question)
        return json.dumps({**ATTRIBUTES, "light": "diffused"})

    model = Told(vague_at_first)
    (told,), client = captioned(model, RECORDS[:1])

    assert 'light: "diffused" would fit half' in model.asked[-1].question
    assert told["_megastyle"]["caption"]["attempts"] == 2
    assert client.invalid_answers == {"vague": 1}


def test_only_refused_answers_are_asked_again():
    def garbage_for_one(question):
        again = "not used" in question.question
        return well(question) if question.image != draw(2) or again else "!!!!!!!!!!!!"

    model = Told(garbage_for_one)
    told, client = captioned(model, RECORDS, kind="content")

    assert len(model.asked) == len(RECORDS) + 1
    assert [record["_megastyle"]["caption"]["attempts"] for record in told] == [1, 1, 2, 1, 1]
    assert client.invalid_answers == {"garbage": 1}


def test_after_the_last_attempt_the_record_fails_and_says_why():
    def garbage_for_one(question):
        return "!!!!!!!!!!!!" if question.image == draw(2) else well(question)

    model = Told(garbage_for_one)
    results, _ = captioned(model, RECORDS, attempts=2)

    assert isinstance(results[2], Failure) and results[2].record == RECORDS[2]
    assert results[2].kind == "bad_answer"
    assert results[2].message == (
        "2: no usable answer in 2 attempts; the last: it is not made of words"
    )
    assert [r["id"] for r in results if not isinstance(r, Failure)] == ["0", "1", "3", "4"]
    # its style is not asked for: the record is lost already
    assert len(model.asked) == 5 + 1 + 4


def test_a_style_that_names_the_picture_s_own_content_is_asked_again():
    def named(question):
        if "content phrase" in question.question:
            return "Lighthouse stands near a rocky shore"
        return (
            SENTENCE if "not used" in question.question else SENTENCE.replace("wide", "lighthouse")
        )

    (told,), client = captioned(Told(named), RECORDS[:1], schema="v1")

    assert told["style"] == SENTENCE and client.invalid_answers == {"content_in_style": 1}


def test_a_question_that_got_no_answer_is_not_asked_again():
    model = Told(lambda question: BadRecord("model_error", "no answer"))

    results, _ = captioned(model, RECORDS[:1])

    assert results[0].kind == "model_error" and len(model.asked) == 1


@pytest.mark.parametrize("lanes, at_once", [(1, 1), (1, 9), (3, 2), (8, 1)])
def test_lanes_change_nothing_but_the_speed(lanes, at_once):
    alone, _ = captioned(Told(well), RECORDS)

    def step(records):
        return iter(captioned(Told(well), records)[0])

    assert list(run_concurrently(step, RECORDS, workers=lanes, chunk_size=at_once)) == alone


def test_lanes_work_side_by_side():
    meeting = threading.Barrier(4, timeout=10)

    def step(records):
        meeting.wait()  # breaks unless four are here at once
        yield from records

    assert list(run_concurrently(step, RECORDS[:4], workers=4, chunk_size=1)) == RECORDS[:4]


def test_what_a_lane_raises_rises():
    def step(records):
        raise KeyError(records[0]["id"])
        yield

    with pytest.raises(KeyError, match="0"):
        list(run_concurrently(step, RECORDS, workers=2, chunk_size=1))


def test_no_more_threads_are_inside_than_may_be():
    inside, most, lock = [0], [0], threading.Lock()
    all_came = threading.Event()

    def work(items):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            if inside[0] == 2:
                all_came.set()
        all_came.wait(10)
        with lock:
            inside[0] -= 1
        return items

    limited = limit_concurrency(work, 2)
    threads = [threading.Thread(target=limited, args=([n],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [2]
