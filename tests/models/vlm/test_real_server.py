"""A server that others wrote, with a tiny model: `transformers serve`, if SERVING_PYTHON names it.

SERVING_PYTHON is the Python of an environment with transformers[serving].
"""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.protocols import UnusableAnswer, VisionPrompt
from megastyle_cli.models.registry import load
from tests.conftest import draw
from tests.models.tiny_vlm import save_tiny_vlm

PYTHON = os.environ.get("SERVING_PYTHON")
START = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'x'; main()"


@pytest.mark.skipif(not PYTHON, reason="SERVING_PYTHON names no Python with transformers[serving]")
def test_a_real_server_answers_and_its_truncation_is_seen(tmp_path: Path) -> None:
    model = str(save_tiny_vlm(tmp_path / "model"))
    (tmp_path / "home" / "hub").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(PYTHON), "-c", START, "serve", model, "--port", str(port), "--device", "cpu"]
    settings = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    prompt = VisionPrompt(image=draw(0), instruction="a", question="b", max_tokens=5)

    with subprocess.Popen(command, env={**os.environ, **settings}) as server:
        try:
            vlm = None
            while vlm is None:
                assert server.poll() is None
                try:
                    vlm = load(
                        "captioner", "openai", model=model, base_url=f"http://127.0.0.1:{port}/v1"
                    )
                except MegastyleError:  # it still starts
                    time.sleep(0.2)
            (answer,) = vlm.generate([prompt])
            vlm.close()
        finally:
            server.terminate()

    assert isinstance(answer, UnusableAnswer) and answer.kind == "truncated"
