"""`caption` with vision-language models: a real server and a real tiny model, as a command."""

import json
import signal
import subprocess
import threading
import time
from collections import Counter

import pytest
from PIL import Image

from megastyle_cli.captioning.prompts import VERSION
from tests import fork_server
from tests.chat_server import (
    CONTENT,
    MODEL,
    SENTENCE,
    RawResponse,
    answer_well,
    completion,
    serving,
)
from tests.conftest import draw, jsonl, lines
from tests.models.tiny_vlm import save_tiny_vlm


@pytest.fixture
def many(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for seed in range(24):
        draw(seed, 64 + seed).save(folder / f"{seed:02}.png")
    return folder


def ids(path):
    return Counter(record["id"] for record in lines(path))


def number_of(request):
    """Which image of `many` the request is about."""
    return request.image.size[0] - 64


def test_records_hold_style_attributes_and_content(megastyle, pictures, tmp_path):
    out = tmp_path / "out.jsonl"
    with serving() as server:
        ended = megastyle("caption", pictures, "--base-url", server.url, "-o", out)

    assert ended.returncode == 0, ended.stderr
    assert len(server.requests) == 12
    for record in lines(out):
        assert record["content"] == CONTENT and record["style_medium"] == "layered paper"
        assert record["style"].endswith("in layered paper.")
        assert record["_megastyle"]["caption"]["model"] == MODEL


def test_concurrency_changes_only_the_speed(megastyle, many, tmp_path):
    def numbered(request):
        return f"Picture number {number_of(request)} shows flat shapes"

    with serving(numbered) as server:
        for n in (1, 7, 64):
            flags = ("--kind", "content", "--concurrency", n, "-o", tmp_path / f"{n}.jsonl")
            ended = megastyle("caption", many, "--base-url", server.url, *flags)
            assert ended.returncode == 0, ended.stderr

    one, seven, more = ((tmp_path / f"{n}.jsonl").read_bytes() for n in (1, 7, 64))
    assert one == seven == more
    assert [f"number {n} " in record["content"] for n, record in enumerate(lines(one))] == [
        True
    ] * 24


def test_every_kind_of_fault_is_retried_and_each_record_is_written_once(megastyle, many, tmp_path):
    responses = [
        RawResponse(status=429, headers={"Retry-After": "0"}),
        RawResponse(status=500),
        RawResponse(closes_connection=True),
        RawResponse(wait_s=3.0),
        RawResponse(body=b'{"choices": [{"message": {"cont'),
        "!!!!!!!!!!!!!!!!!!!!",
        "I'm sorry, I can't help with that.",
    ]

    def faulty_at_first(request):
        return responses[number_of(request) % 7] if request.attempt == 0 else answer_well(request)

    flags = ("--schema", "v1", "--kind", "style", "--timeout", 2)
    with serving() as server:
        megastyle("caption", many, "--base-url", server.url, *flags, "-o", tmp_path / "a.jsonl")
    with serving(faulty_at_first) as server:
        flags += ("--stats", tmp_path / "stats.json")
        ended = megastyle(
            "caption", many, "--base-url", server.url, *flags, "-o", tmp_path / "b.jsonl"
        )

    assert ended.returncode == 0, ended.stderr
    assert ids(tmp_path / "b.jsonl") == ids(tmp_path / "a.jsonl")
    assert len(server.requests) == 48
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert stats["refused_answers"] == {"garbage": 3, "refusal": 3}
    assert b"invalid answers: 3 garbage, 3 refusal" in ended.stderr
    attempts = [r["_megastyle"]["caption"]["attempts"] for r in lines(tmp_path / "b.jsonl")]
    assert attempts == [2 if n % 7 > 4 else 1 for n in range(24)]


def test_records_that_the_server_failed_on_can_be_resumed(megastyle, many, tmp_path):
    def for_even_ones(request):
        return answer_well(request) if number_of(request) % 2 == 0 else RawResponse(status=500)

    out = tmp_path / "out.jsonl"
    flags = ("--kind", "content", "--retries", 0, "-o", out)
    with serving(for_even_ones) as server:
        first = megastyle("caption", many, "--base-url", server.url, *flags)
    failed = lines(tmp_path / "out.errors.jsonl")
    with serving() as server:
        second = megastyle("caption", many, "--base-url", server.url, *flags, "--resume")

    assert (first.returncode, second.returncode) == (3, 0)
    assert {record["_error"]["kind"] for record in failed} == {"model_error"} and len(failed) == 12
    assert len(server.requests) == 12
    assert len(ids(out)) == 24 and set(ids(out).values()) == {1}
    assert not (tmp_path / "out.errors.jsonl").exists()


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(megastyle, many, tmp_path):
    for seed in range(24, 40):
        draw(seed, 64 + seed).save(many / f"{seed:02}.png")
    out = tmp_path / "out.jsonl"
    flags = ("--kind", "content", "--concurrency", "1")
    with serving() as server:
        megastyle("caption", many, "--base-url", server.url, *flags, "-o", tmp_path / "whole.jsonl")
    process = []

    def kills_at_the_36th(request):
        if len(server.requests) == 36:
            process[0].send_signal(signal.SIGKILL)
        return answer_well(request)

    with serving(kills_at_the_36th) as server:
        command = ("caption", many, *flags, "--base-url", server.url, "-o", out)
        process.append(fork_server.start(*command, stderr=subprocess.DEVNULL))
        assert process[0].wait() == -signal.SIGKILL
    assert not out.exists()
    with serving() as server:
        ended = megastyle("caption", many, "--base-url", server.url, *flags, "-o", out, "--resume")

    assert ended.returncode == 0, ended.stderr
    assert 4 <= len(server.requests) < 40  # only requests in flight or not yet written are repeated
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_signal_finishes_open_requests_and_resume_does_the_rest(megastyle, many, tmp_path):
    out = tmp_path / "out.jsonl"
    wanted = [{"id": f"r{n}", "file_name": f"many/{n % 24:02}.png"} for n in range(90)]
    records = jsonl(tmp_path / "in.jsonl", wanted)
    flags = ("--kind", "content", "--concurrency", "2")
    with serving() as server:
        megastyle(
            "caption", records, "--base-url", server.url, *flags, "-o", tmp_path / "whole.jsonl"
        )
    process = []

    def slow_from_the_fourth(request):
        if len(server.requests) == 4:
            process[0].send_signal(signal.SIGTERM)
        return RawResponse(
            body=completion(CONTENT).body, wait_s=0.1 if len(server.requests) >= 4 else 0
        )

    with serving(slow_from_the_fourth) as server:
        command = ("caption", records, *flags, "--base-url", server.url, "-o", out)
        process.append(fork_server.start(*command, stderr=subprocess.DEVNULL))
        assert process[0].wait() == 75
        num_asked = len(server.requests)
    before = ids(out.with_name("out.jsonl.partial"))
    assert before.total() == num_asked < 90
    with serving() as server:
        ended = megastyle(
            "caption", records, "--base-url", server.url, *flags, "-o", out, "--resume"
        )

    assert ended.returncode == 0, ended.stderr
    assert len(server.requests) == 90 - num_asked
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_server_that_does_not_answer_does_not_delay_the_stop(megastyle, many, tmp_path):
    out = tmp_path / "out.jsonl"
    flags = ("--kind", "content", "--concurrency", "2", "-o", out)
    process, never = [], threading.Event()

    def hangs_at_the_third(request):
        if number_of(request) == 2:
            process[0].send_signal(signal.SIGTERM)
            never.wait()
        return answer_well(request)

    with serving(hangs_at_the_third) as server:
        command = ("caption", many, "--base-url", server.url, "--timeout", "0.5", *flags)
        process.append(fork_server.start(*command, stderr=subprocess.DEVNULL))
        ended = process[0].wait()
        never.set()

    assert ended == 75 and not out.exists()
    written = [record["file_name"] for record in lines(out.with_name("out.jsonl.partial"))]
    assert written == ["many/00.png", "many/01.png"][: len(written)]
    with serving() as server:
        resumed = megastyle("caption", many, "--base-url", server.url, *flags, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert [record["file_name"] for record in lines(out)] == [f"many/{n:02}.png" for n in range(24)]


def test_a_slow_answer_does_not_delay_the_others(megastyle, many, tmp_path):
    num_requests = []

    def first_waits_for_all_others(request):
        if number_of(request) == 0:
            deadline = time.monotonic() + 30
            while len(server.requests) < 24 and time.monotonic() < deadline:
                time.sleep(0.01)
            num_requests.append(len(server.requests))
        return answer_well(request)

    with serving(first_waits_for_all_others) as server:
        flags = ("--kind", "content", "--concurrency", 2, "-o", tmp_path / "out.jsonl")
        ended = megastyle("caption", many, "--base-url", server.url, *flags)

    assert ended.returncode == 0, ended.stderr
    assert num_requests == [24]
    assert [record["file_name"] for record in lines(tmp_path / "out.jsonl")] == [
        f"many/{n:02}.png" for n in range(24)
    ]


def test_ranks_and_shards_split_the_work_and_lose_no_record(megastyle, many, tmp_path):
    with serving() as server:
        flags = ("--kind", "content", "--base-url", server.url)
        megastyle("caption", many, *flags, "-o", tmp_path / "whole.jsonl")
        for shard in ("0/2", "1/2"):
            for rank in ("0", "1"):
                ended = megastyle(
                    *("caption", many, *flags, "--shard", shard, "-o", tmp_path / "parts"),
                    RANK=rank,
                    WORLD_SIZE="2",
                )
                assert ended.returncode == 0, ended.stderr

    parts = [ids(path) for path in (tmp_path / "parts").glob("part-*-of-00004.jsonl")]
    assert len(parts) == 4 and all(parts)
    assert sum(parts, Counter()) == ids(tmp_path / "whole.jsonl")


@pytest.mark.parametrize("status, word", [(401, b"OPENAI_API_KEY"), (404, b"--model")])
def test_a_wrong_key_or_model_stops_the_run_with_one_line(
    megastyle, pictures, tmp_path, status, word
):
    with serving(lambda request: RawResponse(status=status), models=None) as server:
        flags = ("--base-url", server.url, "--model", "some", "-o", tmp_path / "out.jsonl")
        ended = megastyle("caption", pictures, *flags)

    assert ended.returncode == 2
    assert word in ended.stderr and b"Traceback" not in ended.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_the_api_key_is_neither_printed_nor_written(megastyle, pictures, tmp_path):
    with serving() as server:
        flags = ("--base-url", server.url, "-o", tmp_path / "out.jsonl", "-vv")
        ended = megastyle("caption", pictures, *flags, OPENAI_API_KEY="sk-secret")

    written = b"".join(path.read_bytes() for path in tmp_path.glob("out*"))
    assert server.requests[0].headers["Authorization"] == "Bearer sk-secret"
    assert b"sk-secret" not in ended.stdout + ended.stderr + written


def test_an_unreadable_image_fails_alone_and_is_not_sent(megastyle, pictures, tmp_path):
    (pictures / "0.png").write_bytes(b"")
    with serving() as server:
        flags = ("--kind", "content", "--base-url", server.url, "-o", tmp_path / "out.jsonl")
        ended = megastyle("caption", pictures, *flags)

    assert ended.returncode == 3
    (failed,) = lines(tmp_path / "out.errors.jsonl")
    assert failed["_error"]["kind"] == "bad_image" and len(server.requests) == 5


def test_images_are_sent_upright_and_within_max_side(megastyle, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    draw(1, 900, 600).save(tmp_path / "wide.jpg", exif=turned)
    with serving() as server:
        for flags in ((), ("--max-side", 96)):
            flags += ("--kind", "content", "--base-url", server.url)
            megastyle("caption", tmp_path / "wide.jpg", *flags)

    assert [request.image.size for request in server.requests] == [(341, 512), (64, 96)]


def test_judge_adds_verdicts_and_reports_shares(megastyle, pictures, tmp_path):
    stats = tmp_path / "stats.json"
    with serving() as server:
        captions = megastyle("caption", pictures, "--base-url", server.url).stdout
        flags = ("--judge", "--base-url", server.url, "--stats", stats)
        ended = megastyle("caption", *flags, stdin=captions, cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    before, after = lines(captions), lines(ended.stdout)
    assert [record["style"] for record in after] == [record["style"] for record in before]
    assert all(record["_megastyle"]["judge"]["relevant"]["medium"] for record in after)
    shares = json.loads(stats.read_text())["judged"]
    assert shares["light"] == {"judged": 6, "relevant": 1.0, "vague": 0.0}
    assert b"light 100.0% relevant 0.0% vague" in ended.stderr


def test_answers_of_a_random_model_are_failures_not_captions(megastyle, pictures, tmp_path):
    model = save_tiny_vlm(tmp_path / "model")
    flags = ("--model", model, "--device", "cpu", "--stats", tmp_path / "stats.json")
    ended = megastyle("caption", pictures, *flags, "--attempts", 2, "-o", tmp_path / "out.jsonl")

    assert ended.returncode == 3, ended.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == b""
    failed = lines(tmp_path / "out.errors.jsonl")
    assert {record["_error"]["kind"] for record in failed} == {"bad_answer"} and len(failed) == 6
    assert sum(json.loads((tmp_path / "stats.json").read_text())["refused_answers"].values()) >= 12


def test_show_instructions_prints_every_prompt(megastyle):
    ended = megastyle("caption", "--show-instructions")

    assert ended.returncode == 0
    assert f"version {VERSION}".encode() in ended.stdout
    for word in (b"== content", b"schema v1", b"schema v2", b"--judge", b"10 words"):
        assert word in ended.stdout


@pytest.mark.parametrize(
    "flags, word",
    [
        (("--judge",), b"--judge needs a model"),
        (("--backend", "transformers", "--base-url", "http://x/v1"), b"takes no --base-url"),
        (("--base-url", "nowhere"), b"not the address of a server"),
        (("--base-url", "http://127.0.0.1:9/v1"), b"cannot be reached"),
    ],
)
def test_invalid_options_are_reported(megastyle, pictures, flags, word):
    ended = megastyle("caption", pictures, *flags)

    assert ended.returncode == 2 and ended.stdout == b""
    assert word in ended.stderr and ended.stderr.count(b"\n") == 2


def test_a_dry_run_sends_no_request(megastyle, pictures):
    ended = megastyle("caption", pictures, "--base-url", "http://127.0.0.1:9/v1", "-n")

    assert ended.returncode == 0 and f"instructions {VERSION}".encode() in ended.stderr


def test_the_v1_sentence_is_written_as_answered(megastyle, pictures):
    with serving() as server:
        flags = ("--schema", "v1", "--kind", "style", "--base-url", server.url)
        ended = megastyle("caption", pictures, *flags)

    assert {record["style"] for record in lines(ended.stdout)} == {SENTENCE}
