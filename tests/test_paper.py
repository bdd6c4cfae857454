"""The paper's curves ship with the package, whole."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from grokfast.errors import InputError
from grokfast.paper import panels, paper_curve, paper_curves


def test_every_file_is_in_the_index_and_every_panel_has_its_file():
    folder = resources.files("grokfast.paper")
    files = {entry.name.removesuffix(".csv") for entry in folder.iterdir() if entry.name.endswith(".csv")}
    assert files == set(panels())
    assert len(files) == 39
    for name, panel in panels().items():
        assert panel.shows
        assert panel.x
        assert panel.y
        assert panel.error
        assert "2502.01739" in panel.source
        curves = paper_curves(name)
        assert curves
        for x, y in curves.values():
            assert x.shape == y.shape
            assert x.size >= 1
            assert np.isfinite(x).all()
            assert np.isfinite(y).all()


def test_known_points():
    x, y = paper_curve("fig08b", "learning")
    assert (x[0], y[0]) == (1.0005, 0.19944)
    assert y[-1] == pytest.approx(-0.509, abs=1e-3)
    np.testing.assert_array_equal(paper_curve("fig05c", "w0=0.1"), paper_curve("fig14c", "w0=0.1"))
    with pytest.raises(ValueError, match="read-only"):
        y[0] = 0


def test_what_was_not_read_is_refused():
    with pytest.raises(InputError, match="did you mean"):
        paper_curve("fig8b", "learning")
    with pytest.raises(InputError, match=r"no series 'learnt'; expected one of \['learning', 'grokking'\]"):
        paper_curve("fig08b", "learnt")
