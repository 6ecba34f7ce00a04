"""Answers are kept in a file, also those of a run that ended early."""

import pytest

from megastyle_cli.bias.answer_cache import FILE, AnswerCache, kept_answers
from megastyle_cli.core.errors import MegastyleError


def test_answers_outlive_the_run(tmp_path):
    cache = AnswerCache(tmp_path / "new")
    key = cache.key("model", "image", "question")
    cache.put(key, False)
    cache.put("other", ["fox"])

    again = AnswerCache(tmp_path / "new")

    assert again.get(key) is False and again.get("other") == ["fox"]
    assert again.get("never asked") is None


def test_a_line_that_was_cut_off_is_asked_again(tmp_path):
    cache = AnswerCache(tmp_path)
    cache.put("a", True)
    cache.put("b", True)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-9])

    again = AnswerCache(tmp_path)
    assert (again.get("a"), again.get("b")) == (True, None)
    again.put("b", False)

    assert AnswerCache(tmp_path).get("b") is False


def test_without_a_folder_answers_are_in_memory(tmp_path):
    cache = AnswerCache(None)
    cache.put("a", True)

    assert cache.get("a") is True and list(tmp_path.iterdir()) == []


def test_a_key_depends_on_model_image_and_question():
    cache = AnswerCache(None)
    keys = {cache.key(*words) for words in (("m", "i", "q"), ("n", "i", "q"), ("m", "j", "q"))}

    assert len({*keys, cache.key("m", "i", "q", "r")}) == 4


@pytest.mark.parametrize("has_folder", [False, True])
def test_an_error_says_that_answers_are_lost_without_a_folder(tmp_path, caplog, has_folder):
    with pytest.raises(MegastyleError), kept_answers(tmp_path if has_folder else None):
        raise MegastyleError("no quota left", hint="")

    assert ("answers are lost" in caplog.text) is not has_folder
