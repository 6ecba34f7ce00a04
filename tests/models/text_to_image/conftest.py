"""Tiny pipelines of the real classes, and their painters, for the tests of this folder."""

from functools import cache

import pytest

from tests.models.text_to_image.painting import PIPELINES, load_painter


@pytest.fixture(scope="package")
def pipeline_folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("pipelines")
    return {name: save(base / name) for name, save in PIPELINES.items()}


@pytest.fixture(scope="package")
def painters(pipeline_folders):
    return {name: load_painter(folder) for name, folder in pipeline_folders.items()}


@pytest.fixture(scope="package")
def unguided(pipeline_folders):
    """Painters with guidance 1, loaded once each, of pipelines that take a second pass above."""
    return cache(lambda name: load_painter(pipeline_folders[name], guidance=1.0))
