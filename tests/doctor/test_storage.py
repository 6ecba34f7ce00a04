"""Folders that are kept between runs, and the models in the hub's cache."""

from pathlib import Path

import pytest

from megastyle_cli.doctor.storage import (
    check_storage,
    downloaded_models,
    examples_folder,
)


def test_folders_say_where_they_are_and_what_is_free(tmp_path: Path) -> None:
    checks = {check.name: check for check in check_storage()}

    assert {"compiled code", "models", "temporary", "examples"} == set(checks)
    assert " free" in checks["temporary"].text
    assert all(not check.is_needed or check.ok for check in checks.values())


def test_models_are_found_in_the_cache_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert downloaded_models() == {}

    model = tmp_path / "hub" / "models--owner--small"
    revision = "a" * 40
    (model / "blobs").mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "snapshots" / revision).mkdir(parents=True)
    (model / "blobs" / "x").write_bytes(b"12345")
    (model / "refs" / "main").write_text(revision)
    (model / "snapshots" / revision / "config.json").symlink_to("../../blobs/x")

    assert downloaded_models() == {"owner/small": 5}


def test_examples_are_found() -> None:
    folder = examples_folder()

    assert folder is not None and (folder / "pictures" / "styles").is_dir()
