from __future__ import annotations

import pytest

from grokfast.errors import ConfigError
from grokfast.training import schedule_epochs


@pytest.mark.parametrize(
    ("spec", "epochs", "expected"),
    [
        ("never", 9, []),
        ("last", 9, [9]),
        ("every:3", 10, [3, 6, 9, 10]),
        ("every:100", 10, [10]),
        ("at:1+7", 10, [1, 7]),
        ("log:3", 100, [1, 10, 100]),
        ("log:1", 100, [1, 100]),
        ("log:1000", 5, [1, 2, 3, 4, 5]),
    ],
)
def test_forms(spec, epochs, expected):
    assert sorted(schedule_epochs(spec, epochs)) == expected


@pytest.mark.parametrize("spec", ["", "sometimes", "every", "every:0", "every:x", "at:0", "at:11", "log:2+3", "at:"])
def test_rejects(spec):
    with pytest.raises(ConfigError, match="schedule"):
        schedule_epochs(spec, 10)
