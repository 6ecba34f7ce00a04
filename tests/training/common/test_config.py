"""Options of both trainings are parsed early, and light to import."""

import subprocess
import sys

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.flux.config import FluxConfig


@pytest.mark.parametrize("config", [EncoderConfig, FluxConfig])
def test_micro_batch_and_recompute_are_numbers_or_left_to_memory(config):
    auto = config()

    assert auto.micro_batch is None and auto.recompute_every is None
    assert config(chunk="7").micro_batch == 7
    words = {"none": 0, "all": 1, "3": 3}
    assert {word: config(recompute=word).recompute_every for word in words} == words


@pytest.mark.parametrize("config", [EncoderConfig, FluxConfig])
@pytest.mark.parametrize(
    ("changed", "hint"),
    [
        ({"chunk": "0"}, "auto or a number N"),
        ({"chunk": "-3"}, "auto or a number N"),
        ({"recompute": "some"}, "auto, none, all or a number N"),
    ],
)
def test_other_words_are_rejected_with_what_is_expected(config, changed, hint):
    with pytest.raises(MegastyleError, match=next(iter(changed.values()))) as error:
        config(**changed)

    assert hint in error.value.hint


def test_the_options_load_no_heavy_library():
    modules = ["encoder", "flux"]
    code = "import sys\n" + "".join(
        f"import megastyle_cli.training.{name}.config\n" for name in modules
    )
    heavy = ["torch", "transformers", "diffusers", "numpy", "PIL", "accelerate"]
    code += f"print([name for name in {heavy} if name in sys.modules])"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert ended.stdout == b"[]\n"
