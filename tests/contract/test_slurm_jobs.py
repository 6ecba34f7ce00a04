"""The Slurm jobs of examples/ beside stand-ins for Slurm; tests/slurm/ runs them on a real one."""

import json
import re
from pathlib import Path

import pytest

from megastyle_cli.core.shard import Shard
from tests.contract.test_docs import executable, start, working_folder
from tests.contract.tree import ROOT

JOBS = sorted((ROOT / "examples" / "slurm").glob("*.sbatch"))
ARRAYS = [job for job in JOBS if "--array" in job.read_text()]
ALONE = [job for job in ARRAYS if "gpu" not in job.name]  # the others start a server or a launcher
ARRAY = {"MIN": "0", "MAX": "63", "COUNT": "64", "ID": "3", "STEP": "1"}
TASK = {f"SLURM_ARRAY_TASK_{name}": value for name, value in ARRAY.items()}
TASK |= {"SLURM_ARRAY_JOB_ID": "36", "SLURM_JOB_ID": "36"}
PHOTO, PAINTING = "examples/pictures/contents/owl.jpg", "examples/pictures/styles/lion.jpg"


def name_of(job: Path) -> str:
    return job.name


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder with examples/, and an srun and a scontrol that start or note their commands."""
    folder = working_folder(tmp_path)
    executable(folder / "bin" / "srun", 'exec "$@"')
    executable(folder / "bin" / "scontrol", 'echo "$@" >> requeued')
    (folder / "requeued").touch()
    return folder


@pytest.mark.parametrize(
    ("job", "flags", "listing"),
    [
        ("caption", ["--kind", "style"], "part-00003-of-00064.jsonl"),
        ("synth", ["--size", "32", "--format", "folder"], "part-00003-of-00064/metadata.jsonl"),
        ("transfer", ["--size", "32"], "part-00003-of-00064/metadata.jsonl"),
    ],
)
def test_a_job_writes_the_share_of_its_task(
    job: str, flags: list[str], listing: str, cluster: Path
) -> None:
    pictures = {"style_file_name": PAINTING, "content_file_name": PHOTO, "file_name": PHOTO}
    records = [{"id": f"r{n}", **pictures} for n in range(200)]
    (cluster / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    owner = Shard(index=3, count=64)

    script = f"examples/slurm/{job}.sbatch"
    ended = start(["bash", script, "records.jsonl", "parts", *flags], cluster, **TASK)

    assert ended.returncode == 0, ended.stderr
    written = (cluster / "parts" / listing).read_text().splitlines()
    owned = [record["id"] for record in records if owner.owns(record["id"])]
    assert [json.loads(line)["id"] for line in written] == owned != []
    assert (cluster / "requeued").read_text() == ""


@pytest.mark.parametrize("job", ALONE, ids=name_of)
@pytest.mark.parametrize(
    ("code", "restarts", "requeued"),
    [(75, "", "requeue 36_3\n"), (75, "49", "requeue 36_3\n"), (75, "50", ""), (3, "", "")],
)
def test_a_job_is_queued_again_only_if_it_was_stopped_and_not_forever(
    job: Path, code: int, restarts: str, requeued: str, cluster: Path
) -> None:
    executable(cluster / "bin" / "srun", f"exit {code}")
    count = {"SLURM_RESTART_COUNT": restarts} if restarts else {}

    ended = start(["bash", str(job), "in", "out"], cluster, **TASK, **count)

    assert (ended.returncode, (cluster / "requeued").read_text()) == (code, requeued)


def test_options_of_the_caller_come_last(cluster: Path) -> None:
    executable(cluster / "bin" / "srun", 'echo "$@"')

    call = ["bash", "examples/slurm/caption.sbatch", "in", "out", "--max-errors", "7", "a b"]
    ended = start(call, cluster, **TASK)

    tolerances = re.findall(r"--max-errors (\S+)", ended.stdout)
    assert tolerances == ["1%", "7"] and ended.stdout.endswith("a b\n")


def test_a_job_in_a_container_starts_its_command_there(cluster: Path) -> None:
    site = cluster / "examples" / "slurm" / "site.conf"
    site.write_text("container=(apptainer exec 'my megastyle.sif')\n")
    executable(cluster / "bin" / "srun", 'printf "[%s]" "$@"')

    ended = start(["bash", "examples/slurm/synth.sbatch", "in", "out"], cluster, **TASK)

    assert ended.stdout.startswith("[apptainer][exec][my megastyle.sif][megastyle][synth][in]")


@pytest.mark.parametrize("job", ARRAYS, ids=name_of)
def test_an_array_says_its_number_of_parts_once(job: Path) -> None:
    text = job.read_text()

    assert re.search(r"^#SBATCH --array=0-63%\d+$", text, re.MULTILINE)
    assert "--shard auto" in text and "SLURM_ARRAY_TASK" not in text


@pytest.mark.parametrize("job", JOBS, ids=name_of)
def test_a_job_names_its_limits_and_keeps_its_log(job: Path) -> None:
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", job.read_text(), re.MULTILINE))

    assert {"job-name", "mem", "time", "cpus-per-task", "open-mode", "output"} <= set(options)
    assert options["open-mode"] == "append" and options["output"].startswith("logs/%x-")
    if "gpu" in job.name:
        assert options["gpus-per-task"] == "1" and options["signal"] == "USR1@300"


ALLOCATION = {
    "SLURM_GPUS_ON_NODE": "1",
    "SLURM_CPUS_PER_TASK": "1",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_NODELIST": "n[0-1]",
}


@pytest.mark.parametrize(
    ("job", "name"),
    [
        *(("train", name) for name in ALLOCATION if "CPUS" not in name),
        *(("dedup_ray", name) for name in ALLOCATION if "GPUS" not in name),
    ],
)
def test_a_job_for_several_nodes_that_knows_of_none_starts_nothing(
    job: str, name: str, cluster: Path
) -> None:
    executable(cluster / "bin" / "srun", "touch started")

    call = ["bash", f"examples/slurm/{job}.sbatch", "train-encoder", "in", "out"]
    ended = start(call, cluster, **{**ALLOCATION, name: ""})

    assert ended.returncode == 1 and "start this with sbatch" in ended.stderr
    assert not (cluster / "started").exists()
