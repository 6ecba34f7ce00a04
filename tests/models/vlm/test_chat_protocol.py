"""Requests, answers and errors of chat completions servers."""

import json

import pytest

from megastyle_cli.models.vlm.chat_protocol import (
    Dialect,
    parse_completion,
    parse_error,
    parse_json,
    parse_models,
)


def test_a_dialect_leaves_out_each_refused_field_once() -> None:
    dialect = Dialect(options={"chat_template_kwargs": {}})

    for field in ("max_tokens", "temperature", "chat_template_kwargs"):
        changed = dialect.without(field)
        assert changed is not None and changed.without(field) is None

    assert dialect.without("messages") is None


@pytest.mark.parametrize(
    "message, field",
    [
        ("Unrecognized request argument supplied: chat_template_kwargs", "chat_template_kwargs"),
        ("'max_tokens' is not supported. Use 'max_completion_tokens' instead.", "max_tokens"),
        ("max_tokens is too large: 9999", None),
        ("image_url is not supported by this model", None),
    ],
)
def test_the_refused_field_is_read_from_the_message(message: str, field: str | None) -> None:
    body = json.dumps({"error": {"message": message}}).encode()

    assert parse_error(400, body).refused_field == field
    assert parse_error(500, body).refused_field is None


def test_a_rate_limit_and_a_flagged_picture_are_not_common_to_all_requests() -> None:
    assert not parse_error(429, b'{"error": {"message": "You exceeded your quota"}}').is_about_quota
    assert not parse_error(403, b'{"error": {"message": "flagged by moderation"}}').is_about_key


@pytest.mark.parametrize("body", [b"[" * 100_000, b"{", b"\xff", b"9" * 10_000])
def test_what_is_not_json_is_none_and_no_completion(body: bytes) -> None:
    assert parse_json(body) is None and parse_models(body, "id") is None
    with pytest.raises(ValueError, match="is not JSON"):
        parse_completion(body)


def test_a_message_is_one_line_without_control_characters() -> None:
    body = json.dumps({"error": {"message": "\x1b[2Jno\n\nmemory " + "x" * 999}}).encode()
    message = parse_error(500, body).message

    assert message.isprintable() and message.startswith("[2Jno memory x") and len(message) == 200


def test_an_error_with_status_200_is_told() -> None:
    with pytest.raises(ValueError, match="status 200: Provider returned error"):
        parse_completion(b'{"error": {"message": "Provider returned error", "code": 502}}')
