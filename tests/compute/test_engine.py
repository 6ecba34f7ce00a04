"""The choice of an engine by name."""

import pytest

from megastyle_cli.compute.engine import load_engine
from megastyle_cli.core.errors import MegastyleError


def test_the_local_engine_has_the_workers_asked_for() -> None:
    with load_engine("local", 3) as engine:
        assert engine.workers == 3
    with load_engine("local") as engine:
        assert engine.workers >= 1


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(MegastyleError, match="'dask'"):
        load_engine("dask")
