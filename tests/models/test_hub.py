"""Models are found in a folder or in the hub's cache, and an unknown name reaches no network."""

import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.hub import (
    cache_only,
    check_reachable,
    find_file,
    find_model,
    pinned_name,
)

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


def test_inside_cache_only_the_hub_is_not_asked(cached, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("megastyle_cli.models.hub.urlopen", lambda *request, **how: asked.append(1))

    with cache_only():
        assert find_model("owner/model", hint="") == cached
        with pytest.raises(MegastyleError) as error:
            find_model("owner/other", hint="")

    assert error.value.message == "owner/other is not in the local cache"
    assert not asked


def test_one_file_of_a_repository_is_found_and_a_missing_one_says_how_to_get_it(cached):
    (cached / "encoder.pth").touch()

    assert find_file("owner/model", "encoder.pth", "model") == cached / "encoder.pth"
    with pytest.raises(MegastyleError, match="owner/model has no lora.safetensors") as error:
        find_file("owner/model", "lora.safetensors", "model")

    assert error.value.hint == "download it: hf download owner/model lora.safetensors"


def test_without_a_network_a_name_that_is_not_cached_fails_at_once(cached):
    with pytest.raises(MegastyleError) as error:
        find_model(f"owner/other@{COMMIT}", "classifier", hint="name another")

    assert error.value.message == (
        f"owner/other@{COMMIT} is not in the local cache and the hub cannot be reached"
    )
    assert f": hf download owner/other --revision {COMMIT} (" in error.value.hint


def test_a_name_that_is_neither_cached_nor_reachable_is_known_without_its_library(cached):
    for fine in ("owner/model", f"owner/model@{COMMIT}", str(cached), "gone.safetensors", "name"):
        check_reachable(fine)

    with pytest.raises(MegastyleError, match="owner/other is not in the local cache"):
        check_reachable("owner/other")


class Hub(BaseHTTPRequestHandler):
    """A hub that knows two names, and hands out neither."""

    def answer(self):
        refused = {"/api/models/owner/gated": "GatedRepo", "/api/models/owner/no": "RepoNotFound"}
        code = next((code for path, code in refused.items() if self.path.startswith(path)), None)
        self.send_response(403 if code else 404 if self.path != "/" else 200)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = answer  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch, cached):
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cached.parents[2]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("owner/gated", "its licence must be accepted first", "hf auth login"),
        ("owner/no", "the hub has no model owner/no, or it is private", "check the name"),
    ],
)
def test_a_model_that_the_hub_does_not_hand_out_says_how_to_get_it(hub, name, sentence, hint):
    with pytest.raises(MegastyleError) as error:
        find_model(name, hint="")

    assert sentence in error.value.message and hint in error.value.hint


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
