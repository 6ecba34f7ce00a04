"""Option values mean one backend, or are refused together."""

from pathlib import Path

import pytest

from megastyle_cli.cli.resolve_backend import (
    check_device,
    check_engine,
    decoded_px,
    lora_name,
    open_embedder,
    recorded_model,
    resolve_embedder,
)
from megastyle_cli.core.errors import MegastyleError


def test_the_kind_of_embedder_says_which_embedders_are_taken() -> None:
    static, sentence = ("builtin", None), ("sentence-transformers", "m")

    assert resolve_embedder(None, "builtin", None, is_nemo=False) == ("static", [static])
    assert resolve_embedder(None, "builtin", "m", is_nemo=False) == ("sentence", [sentence])
    assert resolve_embedder("verified", "builtin", "m", is_nemo=False) == (
        "verified",
        [static, sentence],
    )
    assert resolve_embedder(None, "builtin", None, is_nemo=True)[0] == "sentence"
    with pytest.raises(MegastyleError, match="runs no --model"):
        resolve_embedder("static", "builtin", "m", is_nemo=False)


def test_what_a_backend_cannot_do_is_refused() -> None:
    with pytest.raises(MegastyleError, match="not on --device cuda"):
        check_device("cuda", "ray")
    with pytest.raises(MegastyleError, match="standard input"):
        check_engine("ray", ["-"])
    check_device("cpu", "ray")
    check_engine("local", ["-"])


def test_a_run_names_model_and_lora_by_their_content(tmp_path: Path) -> None:
    lora = tmp_path / "wave.safetensors"
    lora.write_bytes(b"weights")

    before = lora_name(str(lora))
    lora.write_bytes(b"other weights")

    assert before.startswith("wave@") and lora_name(str(lora)) != before
    assert recorded_model("builtin", None) == {"backend": "builtin"}
    assert recorded_model("flux", "some/hub-name") == {"backend": "flux", "model": "some/hub-name"}
    assert set(recorded_model("flux", str(tmp_path))) == {"backend", "model", "model_digest"}
    with pytest.raises(MegastyleError, match="there is no LoRA"):
        lora_name("nowhere.safetensors")


def test_models_get_whole_images() -> None:
    assert (decoded_px(None, 384), decoded_px("m", 384)) == (384, None)


def test_a_cached_embedder_gives_the_same_vectors(tmp_path: Path) -> None:
    texts = ["a fox on a hill", "ink wash", "a fox on a hill"]

    with open_embedder("builtin", None, None) as embed:
        plain = embed(texts)
    for _ in range(2):
        with open_embedder("builtin", None, tmp_path / "cache") as embed:
            assert (embed(texts) == plain).all()
