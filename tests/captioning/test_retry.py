"""Retries: which prompts are asked again, with what reason, and when a record is given up."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from megastyle_cli.captioning.prompts import CONTENT as CONTENT_PROMPT
from megastyle_cli.captioning.retry import Request, RetryingClient
from megastyle_cli.captioning.validate import parse_content
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.protocols import UnusableAnswer
from tests.captioning.fakes import FakeModel, answer_well, is_retry
from tests.chat_server import CONTENT
from tests.conftest import draw

GARBAGE = "!!!!!!!!!!!!"


def requests(count):
    return [
        Request(prompt=CONTENT_PROMPT.about(draw(seed)), parse=parse_content)
        for seed in range(count)
    ]


def test_only_invalid_answers_are_asked_again_and_counted():
    def garbage_for_one(prompt):
        return GARBAGE if prompt.image == draw(2) and not is_retry(prompt) else answer_well(prompt)

    model = FakeModel(garbage_for_one)
    client = RetryingClient(model, attempts=3)
    answers = client.ask(requests(5))

    assert [answer.value for answer in answers] == [CONTENT] * 5
    assert [answer.attempts for answer in answers] == [1, 1, 2, 1, 1]
    assert len(model.prompts) == 6
    assert client.invalid_answers == {"garbage": 1}


def test_a_retry_states_what_was_wrong_and_repeats_the_question():
    model = FakeModel(lambda prompt: answer_well(prompt) if is_retry(prompt) else "Cat sleeps")
    RetryingClient(model, attempts=2).ask(requests(1))

    first, second = model.prompts
    assert second.question.startswith(first.question)
    assert "it has 2 words, not 5 to 10" in second.question
    assert second.instruction == first.instruction


@pytest.mark.parametrize(("attempts", "times"), [(1, "1 attempt"), (3, "3 attempts")])
def test_after_the_last_attempt_the_reason_is_the_last_error(attempts, times):
    model = FakeModel(lambda prompt: GARBAGE)
    (answer,) = RetryingClient(model, attempts).ask(requests(1))

    assert isinstance(answer.value, BadRecord) and answer.value.kind == "bad_answer"
    message = f"no valid answer in {times}; the last: it is not made of words"
    assert answer.value.message == message
    assert len(model.prompts) == answer.attempts == attempts


def test_a_prompt_that_got_no_answer_is_not_asked_again():
    model = FakeModel(lambda prompt: BadRecord("model_error", "no answer"))
    (answer,) = RetryingClient(model, attempts=3).ask(requests(1))

    assert answer.value.kind == "model_error" and len(model.prompts) == 1


def test_a_truncated_answer_is_asked_again_with_more_tokens_and_never_used():
    cut = UnusableAnswer("truncated", "it was cut off")
    model = FakeModel(lambda prompt: cut)
    client = RetryingClient(model, attempts=4)
    (answer,) = client.ask(requests(1))

    first = CONTENT_PROMPT.max_tokens
    assert [prompt.max_tokens for prompt in model.prompts] == [n * first for n in (1, 4, 16, 16)]
    assert answer.value.kind == "bad_answer" and "it was cut off" in answer.value.message
    assert client.invalid_answers == {"truncated": 4}


def test_the_remark_counts_the_commonest_error_first():
    given = iter([GARBAGE, "Cat sleeps", "Dog sleeps", CONTENT])
    client = RetryingClient(FakeModel(lambda prompt: next(given)), attempts=9)
    assert client.remarks() == []

    client.ask(requests(1))

    assert client.remarks() == ["invalid answers: 2 word_limit, 1 garbage"]


def test_counts_of_many_threads_add_up():
    client = RetryingClient(FakeModel(lambda prompt: GARBAGE), attempts=5)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client.ask, [requests(1)] * 40))

    assert client.invalid_answers == {"garbage": 200}
