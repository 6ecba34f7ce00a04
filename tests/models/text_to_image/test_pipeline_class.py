"""The class of a pipeline: only those that generate images from text alone are accepted."""

import json

import pytest
import torch

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.text_to_image.pipeline_class import model_classes, read_model_index
from tests.models.text_to_image.painting import PIPELINES, load_painter


def test_a_folder_without_a_text_to_image_pipeline_raises(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableAudioPipeline"}')
    with pytest.raises(MegastyleError, match="StableAudioPipeline, which does not generate"):
        load_painter(tmp_path)

    (tmp_path / "model_index.json").write_text('{"_class_name": "NoSuchPipeline"}')
    with pytest.raises(MegastyleError, match=r"NoSuchPipeline, which diffusers [\d.]+ does not"):
        load_painter(tmp_path)

    (tmp_path / "model_index.json").write_text('{"_class_name": "utils"}')
    with pytest.raises(MegastyleError, match="is a utils, which diffusers"):
        load_painter(tmp_path)

    (tmp_path / "model_index.json").unlink()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MegastyleError, match="no readable model_index.json"):
        load_painter(tmp_path)


@pytest.mark.parametrize("name", PIPELINES)
def test_the_models_are_the_parts_with_weights(pipeline_folders, name):
    folder = pipeline_folders[name]

    classes = model_classes(read_model_index(folder))

    assert set(classes) == {path.parent.name for path in folder.glob("*/*.safetensors")}
    assert all(issubclass(kind, torch.nn.Module) for kind in classes.values())


def test_a_class_from_another_library_is_never_imported(tmp_path):
    index = {"_class_name": "FluxPipeline", "vae": ["os", "system"], "unet": ["diffusers", 5]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))

    assert model_classes(read_model_index(tmp_path)) == {}
