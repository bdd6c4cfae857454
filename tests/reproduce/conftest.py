from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "made"))  # helpers of these tests

from tiny_stages import run_tiny

from grokfast.reproduce import Reproduced


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Reproduced:
    """A tiny reproduction that nobody disturbed."""
    return run_tiny(tmp_path_factory.mktemp("reproduction") / "runs")
