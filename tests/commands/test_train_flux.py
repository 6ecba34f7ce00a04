"""train-flux's contract: what it writes, how it stops and resumes, what it rejects."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import T5EncoderModel

from megastyle_cli.models.flux.lora import LoraFactors, target_modules, target_modules_of
from megastyle_cli.models.flux.lora_file import read_lora, save_lora
from tests.commands.trainings import (
    EVERY_STEP,
    LOST_RANK,
    CommandResult,
    kill_one_after_a_step,
    metrics_of,
    signal_after_a_step,
    start_ranks,
    train,
)
from tests.conftest import Runner, draw, jsonl, lines
from tests.tiny_flux import LETTERS, TRANSFORMER, save_tiny_flux

__all__ = ["train"]  # a fixture

STEPS = 24  # enough that a signal always finds it at work


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny FLUX, and 24 images of six styles with their contents."""
    folder = tmp_path_factory.mktemp("flux")
    save_tiny_flux(folder / "model", text_tokens=16)
    (folder / "imgs").mkdir()
    records = []
    for style in range(6):
        for n in range(4):
            name = f"{style}-{n}"
            draw(10 * style + n, 40, 40).save(folder / "imgs" / f"{name}.png")
            known = {"id": name, "style_id": f"s{style}", "content": f"thing {LETTERS[n]}"}
            records.append({**known, "file_name": f"{name}.png"})
    jsonl(folder / "imgs" / "metadata.jsonl", records)
    return folder


@pytest.fixture
def arguments(folder: Path) -> list[str]:
    """A training on four styles, two held out."""
    return flags_of(folder)


def flags_of(folder: Path) -> list[str]:
    flags = ["train-flux", folder / "imgs", "--model", folder / "model", "--size", 32]
    flags += ["--rank", 4, "--lr", "0.01", "--steps", STEPS, "--global-batch", 4, "--chunk", 2]
    flags += ["--holdout", 0.3, "--validate-every", 12, "--checkpoint-every", 12, "--samples", 0]
    return [str(word) for word in flags]


@pytest.fixture(scope="module")
def whole(folder: Path, megastyle: Runner) -> Path:
    """An uninterrupted run of one process, with samples."""
    run = folder / "whole"
    flags = [*flags_of(folder), "--samples", "2", "--sample-every", "12", "-o", str(run)]
    result = megastyle(*flags, "--stats", folder / "stats.json")
    assert result.returncode == 0, result.stderr.decode()
    (folder / "stdout.jsonl").write_bytes(result.stdout)
    (folder / "stderr.txt").write_bytes(result.stderr)
    return run


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = (load_file(run / "latest" / "lora.safetensors") for run in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_it_prints_a_plan_first_and_one_json_line_last(folder: Path, whole: Path) -> None:
    (line,) = lines(folder / "stdout.jsonl")
    stderr = (folder / "stderr.txt").read_text()

    assert line["step"] == STEPS and line["checkpoint"] == str(whole / "lora")
    assert line["loss"] > 0 and line["_megastyle"]["train-flux"]["run"]
    assert line["held_out"]["pairs"] == 2
    for word in (
        "4 styles or pairs for training, 2 held out",
        "a LoRA of rank 4 on 26 modules of",
        "batch 4 = 1 x 4 pairs of 32 px on cpu",
        "memory: 2 chunks of 2 pairs, all activations kept: about",
        "stay in memory, encode during training",
        "noise levels megastyle, loss weight bell, guidance 1",
    ):
        assert word in stderr
    assert stderr.splitlines()[-1].startswith(f"train-flux: step {STEPS} of {STEPS} \u00b7 loss")
    stats = json.loads((folder / "stats.json").read_text())
    assert stats["command"] == "train-flux" and stats["in"] == 24 and stats["step"] == STEPS


def test_run_json_records_what_the_run_was_made_with(folder: Path, whole: Path) -> None:
    run_json = json.loads((whole / "run.json").read_text())

    assert run_json["options"]["timesteps"] == "megastyle" and run_json["options"]["seed"] == 0
    assert run_json["made_with"]["packages"].keys() >= {"python", "torch", "diffusers", "peft"}
    assert run_json["made_with"]["dtype"] == "float32" and run_json["made_with"]["lora"] is None
    asked = run_json["made_with"]["options"]
    assert asked["inputs"] == [str(folder / "imgs")] and asked["limit"] is None
    assert (asked["label"], asked["holdout"], asked["split_key"]) == ("style_id", 0.3, None)
    assert asked["chunk"] == 2 and asked["samples"] == 2 and asked["max_errors"] == "1%"
    assert asked["checkpoint_every"] == 12 and asked["export_dtype"] == "bfloat16"
    with safe_open(whole / "lora" / "megastyle_flux.safetensors", "pt") as opened:
        facts = opened.metadata()
    assert facts["megastyle.loss_weight"] == "bell" and facts["megastyle.step"] == str(STEPS)
    assert facts["megastyle.model"] == run_json["made_with"]["model"]


def test_metrics_have_every_step_and_losses_at_eight_fixed_levels(whole: Path) -> None:
    metrics = metrics_of(whole)

    steps = [line for line in metrics if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    held_out = [line for line in metrics if "held_out" in line]
    assert [line["step"] for line in held_out] == [0, 12, 24]
    assert sum("loss_at" in name for name in held_out[0]["held_out"]) == 8
    assert held_out[-1]["held_out"]["loss"] < held_out[0]["held_out"]["loss"]


def test_metrics_are_logged_to_tensorboard_if_installed(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    assert train(*arguments, "--steps", 2, "-o", run).returncode == 0

    read = events.EventAccumulator(str(run / "tensorboard"))
    read.Reload()

    metrics = [line for line in metrics_of(run) if "loss" in line]
    assert [one.step for one in read.Scalars("loss")] == [1, 2]
    assert [one.value for one in read.Scalars("loss")] == pytest.approx(
        [t["loss"] for t in metrics]
    )
    assert "held_out/loss_other_reference" in read.Tags()["scalars"]


def test_samples_are_painted_beside_their_references(whole: Path) -> None:
    for step in (12, 24):
        with Image.open(whole / "samples" / f"step-{step:08}" / "1.png") as painted:
            assert painted.size == (32, 32)
        with Image.open(whole / "samples" / f"step-{step:08}.png") as sheet:
            assert sheet.width > 300
    assert not (whole / "samples" / "step-00000007").exists()


def test_both_formats_hold_the_same_lora_and_diffusers_loads_it(folder: Path, whole: Path) -> None:
    pipeline = FluxPipeline.from_pretrained(folder / "model")
    wanted = target_modules_of(pipeline.transformer)
    official = read_lora(whole / "lora" / "megastyle_flux.safetensors", wanted)
    diffusers = read_lora(whole / "lora" / "pytorch_lora_weights.safetensors", wanted)

    assert all(torch.equal(official[t].down, diffusers[t].down) for t in wanted)
    assert all(torch.equal(official[t].up, diffusers[t].up) for t in wanted)
    assert any(official[t].up.any() for t in wanted)
    pipeline.load_lora_weights(whole / "lora")
    named = dict(pipeline.transformer.named_parameters())
    assert sum("lora_A" in name for name in named) == 2 * 14 + 2 * 6


def test_transfer_paints_with_what_was_trained(
    train: Callable[..., CommandResult], folder: Path, whole: Path, tmp_path: Path
) -> None:
    flags = ["--prompt", "a fox", "--model", folder / "model", "--steps", 2, "--size", 32]
    flags += ["--lora", whole / "lora" / "megastyle_flux.safetensors", "-o", tmp_path / "fox.png"]

    result = train("transfer", "--style", folder / "imgs" / "0-0.png", *flags)

    assert result.returncode == 0, result.stderr.decode()
    assert (tmp_path / "fox.png").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_or_killed_and_resumed_equals_uninterrupted_bit_for_bit(
    train: Callable[..., CommandResult],
    arguments: list[str],
    whole: Path,
    tmp_path: Path,
    number: int,
) -> None:
    run = tmp_path / "run"
    code, stderr = signal_after_a_step([*arguments, *EVERY_STEP, "-o", str(run)], run, number)

    if number == signal.SIGTERM:
        assert code == 75 and "--resume continues" in stderr and (run / "stopped").exists()
    else:
        assert code == -signal.SIGKILL and not (run / "stopped").exists()
    assert not (run / "lora").exists()

    result = train(*arguments, "-o", run, "--resume")

    assert result.returncode == 0, result.stderr.decode()
    assert same_weights(run, whole) and metrics_of(run) == metrics_of(whole)


def test_two_processes_of_which_one_is_killed_resumed_equal_two_uninterrupted_bit_for_bit(
    arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    painting = ["--samples", 2, "--sample-every", STEPS]
    ranks = start_ranks([*arguments, *painting, "-o", one, "-q"])
    assert [rank.wait() for rank in ranks] == [0, 0]

    ranks = start_ranks([*arguments, *EVERY_STEP, "-o", two, "-q"], subprocess.PIPE)
    assert kill_one_after_a_step(ranks, two) == [(1, LOST_RANK)]
    assert not (two / "lora").exists()
    # where text is encoded changes nothing
    ranks = start_ranks([*arguments, "-o", two, "-q", "--resume", "--encode-text", "first"])

    assert [rank.wait() for rank in ranks] == [0, 0]
    assert same_weights(one, two) and metrics_of(one) == metrics_of(two)
    assert {path.name for path in (one / "samples").rglob("*.png")} == {
        *("0.png", "1.png", "ref-0.png", "ref-1.png", f"step-{STEPS:08}.png")  # one by each rank
    }
    # and the same pairs, noise and levels as one process, up to rounding
    for ours, alone in zip(metrics_of(one), metrics_of(whole), strict=True):
        if "loss" in ours:
            assert ours["loss"] == pytest.approx(alone["loss"], rel=1e-3)


def test_a_run_of_four_processes_is_continued_by_one_with_the_same_losses(
    train: Callable[..., CommandResult], arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ranks = start_ranks([*arguments, *EVERY_STEP, "-q", "-o", run], subprocess.PIPE, world=4)
    assert kill_one_after_a_step(ranks, run) == [(1, LOST_RANK)] * 3

    result = train(*arguments, "-o", run, "--resume")

    assert result.returncode == 0, result.stderr.decode()
    for one, other in zip(metrics_of(run), metrics_of(whole), strict=True):
        if "loss" in one:
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)


def test_text_encoded_first_gives_the_same_bytes(
    train: Callable[..., CommandResult], arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    result = train(*arguments, "--encode-text", "first", "-o", run)

    assert result.returncode == 0, result.stderr.decode()
    for word in (b"encoding 4 prompts first", b"encode all prompts first, then free their memory"):
        assert word in result.stderr
    assert same_weights(run, whole) and metrics_of(run) == metrics_of(whole)
    assert not (run / "words").exists()  # only while it trains


def test_chunk_and_recompute_change_the_result_only_by_rounding(
    train: Callable[..., CommandResult], arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    for flags in (["--chunk", "4"], ["--recompute", "all"], ["--recompute", "2"]):
        run = tmp_path / flags[1]
        result = train(*arguments, *flags, "--steps", 3, "-o", run)

        assert result.returncode == 0, result.stderr.decode()
        for ours, before in zip(metrics_of(run)[:4], metrics_of(whole), strict=False):
            if "loss" in ours:
                assert ours["loss"] == pytest.approx(before["loss"], rel=1e-4)


def test_training_starts_from_a_lora_in_either_format(
    train: Callable[..., CommandResult], arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    found = []
    for name in ("megastyle_flux.safetensors", "pytorch_lora_weights.safetensors"):
        run = tmp_path / Path(name).stem
        flags = ["--lora", whole / "lora" / name, "--steps", 1, "-o", run]
        assert train(*arguments, *flags).returncode == 0
        found.append(metrics_of(run))
        facts = json.loads((run / "run.json").read_text())["made_with"]
        assert facts["lora"] == sha256((whole / "lora" / name).read_bytes()).hexdigest()

    assert found[0] == found[1]
    trained = [line["held_out"]["loss"] for line in metrics_of(whole) if "held_out" in line]
    assert found[0][0]["held_out"]["loss"] == pytest.approx(trained[-1], rel=1e-3)


def test_a_small_flux_is_trained_from_scratch_and_transfer_reads_it(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "size.json").write_text(json.dumps(TRANSFORMER))
    run = tmp_path / "run"
    del arguments[arguments.index("--rank") : arguments.index("--rank") + 2]
    flags = ["--init", tmp_path / "size.json", "--ema", 0.5, "--schedule", "cosine", "-o", run]

    result = train(*arguments, *flags, "--export-dtype", "float32")

    assert result.returncode == 0, result.stderr.decode()
    assert lines(result.stdout)[0]["checkpoint"] == str(run / "flux")
    losses = [line["loss"] for line in metrics_of(run) if "loss" in line]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    painted = ["--prompt", "a fox", "--steps", 2, "--size", 32, "-o", tmp_path / "fox.png"]
    style = folder / "imgs" / "0-0.png"
    used = train("transfer", "--style", style, "--model", run / "flux", *painted)
    assert used.returncode == 0, used.stderr.decode()


def test_all_weights_of_a_model_are_trained_and_resumed(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    del arguments[arguments.index("--rank") : arguments.index("--rank") + 2]
    flags = [*arguments, "--full", "--ema", 0.9, "--steps", 4, "--lr", 0.001]
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(*flags, "-o", whole).returncode == 0
    code, _ = signal_after_a_step(
        [str(w) for w in (*flags, *EVERY_STEP, "-o", run)], run, signal.SIGKILL
    )
    assert code == -signal.SIGKILL

    assert train(*flags, "-o", run, "--resume").returncode == 0

    ours, theirs = (
        load_file(where / "flux" / "transformer" / "diffusion_pytorch_model.safetensors")
        for where in (run, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    before = load_file(folder / "model" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert not any(torch.equal(ours[name].float(), w) for name, w in before.items() if w.ndim > 1)


def test_explicit_pairs_are_trained_on(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    imgs = folder / "imgs"
    pair = {"style_file_name": str(imgs / "0-0.png"), "target_file_name": str(imgs / "0-1.png")}
    arguments[1] = str(jsonl(tmp_path / "pairs.jsonl", [{**pair, "content": "a thing"}]))

    result = train(*arguments, "--holdout", 0, "--steps", 2, "-o", tmp_path / "run")

    assert result.returncode == 0, result.stderr.decode()
    assert b"1 styles or pairs for training" in result.stderr


def test_rows_of_the_official_parquet_are_trained_on_and_not_copied(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    pa = pytest.importorskip("pyarrow")
    rows = [
        {
            "id": f"s{style}_c{n}",
            "image": {
                "bytes": (folder / "imgs" / f"{style}-{n}.png").read_bytes(),
                "path": "x.jpg",
            },
            "content": f"thing {LETTERS[n]}",
            "style": "In the style of ink.",
        }
        for style in range(3)
        for n in range(4)
    ]
    pytest.importorskip("pyarrow.parquet").write_table(
        pa.Table.from_pylist(rows), tmp_path / "train-00000.parquet", row_group_size=5
    )
    arguments[1] = str(tmp_path / "train-00000.parquet")

    result = train(*arguments, "--holdout", 0, "--steps", 2, "-o", tmp_path / "run")

    assert result.returncode == 0, result.stderr.decode()
    assert b"3 styles or pairs for training" in result.stderr and b"0 records" in result.stderr
    assert not list((tmp_path / "run").rglob("*.png"))
    assert b"12 images are in parquet files" in result.stderr and b"--pack DIR" in result.stderr

    packing = train("train-flux", arguments[1], "--size", 32, "--pack", tmp_path / "shards")
    assert packing.returncode == 0 and b"train-flux: 12 in" in packing.stderr
    arguments[1] = str(tmp_path / "shards")
    result = train(*arguments, "--holdout", 0, "--steps", 1, "-o", tmp_path / "packed")

    assert result.returncode == 0, result.stderr.decode()
    assert b"3 styles or pairs for training" in result.stderr and b"parquet" not in result.stderr


def test_unusable_records_are_counted_and_reported(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    records = lines(folder / "imgs" / "metadata.jsonl")
    records[0]["style_id"] = "alone"
    records += [{"id": "words", "content": "no picture"}, {"id": "mute", "file_name": "0-1.png"}]
    records += [{"id": "half", "target_file_name": "0-1.png", "content": "a thing"}]
    known = {"style_id": "s0", "file_name": "0-1.png"}
    records += [{**known, "id": "torn", "content": "thing \ud800"}]
    records += [{**known, "id": "strange", "content": "thing 7"}]  # the tiny model knows letters
    arguments[1] = str(jsonl(folder / "imgs" / "odd.jsonl", records))

    result = train(*arguments, "--steps", 1, "--max-errors", 5, "-o", tmp_path / "run")

    assert result.returncode == 0, result.stderr.decode()
    assert b"1 styles omitted (only one image), 5 records unusable" in result.stderr
    failed = lines(tmp_path / "run" / "errors.jsonl")
    assert {record["id"] for record in failed} == {"words", "mute", "half", "torn", "strange"}
    assert {record["_error"]["step"] for record in failed} == {"train-flux"}


def test_contents_of_unknown_words_only_are_exit_3_with_the_known_words(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    arguments[3] = "builtin-flux"

    result = train(*arguments, "-o", tmp_path / "run")

    assert result.returncode == 3, result.stderr.decode()
    assert b"24 of 24 records have words that builtin-flux does not know" in result.stderr
    assert b"does not know thing, " in result.stderr and b"it knows bell" in result.stderr
    assert not (tmp_path / "run").exists()


def test_an_unreadable_reference_is_replaced_counted_and_reported(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    imgs = tmp_path / "imgs"
    imgs.mkdir()
    for path in (folder / "imgs").iterdir():
        content = path.read_bytes()
        (imgs / path.name).write_bytes(content[:50] if path.stem == "1-2" else content)
    arguments[1] = str(imgs)

    result = train(*arguments, "--holdout", 0, "--max-errors", 1, "-o", tmp_path / "run")

    assert result.returncode == 0, result.stderr.decode()
    (failed,) = lines(tmp_path / "run" / "errors.jsonl")
    assert failed["id"] == "1-2" and failed["_error"]["kind"] == "bad_image"
    assert b"1 unusable" in result.stderr


def test_no_readable_image_is_exit_3_with_the_first_reason(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    records = lines(folder / "imgs" / "metadata.jsonl")
    gone = [{**record, "file_name": f"gone-{record['id']}.png"} for record in records]
    arguments[1] = str(jsonl(folder / "imgs" / "gone.jsonl", gone))

    result = train(*arguments, "--holdout", 0, "-o", tmp_path / "run")

    assert result.returncode == 3, result.stderr.decode()
    assert b"the first of 24 failures: " in result.stderr and b".png does not" in result.stderr


def test_out_of_memory_while_encoding_images_is_reported(
    train: Callable[..., CommandResult],
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fill(*_: object) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr("megastyle_cli.training.flux.batch.encode_pixels", fill)
    result = train(*arguments, "-o", tmp_path / "run")

    assert result.returncode == 1, result.stderr.decode()
    assert b"out of memory at step 0 with 2 pairs at once" in result.stderr
    assert b"Give --chunk 1 and --resume" in result.stderr


@pytest.mark.parametrize("what", ["text encoder", "checkpoint"])
def test_out_of_memory_while_reading_weights_is_reported(
    train: Callable[..., CommandResult],
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    def fill(*_: object, **__: object) -> None:
        raise RuntimeError(
            "unable to mmap 9 bytes from file <weights>: Cannot allocate memory (12)"
        )

    run = tmp_path / "run"
    assert train(*arguments, "--steps", 1, "-o", run).returncode == 0
    if what == "checkpoint":
        monkeypatch.setattr("megastyle_cli.training.flux.trainable.read_lora", fill)
    else:
        monkeypatch.setattr(T5EncoderModel, "from_pretrained", fill)

    result = train(*arguments, "--steps", 1, "-o", run, "--resume")

    assert result.returncode == 1, result.stderr.decode()
    stderr = "".join(result.stderr.decode().splitlines()[-2:])
    assert "fit" in stderr and "a smaller" in stderr and "more memory" in stderr


def test_a_loss_that_is_not_finite_stops_it_and_saves_the_ids(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"

    result = train(*arguments, "--lr", "1e30", "-o", run)

    assert result.returncode == 1, result.stderr.decode()
    (path,) = run.glob("stopped-at-*.json")
    facts = json.loads(path.read_text())
    assert len(facts["ids"]) == 4 and f"at step {facts['step']}" in result.stderr.decode()
    assert b"Traceback" not in result.stderr and not (run / "lora").exists()


def test_a_full_disk_leaves_no_half_checkpoint(
    megastyle: Runner, arguments: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [*arguments, "-o", run]

    result = megastyle(*command, max_file_kib=20)

    assert result.returncode == 1, result.stderr.decode()
    assert b"could not be written" in result.stderr and b"Traceback" not in result.stderr
    assert not list((run / "checkpoints").iterdir()) and not list(run.rglob("*.tmp"))


def test_a_full_disk_keeps_the_previous_finished_weights(
    megastyle: Runner, train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments += ["--steps", "1", "--checkpoint-every", "9", "-o", str(run)]
    assert train(*arguments).returncode == 0
    before = {path.name: path.read_bytes() for path in (run / "lora").iterdir()}
    command = [*arguments, "--resume"]

    result = megastyle(*command, max_file_kib=10)

    assert result.returncode == 1, result.stderr.decode()
    assert b"could not be written" in result.stderr
    assert {path.name: path.read_bytes() for path in (run / "lora").iterdir()} == before


def test_a_disk_that_fills_up_in_the_metrics_is_reported_with_the_file(
    megastyle: Runner, arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    limit = 2 + (whole / "run.json").stat().st_size // 1024
    arguments += ["--checkpoint-every", "99", "--validate-every", "1", "--steps", "99"]
    command = [*arguments, "-o", run]

    result = megastyle(*command, max_file_kib=limit)

    assert result.returncode == 1, result.stderr.decode()
    assert (
        b"metrics.jsonl: file too large\n       Make room and continue with --resume"
        in result.stderr
    )


def test_a_run_is_resumed_with_the_same_options_and_model_only(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    run, model = tmp_path / "run", tmp_path / "model"
    save_tiny_flux(model, text_tokens=16)
    arguments[3] = str(model)
    assert train(*arguments, "--steps", 1, "-o", run).returncode == 0

    rejected = train(*arguments, "--steps", 1, "-o", run)
    assert rejected.returncode == 2 and b"--resume" in rejected.stderr
    other = train(*arguments, "--steps", 1, "--timesteps", "uniform", "-o", run, "--resume")
    assert other.returncode == 2
    assert b"timesteps was 'megastyle' and is 'uniform'" in other.stderr
    save_tiny_flux(model, seed=1, text_tokens=16)
    changed = train(*arguments, "--steps", 1, "-o", run, "--resume")
    assert changed.returncode == 2 and b"was started with" in changed.stderr


def test_two_trainings_cannot_share_a_folder(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    import fcntl

    run = tmp_path / "run"
    assert train(*arguments, "--steps", 1, "-o", run).returncode == 0
    held = os.open(run, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)

    result = train(*arguments, "--steps", 1, "-o", run, "--resume")

    os.close(held)
    assert result.returncode == 75 and b"another process is training in" in result.stderr


def lora_of(path: Path, *, width: int = 32, rank: int = 4, blocks: int = 2) -> Path:
    """A LoRA file that fits the tiny FLUX by default."""
    sizes = {"modulation_lin": 3, "img_mod_lin": 6, "txt_mod_lin": 6, "linear1": 7}
    sizes |= {"img_attn_qkv": 3, "txt_attn_qkv": 3, "img_mlp_0": 4, "txt_mlp_0": 4}
    inputs = {"img_mlp_2": 4, "txt_mlp_2": 4, "linear2": 5}
    lora = {}
    for target in target_modules(blocks, blocks):
        stem = next(s for s in (*sizes, *inputs, "") if target.official.endswith(s))
        down = torch.zeros(rank, width * inputs.get(stem, 1))
        lora[target] = LoraFactors(down, torch.ones(width * sizes.get(stem, 1), rank), rank)
    save_lora(lora, path)
    return path


@pytest.mark.parametrize(
    ("made", "word"),
    [
        ({"rank": 8}, "has rank 8, but --rank is 4"),
        ({"width": 48}, "the LoRA has 4 x 48 weights for"),
        ({"blocks": 3}, "which fit 26 of 26 modules"),
        ({"blocks": 1}, "which fit 13 of 26 modules"),
    ],
)
def test_a_lora_of_another_base_is_rejected(
    train: Callable[..., CommandResult],
    arguments: list[str],
    tmp_path: Path,
    made: dict[str, int],
    word: str,
) -> None:
    path = lora_of(tmp_path / "lora.safetensors", **made)

    result = train(*arguments, "--lora", path, "-o", tmp_path / "run")

    assert result.returncode == 2 and word in result.stderr.decode(), result.stderr.decode()


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (["--size", "40"], "--size 40 is not a multiple of 16"),
        (["--model", "missing/"], "there is no model folder missing/"),
        (["--targets", "img_attn_qkv,to_q"], "--targets has 'to_q'"),
        (["--label", "licence"], "the first: record 0-0 has no licence"),
        (["--chunk", "0"], "auto or a number N"),
        (["--init", "missing.json"], "not a readable config"),
        (["--full"], "--rank cannot be combined with --full"),
        (["-o", "-"], "-o DIR"),
    ],
)
def test_bad_options_are_exit_2_with_a_hint(
    train: Callable[..., CommandResult],
    arguments: list[str],
    tmp_path: Path,
    changed: list[str],
    word: str,
) -> None:
    if "--init" in changed:
        del arguments[arguments.index("--rank") : arguments.index("--rank") + 2]

    result = train(*arguments, "-o", tmp_path / "run", *changed)

    assert result.returncode == 2 and word in result.stderr.decode(), result.stderr.decode()
    assert result.stdout == b"" and b"Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()  # so that the corrected command can run


def test_dry_run_prints_what_would_be_done_and_writes_nothing(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    result = train(*arguments, "-o", tmp_path / "run", "-n")

    assert result.returncode == 0 and result.stdout == b""
    assert b"24 steps of 4 pairs" in result.stderr
    assert not (tmp_path / "run").exists()
