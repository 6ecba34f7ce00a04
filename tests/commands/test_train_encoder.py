"""train-encoder's contract: what it writes, how it stops and resumes, what it rejects."""

import json
import pickle
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import SiglipVisionModel

from tests import fork_server
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
from tests.conftest import Runner, jsonl, lines
from tests.models.encoders.hub_siglip import siglip2_of_the_hub, siglip_of_the_hub

__all__ = ["train"]  # a fixture

SIZE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
COLOURS = ["teal", "orange", "crimson", "ivory", "navy", "olive"]
STEPS = 30  # enough that a signal always finds it at work


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 images of six styles with prompts, and the config of a tiny tower."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "imgs").mkdir()
    records = []
    for style, colour in enumerate(COLOURS):
        for n in range(6):
            noise = np.random.default_rng(10 * style + n).integers(0, 60, (20, 20, 3))
            base = np.asarray(Image.new("RGB", (20, 20), colour))
            picture = Image.fromarray(np.clip(base - noise, 0, 255).astype(np.uint8))
            picture.save(folder / "imgs" / f"{style}-{n}.png")
            prompt = f"In the style of {colour} ink"
            name = f"{style}-{n}"
            records.append(
                {"id": name, "file_name": f"{name}.png", "style_id": colour, "style": prompt}
            )
    jsonl(folder / "imgs" / "metadata.jsonl", records)
    (folder / "size.json").write_text(json.dumps(SIZE))
    return folder


@pytest.fixture
def arguments(folder: Path) -> list[str]:
    """A training on five styles, one held out."""
    flags = ["train-encoder", folder / "imgs", "--init", folder / "size.json", "--steps", STEPS]
    flags += ["--global-batch", 8, "--images-per-style", 2, "--chunk", 3, "--holdout", 0.2]
    return [*map(str, flags), "--lr", "0.01", "--validate-every", "15", "--checkpoint-every", "10"]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder" / "model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = weights_of(one), weights_of(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture(scope="module")
def whole(folder: Path, megastyle: Runner) -> Path:
    """An uninterrupted run."""
    run = folder / "whole"
    flags = ["train-encoder", folder / "imgs", "--init", folder / "size.json", "--steps", STEPS]
    flags += ["--global-batch", 8, "--images-per-style", 2, "--chunk", 3, "--holdout", 0.2]
    flags += ["--lr", 0.01, "--validate-every", 15, "--checkpoint-every", 10]
    result = megastyle(*flags, "-o", run, "--stats", folder / "stats.json")
    assert result.returncode == 0, result.stderr.decode()
    (folder / "stdout.jsonl").write_bytes(result.stdout)
    (folder / "stderr.txt").write_bytes(result.stderr)
    return run


def test_it_prints_a_plan_first_and_one_json_line_last(folder: Path, whole: Path) -> None:
    (line,) = lines(folder / "stdout.jsonl")
    stderr = (folder / "stderr.txt").read_text()

    assert line["step"] == STEPS and line["checkpoint"] == str(whole / "encoder")
    assert line["loss"] == pytest.approx(line["style_loss"] + line["text_loss"])
    assert line["held_out"]["queries"] == 6 and line["_megastyle"]["train-encoder"]["run"]
    for word in (
        "30 images of 5 styles",
        "6 of 1 held out",
        "batch 8 = 4 styles x 2",
        "3 chunks of 3 images, each embedded twice",
        "all activations kept: about",
        "30 steps of adamw, cosine schedule",
    ):
        assert word in stderr
    assert stderr.splitlines()[-1].startswith("train-encoder: step 30 of 30 \u00b7 loss")
    stats = json.loads((folder / "stats.json").read_text())
    assert stats["command"] == "train-encoder" and stats["in"] == 36 and stats["step"] == STEPS


def test_metrics_have_every_step_and_every_validation(whole: Path) -> None:
    metrics = metrics_of(whole)

    steps = [line for line in metrics if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert all(line["without_positive"] == 0 for line in steps)
    assert steps[0]["lr"] > steps[-1]["lr"] > 0
    assert [line["step"] for line in metrics if "held_out" in line] == [0, 15, 30]


def test_the_encoder_loads_with_transformers_and_retrieves(
    train: Callable[..., CommandResult], folder: Path, whole: Path
) -> None:
    model, info = SiglipVisionModel.from_pretrained(whole / "encoder", output_loading_info=True)
    official = torch.load(whole / "encoder" / "encoder.pth", weights_only=True)["model"]

    assert not any(info.values())
    assert set(official) == {f"vision_model.{name}" for name in model.state_dict()}
    assert {w.dtype for w in official.values()} == {torch.float16}
    for named in (whole / "encoder", whole / "encoder" / "encoder.pth", whole / "latest"):
        result = train(
            *("retrieve", folder / "imgs" / "0-0.png", "--index", folder / "imgs", "--top", 2),
            *("--model", named),
        )
        assert result.returncode == 0, result.stderr.decode()
        assert len(lines(result.stdout)[0]["neighbors"]) == 2
    scored = train("eval", folder / "imgs", "--model", whole / "encoder")
    assert scored.returncode == 0 and lines(scored.stdout)[0]["recall_1"] > 0.2


def test_the_encoder_lists_the_styles_that_it_was_trained_on(whole: Path) -> None:
    known = json.loads((whole / "encoder" / "trained_on.json").read_text())

    assert len(known["styles"]) == 5 and known["styles"] == sorted(known["styles"])


def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(
    train: Callable[..., CommandResult], arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, stderr = signal_after_a_step(
        [*arguments, *EVERY_STEP, "-o", str(run)], run, signal.SIGTERM
    )

    assert code == 75 and "--resume continues" in stderr and (run / "stopped").exists()
    assert not (run / "encoder").exists() and (run / "latest" / "training.pt").exists()
    stopped_at = len([line for line in metrics_of(run) if "loss" in line])
    assert 0 < stopped_at < STEPS

    result = train(*arguments, "-o", run, "--resume")

    assert result.returncode == 0, result.stderr.decode()
    assert not (run / "stopped").exists()
    assert same_weights(run, whole) and metrics_of(run) == metrics_of(whole)
    assert f"from step {stopped_at}" in result.stderr.decode()


def test_a_killed_run_resumes_from_its_last_checkpoint(
    train: Callable[..., CommandResult], arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, _ = signal_after_a_step([*arguments, *EVERY_STEP, "-o", str(run)], run, signal.SIGKILL)
    assert code == -signal.SIGKILL

    result = train(*arguments, "-o", run, "--resume")

    assert result.returncode == 0, result.stderr.decode()
    assert same_weights(run, whole) and metrics_of(run) == metrics_of(whole)


def test_an_existing_run_is_not_touched_by_default_but_can_be_resumed(
    train: Callable[..., CommandResult], arguments: list[str], whole: Path
) -> None:
    rejected = train(*arguments, "-o", whole)
    assert rejected.returncode == 2 and b"--resume" in rejected.stderr

    other = train(*arguments, "--temperature", 0.2, "-o", whole, "--resume")
    assert other.returncode == 2 and b"temperature was 0.1 and is 0.2" in other.stderr

    before = (whole / "encoder" / "model.safetensors").read_bytes()
    finished = train(*arguments, "-o", whole, "--resume")
    assert finished.returncode == 0, finished.stderr.decode()
    assert lines(finished.stdout)[0]["step"] == STEPS
    assert (whole / "encoder" / "model.safetensors").read_bytes() == before


def test_overwrite_replaces_a_run_and_nothing_else(
    train: Callable[..., CommandResult], arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    rejected = train(*arguments, "-o", mine, "--overwrite")
    assert rejected.returncode == 2 and (mine / "thesis.txt").exists()

    run = tmp_path / "run"
    assert train(*arguments, "-o", run, "--seed", 3).returncode == 0
    assert not same_weights(run, whole)
    assert train(*arguments, "-o", run, "--overwrite").returncode == 0
    assert same_weights(run, whole) and metrics_of(run) == metrics_of(whole)

    lost = train(*arguments, "-o", run, "--overwrite", "--init", tmp_path / "nothing")
    assert lost.returncode == 2 and b"nothing" in lost.stderr
    assert same_weights(run, whole) and metrics_of(run) == metrics_of(whole)


def test_two_processes_train_the_same_encoder(
    arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first, second = start_ranks([*arguments, "-o", run], subprocess.PIPE)
    stdout, stderr = first.communicate()

    assert second.communicate() == (b"", b"")  # the second rank is silent
    assert [first.returncode, second.returncode] == [0, 0], stderr.decode()
    assert len(lines(stdout)) == 1
    assert stderr.decode().count("batch 8 = 4 styles x 2, 2 x 4") == 1
    # not the weights: under Adam a gradient of rounding size moves one by up to the learning rate
    for one, other in zip(metrics_of(run), metrics_of(whole), strict=True):
        if "loss" in one:
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_one_of_four_processes_killed_ends_the_others_and_one_process_continues(
    train: Callable[..., CommandResult], arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ranks = start_ranks([*arguments, *EVERY_STEP, "-q", "-o", run], subprocess.PIPE, world=4)
    assert kill_one_after_a_step(ranks, run) == [(1, LOST_RANK)] * 3
    assert not (run / "encoder").exists()

    result = train(*arguments, "-o", run, "--resume")

    assert result.returncode == 0, result.stderr.decode()
    assert b"1 x 8 on" in result.stderr  # the ranks had two images each
    for one, other in zip(metrics_of(run), metrics_of(whole), strict=True):
        if "loss" in one:
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)


def test_accelerate_launch_starts_it(arguments: list[str], tmp_path: Path) -> None:
    fork_server.write_program(tmp_path / "megastyle")
    command = ["--cpu", "--no_python", tmp_path / "megastyle", *arguments, "-o", tmp_path / "run"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    launched = fork_server.start(*command, module="accelerate.commands.launch", **pipes)
    stdout, stderr = launched.communicate()

    assert launched.returncode == 0, stderr.decode()
    assert lines(stdout)[0]["step"] == STEPS


@pytest.mark.parametrize("make", [siglip_of_the_hub, siglip2_of_the_hub])
def test_the_hub_s_models_start_with_their_own_text_tower(
    train: Callable[..., CommandResult], folder: Path, tmp_path: Path, make: Callable[..., Path]
) -> None:
    flags = ["--init", make(tmp_path / "model"), "--steps", 1, "--global-batch", 8]
    flags += ["--images-per-style", 2, "--holdout", 0, "-o", tmp_path / "run"]

    result = train("train-encoder", folder / "imgs", *flags)

    assert result.returncode == 0, result.stderr.decode()
    (path,) = (tmp_path / "run" / "prompts").glob("*.npz")
    with np.load(path) as prompts:
        assert prompts["vectors"].shape == (len(COLOURS), 32)
    assert b"siglip-text@" in result.stderr


def test_memory_decides_by_default_and_the_plan_is_printed_first(
    train: Callable[..., CommandResult], folder: Path, tmp_path: Path
) -> None:
    flags = [
        "--init",
        folder / "size.json",
        "--steps",
        1,
        "--global-batch",
        8,
        "-o",
        tmp_path / "r",
    ]

    result = train("train-encoder", folder / "imgs", *flags, "--images-per-style", 2)

    assert result.returncode == 0, result.stderr.decode()
    stderr = result.stderr.decode()
    assert "memory: one pass over 8 images, all activations kept: about" in stderr
    assert stderr.index("GiB free") < stderr.index("step 1 of 1")


def test_a_run_can_be_resumed_with_another_chunk_or_recompute(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert train(*arguments, "--steps", 2, "-o", run).returncode == 0

    result = train(*arguments, "--steps", 2, "-o", run, "--resume", "--chunk", 5, "--recompute", 1)

    assert result.returncode == 0, result.stderr.decode()


def test_it_trains_from_parquet_and_suggests_what_is_faster(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = []
    for record in lines(folder / "imgs" / "metadata.jsonl"):
        data = (folder / "imgs" / record["file_name"]).read_bytes()
        known = {"image": {"bytes": data, "path": "x.png"}, "style_id": record["style_id"]}
        rows.append({**known, "style": record["style"]})
    packed = tmp_path / "train-00000.parquet"
    pq.write_table(pa.Table.from_pylist(rows), packed, row_group_size=7)
    where = arguments.index(str(folder / "imgs"))
    arguments[where] = str(packed)

    result = train(*arguments, "--text-weight", "0", "-o", tmp_path / "run")

    assert result.returncode == 0, result.stderr.decode()
    assert b"images are in parquet files" in result.stderr and b"--pack DIR" in result.stderr
    losses = [line["loss"] for line in metrics_of(tmp_path / "run") if "loss" in line]
    assert len(losses) == STEPS


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_every_optimizer_and_schedule_lowers_the_loss(
    train: Callable[..., CommandResult],
    arguments: list[str],
    tmp_path: Path,
    optimizer: str,
    schedule: str,
) -> None:
    flags = ["--optimizer", optimizer, "--schedule", schedule, "--text-weight", "0", "--lr", "0.02"]

    result = train(*arguments, *flags, "--no-flip", "--crop", "1", "-o", tmp_path / "run")

    assert result.returncode == 0, result.stderr.decode()
    steps = [line for line in metrics_of(tmp_path / "run") if "loss" in line]
    assert sum(line["loss"] for line in steps[-5:]) < 0.95 * sum(line["loss"] for line in steps[:5])
    assert (steps[-1]["lr"] == 0.02) is (schedule == "constant")


def test_validation_is_among_other_contents_where_records_name_them(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    records = lines(folder / "imgs" / "metadata.jsonl")
    changed = [{**record, "content": int(record["id"][2:]) // 2} for record in records]
    arguments[1] = str(jsonl(folder / "imgs" / "contents.jsonl", changed))
    arguments += ["--steps", "1", "--content-label", "content"]

    result = train(*arguments, "-o", tmp_path / "run")
    unknown = train(*arguments, "--content-label", "subject", "-o", tmp_path / "other")

    held_out = lines(result.stdout)[0]["held_out"]
    assert held_out["other_contents_only"] is True and held_out["queries"] == 6
    assert lines(unknown.stdout)[0]["held_out"]["other_contents_only"] is False


def test_contents_that_follow_the_style_are_not_excluded(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    records = lines(folder / "imgs" / "metadata.jsonl")
    changed = [{**record, "content_id": record["style_id"]} for record in records]
    arguments[1] = str(jsonl(folder / "imgs" / "one-content.jsonl", changed))

    result = train(*arguments, "--steps", "1", "-o", tmp_path / "run")

    assert result.returncode == 0, result.stderr.decode()
    assert lines(result.stdout)[0]["held_out"]["other_contents_only"] is False


def test_the_loss_falls_with_every_other_option_too(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    flags = [*arguments, "--steps", "40", "--ema", "0.9", "--recompute", "2", "--dtype", "bfloat16"]
    flags += ["--no-flip", "--crop", "1", "--text-weight", "0", "--export-dtype", "bfloat16"]

    result = train(*flags, "-o", tmp_path / "run")

    assert result.returncode == 0, result.stderr.decode()
    losses = [line["loss"] for line in metrics_of(tmp_path / "run") if "loss" in line]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert "text_loss" not in lines(result.stdout)[0]
    averaged = weights_of(tmp_path / "run")
    last = load_file(tmp_path / "run" / "latest" / "model.safetensors")
    assert any(not torch.equal(averaged[name], last[name]) for name in last)


def test_recomputing_activations_changes_nothing(
    train: Callable[..., CommandResult], arguments: list[str], whole: Path, tmp_path: Path
) -> None:
    assert train(*arguments, "--recompute", "all", "-o", tmp_path / "run").returncode == 0

    assert same_weights(tmp_path / "run", whole)


def broken(folder: Path, tmp_path: Path, names: list[str]) -> Path:
    """The images of `folder`, some of them truncated."""
    imgs = tmp_path / "imgs"
    imgs.mkdir()
    for path in (folder / "imgs").iterdir():
        content = path.read_bytes()
        (imgs / path.name).write_bytes(content[:50] if path.stem in names else content)
    return imgs


def test_a_corrupt_image_is_replaced_counted_and_reported(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    arguments[1] = str(broken(folder, tmp_path, ["1-2", "4-4"]))

    flags = [*arguments, "--max-errors", 2, "--steps", 8, "--stats", tmp_path / "stats.json"]
    result = train(*flags, "-o", tmp_path / "run")

    assert result.returncode == 0, result.stderr.decode()
    assert b"2 unusable" in result.stderr
    assert json.loads((tmp_path / "stats.json").read_text())["kinds"] == {"bad_image": 2}
    failed = lines(tmp_path / "run" / "errors.jsonl")
    assert {record["id"] for record in failed} == {"1-2", "4-4"}
    assert {record["_error"]["kind"] for record in failed} == {"bad_image"}
    assert all((tmp_path / "run" / record["file_name"]).exists() for record in failed)


def test_too_many_corrupt_images_stop_it_with_a_checkpoint(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    arguments[1] = str(broken(folder, tmp_path, ["1-2", "4-4"]))
    run = tmp_path / "run"

    stopped = train(*arguments, "-o", run, "--max-errors", 1, "--steps", 8)

    assert stopped.returncode == 3 and b"more than --max-errors" in stopped.stderr
    assert stopped.stdout == b"" and (run / "latest").exists()
    tolerant = train(*arguments, "-o", run, "--max-errors", 2, "--steps", 8, "--resume")
    assert tolerant.returncode == 0, tolerant.stderr.decode()


def test_a_style_of_corrupt_images_is_counted_and_the_run_continues(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    imgs = broken(folder, tmp_path, [f"1-{n}" for n in range(6)])
    arguments = [*arguments, "--holdout", "0", "--steps", "8"]
    arguments[1] = str(imgs)
    run = tmp_path / "run"

    stopped = train(*arguments, "-o", run, "--max-errors", 5)

    assert stopped.returncode == 3, stopped.stderr.decode()
    assert b"6 records cannot be used, more than --max-errors" in stopped.stderr
    assert (run / "latest").exists() and len(lines(run / "errors.jsonl")) == 6
    resumed = train(*arguments, "-o", run, "--max-errors", 6, "--resume")
    assert resumed.returncode == 0 and b"6 unusable" in resumed.stderr
    assert train(*arguments, "-o", tmp_path / "whole", "--max-errors", 6).returncode == 0
    assert same_weights(run, tmp_path / "whole")


def test_missing_images_stop_it_with_a_checkpoint(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    imgs, run = broken(folder, tmp_path, []), tmp_path / "run"
    arguments = [*arguments, "--holdout", "0", "--steps", "8"]
    arguments[1] = str(imgs)
    pictures = [(path, path.read_bytes()) for path in imgs.glob("*.png")]
    for path, _ in pictures:
        path.unlink()

    gone = train(*arguments, "-o", run)

    assert gone.returncode == 3 and b"none of the 36 training images" in gone.stderr
    assert (run / "latest").exists()
    for path, content in pictures:
        path.write_bytes(content)
    assert train(*arguments, "-o", run, "--resume").returncode == 0


def test_a_corrupt_image_of_a_held_out_style_is_reported_and_counted(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    imgs = broken(folder, tmp_path, ["1-2"])
    records = lines(imgs / "metadata.jsonl")
    changed = [
        {**r, "split": "heldout" if r["style_id"] == COLOURS[1] else "train"} for r in records
    ]
    arguments[1] = str(jsonl(imgs / "metadata.jsonl", changed))
    arguments += ["--split-key", "split", "-o", str(tmp_path / "run"), "--steps", "2"]

    stopped = train(*arguments, "--max-errors", 0)

    assert stopped.returncode == 3 and b"1 records cannot be used" in stopped.stderr
    assert b"1-2.png" in stopped.stderr
    result = train(*arguments, "--max-errors", 1, "--resume")
    assert result.returncode == 0 and b"1 unusable" in result.stderr


def test_a_loss_that_is_not_finite_stops_it_and_saves_the_ids(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"

    result = train(*arguments, "--lr", "1e30", "--clip", "0", "-o", run)

    assert result.returncode == 1, result.stderr.decode()
    (path,) = run.glob("stopped-at-*.json")
    facts = json.loads(path.read_text())
    assert len(facts["ids"]) == 8 and str(path) in result.stderr.decode()
    assert f"at step {facts['step']}" in result.stderr.decode()
    assert b"Traceback" not in result.stderr and not (run / "encoder").exists()


def test_the_advice_after_a_loss_that_is_not_finite_works(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    arguments += ["--checkpoint-every", "100", "--steps", "8", "-o", str(tmp_path / "run")]

    result = train(*arguments, "--lr", "1e30", "--clip", "0")

    assert result.returncode == 1 and b"lower --lr and --resume --force" in result.stderr
    calmer = train(*arguments, "--clip", "0", "--resume", "--force")
    assert calmer.returncode == 0, calmer.stderr.decode()


def test_a_full_disk_keeps_the_last_checkpoint(
    megastyle: Runner,
    train: Callable[..., CommandResult],
    arguments: list[str],
    whole: Path,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"

    result = megastyle(*arguments, "-o", run, max_file_kib=10)

    assert result.returncode == 1, result.stderr.decode()
    assert b"could not be written" in result.stderr and b"Traceback" not in result.stderr
    assert not [path for path in run.rglob("*.tmp")]
    assert train(*arguments, "-o", run, "--resume").returncode == 0
    assert same_weights(run, whole)


def test_dry_run_prints_what_would_be_done_and_writes_nothing(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    result = train(*arguments, "-o", tmp_path / "run", "-n")

    assert result.returncode == 0 and result.stdout == b""
    assert b"30 images of 5 styles" in result.stderr and b"30 steps" in result.stderr
    assert not (tmp_path / "run").exists()


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("from pathlib import Path; Path('went-off').touch()",)


def test_a_pickle_with_code_is_rejected_and_not_run(
    train: Callable[..., CommandResult],
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps(Bomb(), 2))
    arguments[3] = str(tmp_path / "bomb.pth")

    result = train(*arguments, "-o", tmp_path / "run")

    assert result.returncode == 2 and b"nothing in it was executed" in result.stderr
    assert not (tmp_path / "went-off").exists()


def test_truncated_weights_are_rejected_and_leave_no_folder(
    train: Callable[..., CommandResult], arguments: list[str], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.pth"
    torch.save({"head.probe": torch.zeros(1, 1, 4096)}, cut)
    cut.write_bytes(cut.read_bytes()[:9000])
    arguments[3] = str(cut)

    result = train(*arguments, "-o", tmp_path / "run")

    assert result.returncode == 2 and f"{cut} is damaged".encode() in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changed, word",
    [
        (["--init", "missing/"], b"there is no model"),
        (["--global-batch", "9"], b"not a multiple"),
        (["--global-batch", "80"], b"Give at most 30"),
        (["--label", "licence"], b"at least two images each, found 0"),
        (["--max-errors", "some"], b"--max-errors"),
        (["--limit", "6"], b"at least two images each, found 1"),
        (["--chunk", "0"], b"auto or a number N"),
        (["--recompute", "some"], b"auto, none, all or a number"),
        (["-o", "-"], b"-o DIR"),
    ],
)
def test_bad_options_are_exit_2_with_a_hint(
    train: Callable[..., CommandResult],
    arguments: list[str],
    tmp_path: Path,
    changed: list[str],
    word: bytes,
) -> None:
    result = train(*arguments, "-o", tmp_path / "run", *changed)

    assert result.returncode == 2 and word in result.stderr, result.stderr.decode()
    assert result.stdout == b"" and b"Traceback" not in result.stderr


def test_required_options_are_asked_for(
    train: Callable[..., CommandResult], folder: Path, tmp_path: Path
) -> None:
    for flags, word in [
        (["--init", folder / "size.json"], b"-o DIR"),
        (["-o", tmp_path / "run"], b"--init"),
    ]:
        result = train("train-encoder", folder / "imgs", *flags)
        assert result.returncode == 2 and word in result.stderr


def test_styles_without_a_prompt_need_the_text_term_off(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    changed = [{**record, "style": None} for record in lines(folder / "imgs" / "metadata.jsonl")]
    listing = jsonl(folder / "imgs" / "bare.jsonl", changed)
    arguments[1] = str(listing)

    result = train(*arguments, "-o", tmp_path / "run")
    assert result.returncode == 2 and b"5 of 5 styles have no prompt" in result.stderr

    result = train(*arguments, "-o", tmp_path / "run", "--text-weight", 0, "--overwrite")
    assert result.returncode == 0, result.stderr.decode()


def test_an_image_alone_in_its_style_is_left_out_and_counted(
    train: Callable[..., CommandResult], folder: Path, arguments: list[str], tmp_path: Path
) -> None:
    records = lines(folder / "imgs" / "metadata.jsonl")
    records[3]["style_id"] = "alone"
    arguments[1] = str(jsonl(folder / "imgs" / "alone.jsonl", records))

    result = train(*arguments, "-o", tmp_path / "run", "-n")

    assert b"1 omitted (the only image of their style)" in b" ".join(result.stderr.split())
