"""The sweep files that come with the package: one for each figure of the paper whose runs can be trained."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from grokfast._checks import nearest
from grokfast.errors import ConfigError


def ready_made() -> dict[str, Path]:
    """The sweep files of the package by name."""
    folder = Path(str(resources.files("grokfast.sweep") / "library"))
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def find_sweep(name: str) -> Path:
    """The sweep file that a name on the command line means.

    Args:
        name: A path that ends in ``.toml``, or the name of a ready-made file.

    Raises:
        ConfigError: If there is no such file.
    """
    files = ready_made()
    if name in files:
        return files[name]
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise ConfigError(f"there is no sweep file {name}")
        return Path(name)
    raise ConfigError(f"the sweep must be a .toml file or one of {sorted(files)}, got {name!r}{nearest(name, files)}")
