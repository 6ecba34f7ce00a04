"""A micro-batch that does not fit is halved until it does; a job's own limit counts as free."""

import json
import sys

import pytest
import torch
from accelerate import Accelerator, debug_launcher
from accelerate.state import AcceleratorState

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.common.memory_probe import (
    fit_micro_batch,
    free_bytes,
)

GIB = 2**30
# A tower that keeps about 1.2 MB per image, in a process with 200 MiB left.
SHORT_OF_MEMORY = """
import json, resource, sys
from pathlib import Path
import torch
from accelerate import Accelerator
from transformers import SiglipVisionConfig
from megastyle_cli.models.encoders.siglip_vision import StyleTower, new_tower
from megastyle_cli.training.common.memory_probe import fit_micro_batch

torch.set_num_threads(1)
config = SiglipVisionConfig(hidden_size=64, intermediate_size=256, num_hidden_layers=4,
                            num_attention_heads=2, image_size=64, patch_size=8)
tower = StyleTower(new_tower(config, 0))
tried = []

def probe(size):
    tried.append(size)
    tower(torch.zeros(size, 3, 64, 64)).sum().backward()

probe(8)  # what only the first pass allocates
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 200 * 2**20,) * 2)
size = fit_micro_batch(1024, probe, Accelerator(cpu=True), "images", "")
json.dump({"size": size, "tried": tried[1:]}, sys.stdout)
"""


@pytest.fixture
def accelerator():
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and limits the address space")
def test_out_of_memory_halves_the_size_and_is_reported(megastyle, tmp_path):
    (tmp_path / "short_of_memory.py").write_text(SHORT_OF_MEMORY)

    ended = megastyle(module="short_of_memory", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr.decode()
    result = json.loads(ended.stdout)
    assert result["tried"][:2] == [1024, 512] and result["size"] == result["tried"][-1]
    assert 16 <= result["size"] <= 256
    assert b"out of memory with 1024 images at once; trying 512" in ended.stderr


def test_no_memory_for_a_single_item_is_an_error_with_the_hint(accelerator):
    def probe(size):
        torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(MegastyleError, match="not even one of the images fits") as error:
        fit_micro_batch(6, probe, accelerator, "images", "give --recompute all")

    assert error.value.exit_code == 1 and "--recompute all" in error.value.hint


def in_process(folder):
    """The second rank has memory for three items only."""
    AcceleratorState._reset_state(reset_partial_state=True)  # that of the process forked from
    accelerator = Accelerator(cpu=True)

    def probe(size):
        if accelerator.process_index == 1 and size > 3:
            torch.empty(2**60, dtype=torch.uint8)

    size = fit_micro_batch(24, probe, accelerator, "images", "")
    (folder / f"{accelerator.process_index}").write_text(str(size))


def test_all_ranks_take_the_smallest_size_and_none_waits_for_another(tmp_path):
    debug_launcher(in_process, (tmp_path,), num_processes=2)

    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["3", "3"]


def test_other_errors_are_raised(accelerator):
    def probe(size):
        torch.zeros(2, 3) @ torch.zeros(2, 3)

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fit_micro_batch(4, probe, accelerator, "images", "")


def test_free_memory_is_divided_among_the_ranks_of_a_machine(monkeypatch):
    device = torch.device("cpu")
    alone = free_bytes(device)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")

    assert alone > 2**26 and free_bytes(device) == pytest.approx(alone / 4, rel=0.2)
