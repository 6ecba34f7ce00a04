"""The chat client over real HTTP: what it sends, and how it handles faults."""

import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest

from megastyle_cli.core.errors import UNEXPECTED, BadRecord, MegastyleError
from megastyle_cli.models.protocols import UnusableAnswer, VisionPrompt
from megastyle_cli.models.registry import load
from megastyle_cli.models.vlm.http_client import MAX_RESPONSE_BYTES
from megastyle_cli.models.vlm.openai_server import KEY_VARIABLE, LONGEST_WAIT_S, wait_s
from tests.chat_server import CONTENT, MODEL, RawResponse, completion, serving
from tests.conftest import draw


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def prompt(seed=0, width=64):
    return VisionPrompt(
        image=draw(seed, width), instruction="Be brief.", question="content phrase", max_tokens=9
    )


def client(server, **options):
    return load("captioner", "openai", base_url=server.url, **{"timeout_s": 10, **options})


def ask_one(server, **options):
    vlm = client(server, **options)
    try:
        (answer,) = vlm.generate([prompt()])
        return answer
    finally:
        vlm.close()


def test_a_request_is_a_greedy_chat_completion_with_the_image_between_the_texts():
    with serving() as server:
        assert ask_one(server) == CONTENT

    (request,) = server.requests
    parts = request.body["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text"]
    assert request.body["model"] == MODEL
    assert request.body["temperature"] == 0 and request.body["max_tokens"] == 9
    assert request.image.size == (64, 48) and request.image.format == "JPEG"
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("owned_by", "options"),
    [
        ("vllm", {"enable_thinking": False}),
        ("sglang", {"enable_thinking": False}),
        ("system", None),  # hosted servers reject unknown fields
        (None, None),
    ],
)
def test_reasoning_is_switched_off_where_the_server_has_the_option(owned_by, options):
    with serving(owned_by=owned_by) as server:
        assert ask_one(server) == CONTENT

    assert server.requests[0].body.get("chat_template_kwargs") == options


def test_the_key_comes_from_the_environment_without_its_line_end(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret\n")
    with serving() as server:
        ask_one(server)

    assert server.requests[0].headers["Authorization"] == "Bearer secret"


def test_requests_run_in_parallel_and_each_gets_its_own_answer():
    def by_width(request):
        time.sleep(0.05)
        return f"width {request.image.size[0]}"

    widths = list(range(32, 64))
    with serving(by_width) as server:
        vlm = client(server, concurrency=8)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda w: vlm.generate([prompt(0, w)]), widths))
        vlm.close()

    assert answers == [[f"width {width}"] for width in widths]
    assert server.max_concurrent == 8


@pytest.mark.parametrize(
    "fault",
    [
        RawResponse(status=429, headers={"Retry-After": "0"}),
        RawResponse(status=500, body=b"<html>oops</html>"),
        RawResponse(status=503, body=b'{"error": {"message": "loading"}}'),
        RawResponse(closes_connection=True),
        RawResponse(body=b'{"choices": [{"mess'),
        RawResponse(body=b'{"choices": []}'),
        RawResponse(body=b"[]"),
        RawResponse(body=b'{"choices": [{"message": {"content": 7}}]}'),
        RawResponse(body=b"\xff\xfe"),
        RawResponse(body=b"{}", headers={"Content-Length": "900"}, closes_connection=False),
        RawResponse(wait_s=1.0, body=completion("late").body),
    ],
    ids=lambda fault: f"{fault.status}-{(fault.body or b'drop')[:12]!r}-{fault.wait_s}",
)
def test_a_temporary_fault_costs_another_attempt_and_no_answer(fault):
    def faulty_at_first(request):
        return fault if request.attempt == 0 else CONTENT

    with serving(faulty_at_first) as server:
        assert ask_one(server, timeout_s=0.4) == CONTENT

    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "fault, reason",
    [
        (
            RawResponse(status=500, body=b'{"error": {"message": "no memory"}}'),
            "status 500: no memory",
        ),
        (RawResponse(closes_connection=True), "closed without a response"),
        (RawResponse(body=b"{"), ": the response is not JSON: {"),
        (RawResponse(body=b"null"), ": the response is not a chat completion: null"),
        (RawResponse(), ": the response is not JSON: it is empty"),
    ],
)
def test_a_lasting_fault_fails_the_record_with_its_reason(fault, reason):
    with serving(lambda request: fault) as server:
        answer = ask_one(server, retries=1)

    assert isinstance(answer, BadRecord) and answer.kind == "model_error"
    assert "2 attempts" in answer.message and reason in answer.message
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_rejected_request_is_not_sent_again(status):
    fault = RawResponse(status=status, body=b'{"message": "picture too large"}')
    with serving(lambda request: fault) as server:
        answer = ask_one(server)

    assert isinstance(answer, BadRecord) and "picture too large" in answer.message
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "status, word, hint", [(401, "refuses the key", KEY_VARIABLE), (404, "has no model", "--model")]
)
def test_a_fault_common_to_all_requests_ends_the_run(status, word, hint):
    with (
        serving(lambda request: RawResponse(status=status)) as server,
        pytest.raises(MegastyleError, match=word) as error,
    ):
        ask_one(server)

    assert hint in error.value.hint


def choice(message, finish="stop"):
    body = {"choices": [{"message": message, "finish_reason": finish}]}
    return RawResponse(body=json.dumps(body).encode())


@pytest.mark.parametrize(
    "message, finish, kind, words",
    [
        ({"content": "Near a corner of the"}, "length", "truncated", "cut off"),
        ({"content": None, "reasoning_content": "Hm"}, "length", "truncated", "reasoning"),
        ({"content": None, "reasoning_content": "Hm"}, "stop", "empty", "only reasoned"),
        ({"content": ""}, "content_filter", "refusal", "content filter"),
        ({"content": None, "refusal": "I cannot"}, "stop", "refusal", "I cannot"),
    ],
)
def test_an_answer_without_usable_text_says_why(message, finish, kind, words):
    with serving(lambda request: choice(message, finish)) as server:
        answer = ask_one(server)

    assert isinstance(answer, UnusableAnswer) and answer.kind == kind and words in answer.message


def test_typed_parts_of_an_answer_are_joined():
    parts = [{"type": "thinking"}, {"type": "text", "text": "A "}, {"type": "text", "text": "fox"}]
    with serving(lambda request: choice({"content": parts})) as server:
        assert ask_one(server) == "A fox"


def refuses_as_gpt5(request):
    """A server that wants max_completion_tokens and takes no temperature."""
    for field, noun in (("max_tokens", "parameter"), ("temperature", "value")):
        if field in request.body:
            error = {"message": f"Unsupported {noun}: '{field}' is not supported with this model."}
            error |= {"param": field, "code": f"unsupported_{noun}"}
            return RawResponse(status=400, body=json.dumps({"error": error}).encode())
    return CONTENT


def test_fields_that_a_server_refuses_are_left_out_from_then_on():
    with serving(refuses_as_gpt5) as server:
        vlm = client(server)
        assert vlm.generate([prompt(0), prompt(1)]) == [CONTENT] * 2
        vlm.close()

    assert len(server.requests) == 4
    assert server.requests[-1].body["max_completion_tokens"] == 9


@pytest.mark.parametrize(
    "status, error, word",
    [
        (429, {"message": "No quota", "type": "insufficient_quota"}, "no quota left"),
        (402, {"message": "Insufficient balance"}, "no quota left"),
        (400, {"message": "Incorrect API key provided"}, "refuses the key"),
        (400, {"message": "Invalid model name passed in model=tiny"}, "has no model"),
        (400, {"message": "no", "param": "messages[0]", "code": "unsupported_value"}, "parameter"),
    ],
)
def test_an_error_common_to_all_requests_is_met_once(status, error, word):
    fault = RawResponse(status=status, body=json.dumps({"error": error}).encode())
    with serving(lambda request: fault) as server:
        vlm = client(server)
        for _ in range(3):
            with pytest.raises(MegastyleError, match=word):
                vlm.generate([prompt()])
        vlm.close()

    assert len(server.requests) == 1


def test_a_server_that_refuses_every_request_ends_the_run():
    fault = RawResponse(status=400, body=b'{"message": "images are not for us"}')
    with serving(lambda request: fault) as server:
        vlm = client(server, concurrency=1)
        with pytest.raises(MegastyleError, match="refused all of the first 17 requests") as error:
            for _ in range(100):
                vlm.generate([prompt()])
        vlm.close()

    assert error.value.exit_code == 2


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_the_key_is_hidden_wherever_a_server_repeats_it(monkeypatch, status):
    monkeypatch.setenv(KEY_VARIABLE, "sk-SECRETKEY123")

    def echo(request):
        words = f"you sent {request.headers['Authorization']}"
        if status == 200:
            return words
        return RawResponse(status=status, body=json.dumps({"message": words}).encode())

    with serving(echo) as server:
        try:
            shown = ask_one(server, retries=0)
        except MegastyleError as error:
            shown = error.message

    assert "Bearer ***" in str(shown) and "SECRET" not in repr(shown)


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "sk-SECRETKEY123\nX-Injected: 1")
    with pytest.raises(MegastyleError, match="line break") as error:
        load("captioner", "openai")

    assert "SECRET" not in error.value.message


def test_an_unreachable_server_is_one_sentence():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        with pytest.raises(MegastyleError, match="cannot be reached: Connection refused"):
            load("captioner", "openai", base_url=url)


@pytest.mark.parametrize(
    ("models", "why"),
    [
        (RawResponse(body=b" " * (MAX_RESPONSE_BYTES + 1)), "the response is larger than 4 MiB"),
        (RawResponse(wait_s=1.0), "no whole response within --timeout"),
        (RawResponse(closes_connection=True), "the connection was closed without a response"),
    ],
)
def test_a_server_that_answers_but_lists_no_models_is_not_called_unreachable(models, why):
    with (
        serving(models=models) as server,
        pytest.raises(
            MegastyleError, match=f"does not list its models .GET /models: {why}"
        ) as error,
    ):
        client(server, timeout_s=0.3)

    assert "start the server" not in error.value.hint


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://[", ""])
def test_an_invalid_url_is_one_sentence(url):
    with pytest.raises(MegastyleError, match="not the address of a server"):
        load("captioner", "openai", base_url=url)


def test_the_only_model_of_a_server_is_the_default():
    with serving() as server:
        found = client(server)
        found.close()
        assert found.name == MODEL


def test_a_named_model_is_asked_even_if_the_server_does_not_list_it():
    with serving() as server:
        assert ask_one(server, model="other/wild") == CONTENT

    assert server.requests[0].body["model"] == "other/wild"


def test_a_long_list_of_models_is_cut():
    with (
        serving(models=[f"m{n}" for n in range(900)]) as server,
        pytest.raises(MegastyleError, match="has 900 models: m0, m1, m2, m3, m4 and 895 more$"),
    ):
        client(server)


def test_a_server_that_lists_no_models_needs_one_named():
    with serving(models=None) as server:
        named = client(server, model="any")
        named.close()
        assert named.name == "any"
        with pytest.raises(MegastyleError, match="does not list its models .*status 404"):
            client(server)


def test_a_server_that_stops_responding_ends_the_run_instead_of_failing_every_record():
    def silent_after_one(request):
        return CONTENT if request.attempt == 0 else RawResponse(closes_connection=True)

    with serving(silent_after_one) as server:
        vlm = client(server, concurrency=1, retries=0)
        assert vlm.generate([prompt()]) == [CONTENT]
        with pytest.raises(MegastyleError, match="stopped responding") as error:
            for _ in range(100):
                vlm.generate([prompt()])

    assert error.value.exit_code == UNEXPECTED and "--resume" in error.value.hint


def test_waits_double_with_jitter_and_are_repeatable():
    bodies = [os.urandom(8) for _ in range(50)]
    for attempt in range(5):
        waits = [wait_s(attempt, body) for body in bodies]
        longest = 0.5 * 2**attempt
        assert all(longest / 2 <= wait <= longest for wait in waits)
        assert len(set(waits)) > 40
        assert waits == [wait_s(attempt, body) for body in bodies]


def test_retry_after_is_a_number_or_a_date():
    in_a_while = formatdate(time.time() + 30, usegmt=True)

    assert wait_s(0, b"", "7") == 7
    assert 20 <= wait_s(0, b"", in_a_while) <= 30


@pytest.mark.parametrize("header", ["", "soon", "nan", "-3", "Tue, 99 Foo 2020"])
def test_an_invalid_retry_after_is_ignored(header):
    assert wait_s(0, b"", header) == wait_s(0, b"")


def test_no_wait_exceeds_the_maximum():
    assert wait_s(30, b"") == wait_s(0, b"", "86400") == LONGEST_WAIT_S
