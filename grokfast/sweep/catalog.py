"""The sweep files that come with the package: those of its studies."""

from __future__ import annotations

from pathlib import Path

from grokfast.studies import STUDIES, find_study


def ready_made() -> dict[str, Path]:
    """The sweep files of the package by the name of their study."""
    return {name: study.file for name, study in STUDIES.items()}


def find_sweep(name: str) -> Path:
    """The sweep file that a name on the command line means: :func:`grokfast.studies.find_study`.

    Raises:
        ConfigError: If there is no such file.
    """
    return find_study(name).file
