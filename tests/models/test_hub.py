"""Models are found in a folder or in the hub's cache, and an unknown name reaches no network."""

import json
import os
import resource
import socket
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.hub import (
    cache_only,
    check_reachable,
    download_again,
    find_file,
    find_lora,
    find_model,
    pinned_name,
    revision_of,
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


def test_a_model_in_the_cache_has_a_revision_and_a_folder_has_none(cached, tmp_path):
    folder = find_model("owner/model", hint="")

    assert revision_of(folder) == COMMIT
    assert revision_of(folder / "config.json") == COMMIT
    assert revision_of(tmp_path) is None


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


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (("megastyle_encoder.pth", "megastyle_flux.safetensors"), "megastyle_flux.safetensors"),
        (("README.md", "pytorch_lora_weights.safetensors"), "pytorch_lora_weights.safetensors"),
        (("adapter_config.json", "adapter_model.safetensors"), "adapter_model.safetensors"),
    ],
)
def test_the_lora_of_a_repository_is_the_file_with_a_name_of_one(cached, files, chosen):
    for name in files:
        (cached / name).touch()

    for name in ("owner/model", f"owner/model@{COMMIT}"):
        assert find_lora(name) == cached / chosen


def test_a_repository_without_a_lora_is_refused_with_what_to_download(cached):
    (cached / "flux_style_v2.safetensors").touch()

    with pytest.raises(MegastyleError, match="owner/model has no file with one of") as error:
        find_lora("owner/model")

    assert error.value.hint == (
        "download its file and give that: hf download owner/model FILE --local-dir ."
    )
    for path in ("none.safetensors", "./none", "a/b/c"):
        with pytest.raises(MegastyleError, match=f"there is no LoRA {path}"):
            find_lora(path)


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


FILES = {"config.json": b"{}", "model.safetensors": bytes(200_000)}
REFUSED = {
    "/api/models/owner/gated": "GatedRepo",
    "/api/models/owner/no": "RepoNotFound",
    "/api/models/owner/whole/revision/gone": "RevisionNotFound",
}


class Hub(BaseHTTPRequestHandler):
    """A hub of one model, owner/whole, that knows two more names and hands out neither."""

    def answer(self):
        code = next((code for path, code in REFUSED.items() if self.path.startswith(path)), None)
        status, content, headers = 404, b"", {"Content-Type": "application/json"}
        if code:
            status, headers = 403 if code == "GatedRepo" else 404, {"X-Error-Code": code}
        elif self.path == "/":
            status = 200
        elif self.path.startswith("/api/models/owner/whole/revision/main"):
            status, content = 200, json.dumps({"id": "owner/whole", "sha": COMMIT}).encode()
        elif self.path.startswith(f"/api/models/owner/whole/tree/{COMMIT}"):
            tree = [
                {"type": "file", "path": name, "size": len(file), "oid": f"{len(file):040x}"}
                for name, file in FILES.items()
            ]
            status, content = 200, json.dumps(tree).encode()
        elif self.path.startswith(f"/owner/whole/resolve/{COMMIT}/"):
            content = FILES[self.path.rpartition("/")[2]]
            status, headers = 200, {"ETag": f'"{len(content):040x}"', "X-Repo-Commit": COMMIT}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_GET = do_HEAD = answer  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch, cached):
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cached.parents[2]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.socket.settimeout(1)  # select(2): what is ready may be gone when it is accepted
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)  # diffusers asks by it
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("owner/gated", "its licence must be accepted first", "/owner/gated\nlog in: hf auth"),
        ("owner/no", "the hub has no model owner/no, or it is private", "check the name"),
        ("owner/whole@gone", "owner/whole has no revision gone", "Files and versions"),
    ],
)
@pytest.mark.parametrize("is_pipeline", [False, True])
def test_a_model_that_the_hub_does_not_hand_out_says_how_to_get_it(
    hub, name, sentence, hint, is_pipeline
):
    with pytest.raises(MegastyleError) as error:
        find_model(name, hint="", is_pipeline=is_pipeline)

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


def test_a_model_is_downloaded_once_and_half_a_download_is_continued(hub, cached):
    folder = find_model("owner/whole", hint="")
    weights = folder / "model.safetensors"
    weights.resolve().unlink()
    weights.unlink()

    again = find_model("owner/whole", hint="")

    assert again == folder and weights.read_bytes() == FILES["model.safetensors"]


def test_half_a_download_without_a_network_is_called_one(hub, cached, monkeypatch):
    folder = find_model("owner/whole", hint="")
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(MegastyleError) as error:
        find_model("owner/whole", hint="")

    assert error.value.message.startswith("owner/whole is only partly in the local cache")
    assert "run: hf download owner/whole (it downloads only what is missing)" in error.value.hint


@pytest.mark.parametrize("is_pipeline", [False, True])
def test_an_empty_cache_without_a_network_is_one_sentence(tmp_path, monkeypatch, is_pipeline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(MegastyleError, match="owner/whole is not in the local cache"):
        find_model("owner/whole", hint="", is_pipeline=is_pipeline)

    assert not (tmp_path / "none").exists()


def test_a_disk_that_is_full_while_a_model_is_cached_is_one_sentence(hub):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(MegastyleError) as error:
            find_model("owner/whole", hint="")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert error.value.message.startswith("owner/whole cannot be downloaded to ")
    assert error.value.message.endswith(": File too large")
    assert "HF_HOME=FOLDER" in error.value.hint and error.value.exit_code == 1


@pytest.fixture
def other_user(hub, monkeypatch):
    """Runs as a user who may read the cache and not write it."""
    with tempfile.TemporaryDirectory() as shared:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", shared)
        yield Path(shared)
        os.seteuid(0)


def leave_to_others(cache):
    """Takes the right to write from the cache, and from this process what root may do."""
    for place in (cache, *cache.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)
    os.seteuid(65534)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_cache_of_another_user_is_used_as_it_is(other_user):
    folder = find_model("owner/whole", hint="")
    leave_to_others(other_user)

    assert find_model("owner/whole", hint="") == folder


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_what_the_cache_of_another_user_lacks_is_one_sentence(other_user):
    leave_to_others(other_user)

    with pytest.raises(MegastyleError) as error:
        find_model("owner/whole", hint="")

    assert "is not writable (Permission denied)" in error.value.message
    assert "HF_HOME=FOLDER" in error.value.hint


def test_a_damaged_file_in_the_cache_is_downloaded_again_by_its_name(cached):
    (cached / "model.safetensors").touch()

    hint = download_again(cached / "model.safetensors")

    assert hint == "download it again: hf download owner/model model.safetensors --force-download"
    assert download_again(cached / "vae") == download_again(cached).replace(" vae", "")
    assert download_again(cached.parents[2]) == "download the model again"
    partial = download_again(cached, is_partial=True)
    assert partial == "complete the download: hf download owner/model"
