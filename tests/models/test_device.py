"""Where a model runs: the device and the floating-point type."""

import warnings
from threading import Barrier, get_ident

import pytest
import torch

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.device import (
    device_threads,
    enter_device,
    require_compiler,
    resolve_device,
    resolve_dtype,
)


def test_a_device_that_torch_does_not_know_is_an_error():
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(MegastyleError, match="'abacus' cannot be used"):
        resolve_device("abacus")


def test_the_default_type_depends_on_the_device():
    assert resolve_dtype(None, torch.device("cpu")) == torch.float32
    assert resolve_dtype(None, torch.device("cuda")) == torch.bfloat16
    assert resolve_dtype("float16", torch.device("cpu")) == torch.float16


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU of that number may exist")
def test_under_a_launcher_each_rank_asks_for_its_own_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert resolve_device(None) == torch.device("cpu")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(MegastyleError, match="cannot be used"):
        resolve_device(None)


def test_every_thread_of_a_pool_enters_the_device(monkeypatch):
    # a thread starts on GPU 0, where each process of a node would create a context
    entered = {}
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda device: entered.update({get_ident(): device})
    )
    both = Barrier(2)

    with device_threads(2, torch.device("cuda:1")) as pool:
        idents = {one.result() for one in [pool.submit(_thread_of, both) for _ in range(2)]}

    assert len(idents) == 2 and entered == dict.fromkeys(idents, torch.device("cuda:1"))


def _thread_of(others):
    others.wait(timeout=10)
    return get_ident()


def test_a_cpu_or_a_gpu_without_a_number_is_not_entered():
    enter_device(torch.device("cpu"))
    enter_device(torch.device("cuda"))  # the current one


def test_compiling_needs_a_compiler_on_the_path_or_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(MegastyleError, match=r"there is no g\+\+ here"):
        require_compiler(torch.device("cpu"))

    for name in ("g++", "mine"):
        (tmp_path / name).touch(mode=0o755)
    require_compiler(torch.device("cpu"))
    monkeypatch.setenv("CXX", "mine")
    require_compiler(torch.device("cpu"))

    monkeypatch.setenv("CXX", "absent")
    with pytest.raises(MegastyleError, match="there is no absent here"):
        require_compiler(torch.device("cpu"))


TOO_OLD = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."
    " Please update your GPU driver by downloading and installing a new version from the URL"
)


def test_a_driver_that_is_too_old_for_torch_is_told(monkeypatch, caplog):
    def is_available():
        warnings.warn(TOO_OLD, stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)

    assert resolve_device(None).type == "cpu"
    assert caplog.messages == [
        "no GPU is used: The NVIDIA driver on your system is too old (found version 11040)"
    ]


def test_a_gpu_that_emulates_bfloat16_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    card = torch.device("cuda", 7)

    assert [resolve_dtype(None, card), resolve_dtype("bfloat16", card)] == [torch.bfloat16] * 2
    assert resolve_dtype("float32", card) == torch.float32
    (message,) = caplog.messages
    assert message.startswith("cuda:7 (Tesla T4) has no bfloat16") and "--dtype float32" in message
