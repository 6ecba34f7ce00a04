"""A plan is readable: aligned lines, numbers with separators, options in words."""

import pytest

from megastyle_cli.runner.plan import Plan, describe_model, describe_options, format_size


def test_a_plan_is_aligned_and_wrapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    plan = Plan("transfer")
    plan.add("input", "photos/: 1,240 images")
    plan.add("model", "")
    plan.add("options", ", ".join(f"option{number} on" for number in range(6)))

    plan.show()

    assert capsys.readouterr().err.splitlines() == [
        "transfer: plan",
        "  input    photos/: 1,240 images",
        "  options  option0 on, option1 on, option2 on, option3 on,",
        "           option4 on, option5 on",
        "Nothing was loaded or written.",
    ]


def test_options_are_words_and_those_that_are_off_are_left_out() -> None:
    options = {
        "seed": 0,
        "overwrite": False,
        "reject_blank": True,
        "model": None,
        "near": {"threshold": 0.72, "bands": 32},
        "ks": [1, 10],
        "sample": 170_000,
    }

    assert describe_options(options, hidden=["seed"]) == (
        "reject blank, near (threshold 0.72, bands 32), ks 1 10, sample 170,000"
    )


def test_a_model_is_named_with_what_runs_it() -> None:
    assert describe_model({"backend": "builtin"}) == "builtin"
    assert describe_model({"backend": "flux", "model": "FLUX.1-dev"}) == "FLUX.1-dev (flux)"
    assert describe_model({"seed": 0}) == ""


def test_a_plan_says_that_a_hub_model_is_not_downloaded(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    options = {"backend": "diffusers", "model": "owner/model@main"}

    line = "hf download owner/model --revision main"
    assert describe_model(options) == f"owner/model@main (diffusers), not downloaded: {line}"
    assert describe_model({**options, "backend": "openai"}) == "owner/model@main (openai)"
    (tmp_path / "models--owner--model" / "snapshots" / "0123").mkdir(parents=True)
    assert describe_model(options) == "owner/model@main (diffusers)"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (310e6, "310 MB"), (999.6e6, "1.0 GB")],
)
def test_sizes_are_short(size: float, text: str) -> None:
    assert format_size(size) == text
