"""Models are found in a folder or in the hub's cache, and an unknown name reaches no network."""

import socket

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.hub import find_model, pinned_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def raise_offline(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", raise_offline)
    monkeypatch.setattr(socket, "getaddrinfo", raise_offline)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The snapshot of owner/model at COMMIT, its branch main, in a cache of the hub."""
    repository = tmp_path / "models--owner--model"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return snapshot


def test_a_folder_is_itself(tmp_path):
    assert find_model(str(tmp_path), hint="") == tmp_path


def test_a_downloaded_model_is_found_without_a_network(cached):
    assert find_model("owner/model", hint="") == cached
    assert find_model(f"owner/model@{COMMIT}", hint="") == cached
    assert find_model("owner/model@main", hint="") == cached


def test_a_name_is_pinned_to_the_revision_that_was_found(cached):
    assert pinned_name("owner/model", cached) == "owner/model@0123456"
    assert pinned_name("owner/model@main", cached) == "owner/model@main"
    assert pinned_name(str(cached), cached) == str(cached)


def test_a_model_that_cannot_be_downloaded_is_one_sentence_with_the_hint(cached):
    with pytest.raises(MegastyleError) as error:
        find_model("owner/other", "classifier", hint="name another")

    assert error.value.message.startswith("the classifier 'owner/other' cannot be loaded: ")
    assert "\n" not in error.value.message and error.value.hint == "name another"


@pytest.mark.parametrize(
    "model", ["missing", "missing/", "./a/b", "/a/b", "a/b/c", "a/b.pth", "../a", "a b/c", "@b"]
)
def test_what_is_no_hub_name_reaches_no_network(model):
    with pytest.raises(MegastyleError, match=f"there is no model folder {model}$"):
        find_model(model, hint="check it")


def test_a_file_is_no_model_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "model").touch()

    with pytest.raises(MegastyleError, match="there is no model folder owner/model"):
        find_model("owner/model", hint="")
