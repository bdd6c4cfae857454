"""Studies: a setting with its sizes and the command that trains it, one TOML file each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

from grokfast._checks import nearest
from grokfast.errors import ConfigError
from grokfast.studies.file import Sweep, one_of_each, read_file, read_sweep, sizes_of
from grokfast.studies.setting import APART, Setting, setting_of

USUAL_SIZE = "laptop"
"""The size that commands name, where a study has it."""


@dataclass(frozen=True)
class Study:
    """Runs that belong together: what they share, which w0 and seeds there are, at one size or several.

    Attributes:
        name: As on the command line: ``main-text``; of a file of your own, its path.
        title: What is studied.
        sizes: Names of its sizes, small to large; empty where it has one size only.
        figures: Names of the figures that its runs are for.
        file: Where it is written.
    """

    name: str
    title: str
    sizes: tuple[str, ...]
    figures: tuple[str, ...]
    file: Path

    @property
    def command(self) -> str:
        """The command that trains it, at the size for a laptop where it has that one."""
        size = USUAL_SIZE if USUAL_SIZE in self.sizes else next(iter(self.sizes), None)
        return f"grokfast sweep {self.name}" + ("" if size is None else f" --size {size}")

    def sweep(self, size: str | None = None) -> Sweep:
        """Its runs at one size.

        Raises:
            ConfigError: If there is no such size, or the file is wrong.
        """
        return read_sweep(self.file, size)

    @cached_property
    def settings(self) -> frozenset[Setting]:
        """Every setting of its runs at any size: what they have in common but w0, seed and length."""
        configs = [config for size in self.sizes or (None,) for config in one_of_each(self.file, size, APART)]
        return frozenset(setting_of(config.training()).of_any_length for config in configs)


class _Library(Mapping[str, Study]):
    """The studies of the package by name, read when they are first asked for."""

    @cached_property
    def _studies(self) -> dict[str, Study]:
        folder = Path(str(resources.files("grokfast.studies") / "library"))
        return {file.stem: read_study(file, file.stem) for file in sorted(folder.glob("*.toml"))}

    def __getitem__(self, name: str) -> Study:
        return self._studies[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._studies)

    def __len__(self) -> int:
        return len(self._studies)


STUDIES: Mapping[str, Study] = _Library()


def read_study(file: Path, name: str) -> Study:
    """The study that a TOML file holds.

    Args:
        file: As :func:`grokfast.studies.read_sweep` takes it.
        name: What it is called.

    Raises:
        ConfigError: If the file cannot be read or its ``figures`` are no list of names.
    """
    content = read_file(file)
    figures = content.get("figures", [])
    if not isinstance(figures, list) or not all(isinstance(figure, str) for figure in figures):
        raise ConfigError(f"{file}: figures must be a list of names, got {figures!r}")
    return Study(name, str(content.get("title", file.stem)), tuple(sizes_of(file)), tuple(figures), file)


def find_study(name: str) -> Study:
    """The study that a name on the command line means.

    Args:
        name: Of a study of the package, of a figure (its study is meant), or the path of a ``.toml`` file.

    Raises:
        ConfigError: If there is none.
    """
    if name in STUDIES:
        return STUDIES[name]
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise ConfigError(f"there is no sweep file {name}")
        return read_study(Path(name), name)
    by_figure = {figure: study for study in STUDIES.values() for figure in study.figures}
    if name in by_figure:
        return by_figure[name]
    raise ConfigError(
        f"the study must be a .toml file, one of {sorted(STUDIES)} or a figure that has one, got {name!r}"
        f"{nearest(name, [*STUDIES, *by_figure])}"
    )


def listing() -> str:
    """The studies of the package as lines of text: name, title, figures, number of runs at each size."""
    lines = []
    for study in STUDIES.values():
        sizes = ", ".join(f"{size} {len(study.sweep(size).configs)} runs" for size in study.sizes)
        figures = f"; figures {', '.join(study.figures)}" if study.figures else ""
        lines += [f"{study.name}: {study.title}", f"    {sizes}{figures}"]
    return "\n".join(lines)
