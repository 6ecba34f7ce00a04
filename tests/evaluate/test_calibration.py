"""Calibration against loops over all pairs."""

import numpy as np
import pytest

from megastyle_cli.evaluate.calibration import ReferenceBank, calibrate
from tests.retrieval.vectors import csls_matrix, unit_rows


def test_calibration_equals_the_means_over_pairs():
    vectors, rows = unit_rows(12, 5, 0), unit_rows(9, 5, 1)
    keys = [f"s{i % 3}" for i in range(12)]
    bank_keys = [*(f"s{j % 3}" for j in range(7)), None, None]
    bank = ReferenceBank(vectors=rows, keys=bank_keys, styles=bank_keys)
    cosines = vectors.astype(np.float64) @ rows.T.astype(np.float64)
    own = [np.mean([cosines[i, j] for j in range(9) if bank_keys[j] == keys[i]]) for i in range(12)]

    found = calibrate(vectors, np.array(own), keys, keys, bank)

    scaled = csls_matrix(vectors, rows, bank_knows_queries=True)
    for i in range(12):
        own_rows = [j for j in range(9) if bank_keys[j] == keys[i]]
        negatives = [j for j in range(9) if bank_keys[j] != keys[i]]
        assert found.random[i] == pytest.approx(np.mean(cosines[i, negatives]), abs=1e-7)
        assert found.csls[i] == pytest.approx(np.mean(scaled[i, own_rows]), abs=1e-7)
        assert found.random_csls[i] == pytest.approx(np.mean(scaled[i, negatives]), abs=1e-7)


def test_an_image_without_negatives_has_no_calibration():
    vectors = unit_rows(3, 4, 0)
    bank = ReferenceBank(vectors=vectors, keys=["a"] * 3, styles=["a"] * 3)

    found = calibrate(vectors, np.ones(3), ["a"] * 3, ["a"] * 3, bank)

    assert np.isnan(found.random).all() and np.isnan(found.csls).all()
