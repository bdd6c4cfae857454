"""`grokfast reproduce`: every figure and claim of the paper by one command, on one page."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.text import Text

from grokfast._tables import PROSE, Fitted, Heading
from grokfast._words import duration, size
from grokfast.cli.printing import call, make_console, tell
from grokfast.cli.reproduce_progress import ReproduceDisplay
from grokfast.errors import ConfigError
from grokfast.report.page import build_page
from grokfast.reproduce import (
    BEYOND,
    PAPER,
    SIZES,
    PartCost,
    Stage,
    costs,
    places,
    stages_of,
    with_llc,
)
from grokfast.reproduce import reproduce as carry_out
from grokfast.store import Store
from grokfast.sweep import Carried

_HERE = Carried(save_every=60.0)


@dataclass(frozen=True)
class Wanted:
    """What is reproduced.

    Attributes:
        only: Claims, figures and studies, such as C1 fig05c; everything of the paper if none is named.
        beyond: The experiments past the paper too: their runs, answers and figures, and a chapter on the page.
        llc: The local learning coefficient too, of the runs of figures 15 to 17 and 19: minutes a run.
    """

    only: tuple[str, ...] = ()
    beyond: bool = False
    llc: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What the stages are chosen by."""
        return (*(self.only or (PAPER,)), BEYOND) if self.beyond else self.only

    @property
    def options(self) -> list[str]:
        """As on the command line."""
        chosen = (("--only", *self.only), self.only), (("--beyond",), self.beyond), (("--llc",), self.llc)
        return [word for words, given in chosen if given for word in words]


_PAPER = Wanted()

SizeName = Annotated[str, tyro.conf.arg(name="size")]


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(reproduce, arguments, "grokfast reproduce")


def reproduce(
    size_name: SizeName = "quick",
    wanted: Annotated[Wanted, tyro.conf.arg(name="")] = _PAPER,
    folder: Annotated[Path, tyro.conf.arg(name="runs")] = Path("reproduction"),
    plan: bool = False,
    page_from: Path | None = None,
    out: Path | None = None,
    measure: bool = True,
    carried: Annotated[Carried, tyro.conf.arg(name="")] = _HERE,
) -> None:
    """Train, measure, draw and check the whole paper, and write it on one page; after a kill it goes on where it was.

    Ctrl-C once finishes what is in hand and saves, twice stops at once; the same command resumes.

    Args:
        size_name: quick (minutes), laptop (an evening) or paper.
        wanted: What is reproduced.
        folder: Folder of runs, summaries and the page.
        plan: Only say how many runs, how long and how much disk.
        page_from: Make the page from this folder of summaries alone, and do nothing else.
        out: File of the page that is made with --page-from; reproduction.html by default.
        measure: Measure how long it will take before it begins.
        carried: How the work is carried out.
    """
    console = make_console()
    if page_from is not None:
        file = out or Path("reproduction.html")
        _tell_ledger(console, build_page(page_from, file))
        tell(console, f"page: {file.resolve()}")
        return
    if out is not None:
        raise ConfigError(f"--out goes with --page-from; without it the page is {places(folder, size_name)[1]}")
    if size_name not in SIZES:
        stages_of(size_name)  # raises, with the sizes
    stages = stages_of(size_name, wanted.names)
    stages = with_llc(stages) if wanted.llc else stages
    parts = _parts(stages, folder, carried) if measure or plan else _unmeasured(stages)
    _tell_plan(console, stages, parts, folder, carried)
    if plan:
        return
    command = shlex.join(["grokfast", "reproduce", "--size", size_name, *wanted.options])
    with ReproduceDisplay(console, parts) as display:
        result = carry_out(stages, folder, size_name, command, carried, display, beyond=wanted.beyond)
    for key, reason in result.failed.items():
        tell(console, f"failed: {key}: {reason}")
    if result.page is None:
        resume = shlex.join(["grokfast", *sys.argv[1:]])
        tell(console, f"stopped by {result.stopped}; all is saved. Resume with\n  {resume}")
        raise SystemExit(130)
    _tell_ledger(console, result.values)
    tell(console, f"summaries: {result.summaries.resolve()}")
    tell(console, f"page: {result.page.resolve()}")
    if result.beyond is not None:
        tell(console, f"past the paper: {result.beyond.resolve()}")


def _parts(stages: Sequence[Stage], folder: Path, carried: Carried) -> list[PartCost]:
    store = Store(folder)
    store.check_writable()
    return costs(stages, store, carried.count, carried.device)


def _unmeasured(stages: Sequence[Stage]) -> list[PartCost]:
    """The parts without their times."""
    names = [
        f"{what} {stage.name}"
        for stage in stages
        for what, given in (("train", True), ("measure", stage.measured), ("llc", stage.llc))
        if given
    ]
    return [PartCost(name, 0, None) for name in (*names, "page")]


def _tell_plan(
    console: Console, stages: Sequence[Stage], parts: Sequence[PartCost], folder: Path, carried: Carried
) -> None:
    studies = sum(len(stage.studies) for stage in stages)
    runs = sum(len(stage.configs) for stage in stages)
    tell(console, f"{studies} studies share {runs} runs, in {len(stages)} stages, in {folder}")
    if all(part.seconds is None for part in parts):
        return
    headings = [Heading("part", "left"), *map(Heading, ("runs", "time", "disk"))]
    rows = [
        (part.name, str(part.runs or "-"), "?" if part.seconds is None else duration(part.seconds), size(part.disk))
        for part in parts
    ]
    console.print(Fitted(headings, rows))
    total, disk = sum(part.seconds or 0.0 for part in parts), sum(part.disk for part in parts)
    where = f"{carried.count} workers, by doing a little of each part just now"
    tell(console, f"about {duration(total)} on {where}; about {size(disk)}")
    for reason in dict.fromkeys(reason for part in parts for reason in part.unmeasured):
        tell(console, f"not in this time: {reason}")
    there = next(path for path in [folder.resolve(), *folder.resolve().parents] if path.exists())
    if shutil.disk_usage(there).free < disk:
        tell(console, "the disk may not hold all of it: it will stop cleanly when it is full")


def _tell_ledger(console: Console, values: dict[str, Any]) -> None:
    colors = {"agrees": "green", "differs": "red", "open": "yellow"}
    rows = [
        (claim["name"], claim["title"], *(Text(said, style=colors.get(said, "")) for said in verdicts))
        for claim in values["claims"]
        for verdicts in [(claim["verdict_figures"], claim["verdict_prose"])]
    ]
    headings = [
        Heading("claim", "left"), Heading("says", "left", PROSE), Heading("figures", "left"), Heading("text", "left")
    ]  # fmt: skip
    console.print(Fitted(headings, rows, "do the paper's figures and its text agree with what was measured?"))
    drawn = sum(not figure.missing for figure in values["figures"])
    counts = values["counts"]
    tell(
        console,
        f"{counts['figures']['agrees']} of {counts['figures']['all']} claims agree with the paper's figures, "
        f"{counts['prose']['agrees']} of {counts['prose']['all']} with its text; of {counts['values']['all']} values "
        f"of its figures {counts['values']['agrees']} agree, {counts['values']['differs']} differ; "
        f"{drawn} of {len(values['figures'])} figures drawn",
    )
