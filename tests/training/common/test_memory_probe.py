"""A chunk that does not fit is halved until it does; the machine is asked what is free."""

import json
import subprocess
import sys

import pytest
import torch
from accelerate import Accelerator, debug_launcher
from accelerate.state import AcceleratorState

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.common.memory_probe import chunk_that_fits, free_bytes

# A tower that keeps about 1.2 MB of a picture, in a process that may take only so much more.
SHORT_OF_MEMORY = """
import json, resource, sys
from pathlib import Path
import torch
from accelerate import Accelerator
from transformers import SiglipVisionConfig
from megastyle_cli.models.encoders.siglip_vision import StyleTower, new_tower
from megastyle_cli.training.common.memory_probe import chunk_that_fits

torch.set_num_threads(1)
config = SiglipVisionConfig(hidden_size=64, intermediate_size=256, num_hidden_layers=4,
                            num_attention_heads=2, image_size=64, patch_size=8)
tower = StyleTower(new_tower(config, 0))
tried = []

def rehearse(chunk):
    tried.append(chunk)
    tower(torch.zeros(chunk, 3, 64, 64)).sum().backward()

rehearse(8)  # what comes with a first pass is there now
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 200 * 2**20,) * 2)
chunk = chunk_that_fits(1024, rehearse, Accelerator(cpu=True))
json.dump({"chunk": chunk, "tried": tried[1:]}, sys.stdout)
"""


@pytest.fixture
def accelerator():
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and limits the address space")
def test_out_of_memory_halves_the_chunk_and_goes_on_with_a_sentence():
    ended = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, check=False
    )

    assert ended.returncode == 0, ended.stderr.decode()
    told = json.loads(ended.stdout)
    assert told["tried"][:2] == [1024, 512] and told["chunk"] == told["tried"][-1]
    assert 16 <= told["chunk"] <= 256
    assert b"out of memory with 1024 pictures at once; going on with 512" in ended.stderr


def test_one_picture_too_many_is_a_sentence(accelerator):
    def rehearse(chunk):
        torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(MegastyleError, match="no memory for a single one of the pictures") as error:
        chunk_that_fits(6, rehearse, accelerator)

    assert error.value.exit_code == 1 and "--recompute all" in error.value.hint


def in_process(folder):
    """The second rank has memory for three pictures only."""
    accelerator = Accelerator(cpu=True)

    def rehearse(chunk):
        if accelerator.process_index == 1 and chunk > 3:
            torch.empty(2**60, dtype=torch.uint8)

    chunk = chunk_that_fits(24, rehearse, accelerator)
    (folder / f"{accelerator.process_index}").write_text(str(chunk))


def test_all_ranks_take_the_smallest_chunk_and_none_waits_for_another(tmp_path):
    debug_launcher(in_process, (tmp_path,), num_processes=2)

    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["3", "3"]


def test_another_error_is_not_taken_for_memory(accelerator):
    def rehearse(chunk):
        torch.zeros(2, 3) @ torch.zeros(2, 3)

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        chunk_that_fits(4, rehearse, accelerator)


def test_what_is_free_is_shared_by_the_ranks_of_a_machine(monkeypatch):
    device = torch.device("cpu")
    alone = free_bytes(device)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")

    assert alone > 2**26 and free_bytes(device) == pytest.approx(alone / 4, rel=0.2)
