"""Presets of distilled LoRAs set steps, schedule and guidance."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from tests.models.text_to_image.painting import REQUEST, load_painter, record_calls


def test_lightning_is_8_steps_at_shift_3_in_one_pass_each(pipeline_folders):
    painter = load_painter(pipeline_folders["qwen"], preset="lightning", steps=None)
    calls = record_calls(painter.model.pipeline.transformer)

    painter.paint([REQUEST])

    evenly = np.linspace(1, 1 / 8, 8)
    assert len(calls) == 8 and painter.settings == {"steps": 8, "guidance": 1.0}
    assert np.allclose(painter.model.pipeline.scheduler.sigmas[:-1], 3 * evenly / (1 + 2 * evenly))
    assert painter.model.pipeline.scheduler.sigmas[-1] == 0


def test_a_preset_of_another_pipeline_raises(pipeline_folders):
    with pytest.raises(MegastyleError, match="lightning is for a QwenImagePipeline"):
        load_painter(pipeline_folders["flux"], preset="lightning")
