"""`grokfast runs`: list, query, export, tidy and upgrade a folder of runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from grokfast._tables import Fitted, Heading
from grokfast.cli.common import Runs, load_runs
from grokfast.cli.printing import call, make_console, say, tell, width_of
from grokfast.cli.tables import summary_table
from grokfast.errors import ConfigError
from grokfast.store import Store, pack, prune_versions, upgrade_store


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(runs, arguments, "grokfast runs")


@dataclass(frozen=True)
class Tidied:
    """What is done to the folder instead of listing it.

    Attributes:
        prune: Remove the older versions of runs that were trained again.
        prune_kept: Remove the states that --keep-state has kept, of the runs of --where or of all; the runs stay.
        upgrade: Rewrite what an earlier version of grokfast stored; it is read as it is without that, too.
    """

    prune: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    prune_kept: Annotated[bool, tyro.conf.arg(name="prune-states"), tyro.conf.FlagCreatePairsOff] = False
    upgrade: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


_UNTOUCHED = Tidied()


def runs(
    folder: Runs = Path("runs"),
    where: str = "",
    sort: str = "",
    sql: str = "",
    export: Path | None = None,
    pack_into: Annotated[Path | None, tyro.conf.arg(name="pack")] = None,
    whole: Annotated[bool, tyro.conf.arg(name="all"), tyro.conf.FlagCreatePairsOff] = False,
    tidied: Annotated[Tidied, tyro.conf.arg(name="")] = _UNTOUCHED,
) -> None:
    """List the runs of a folder.

    Args:
        folder: Folder of runs.
        where: SQL condition on the columns, such as "w0 < 1 AND groks".
        sort: SQL order, such as "compressibility DESC, seed".
        sql: A whole SQL query on the table `runs`, printed as DuckDB prints it.
        export: Write all columns to this .csv or .parquet file instead of listing.
        pack_into: Write what figures and reports need of these runs, thinned, to this one small .parquet file, which
            --runs takes in place of a folder.
        whole: Show every column.
        tidied: What is done to the folder instead of listing it.
    """
    ways = {
        "--sql": bool(sql), "--export": export is not None, "--pack": pack_into is not None, "--prune": tidied.prune,
        "--prune-states": tidied.prune_kept, "--upgrade": tidied.upgrade,
    }  # fmt: skip
    chosen = [name for name, given in ways.items() if given]
    if len(chosen) > 1:
        raise ConfigError(f"expected one of {', '.join(ways)}, got {' and '.join(chosen)}")
    if (tidied.prune or tidied.upgrade) and (where or sort):
        raise ConfigError(f"{chosen[0]} is for all runs of a folder: leave --where and --sort out")
    if tidied.upgrade:
        _upgrade(folder)
        return
    if tidied.prune:
        _prune(folder)
        return
    if tidied.prune_kept:
        if sort:
            raise ConfigError("--prune-states keeps no order: leave --sort out")
        _prune_states(folder, where)
        return
    table = load_runs(folder, where)
    if sort:
        table = table.sort(sort)
    if export is not None:
        table.export(export)
        say(f"{len(table)} runs: {export.resolve()}")
        return
    if pack_into is not None:
        if pack_into.suffix != ".parquet":
            raise ConfigError(f"--pack must name a .parquet file, got {pack_into}")
        pack(table.store, [row["key"] for row in table.rows], pack_into, {"command": "grokfast runs --pack"})
        say(f"{len(table)} runs, {pack_into.stat().st_size / 1e6:.2f} MB: {pack_into.resolve()}")
        return
    if sql:
        _show_answer(table.sql(sql))
        return
    console = make_console()
    console.print(summary_table(table, whole=whole))
    hint = "" if whole else f"; {len(table.columns)} columns, all of them with --all"
    tell(console, f"{len(table)} runs in {folder.resolve()}{hint}")


def _upgrade(folder: Path) -> None:
    done = upgrade_store(Store(folder))
    _warn(done.kept)
    say(
        f"{len(done.moved)} runs lie under their new keys now, {len(done.joined)} have joined another of the same "
        f"training, {len(done.kept)} stay as they were, in {folder.resolve()}"
    )


def _prune(folder: Path) -> None:
    pruned = prune_versions(Store(folder))
    _warn(pruned.kept)
    say(f"{pruned.versions} older versions removed, {pruned.bytes / 1e6:.1f} MB freed, in {folder.resolve()}")


def _prune_states(folder: Path, where: str) -> None:
    from grokfast.training.kept import prune_states

    keys = {row["key"] for row in load_runs(folder, where).rows} if where else None
    removed, freed = prune_states(Store(folder), keys)
    say(f"{removed} kept states removed, {freed / 1e6:.1f} MB freed, in {folder.resolve()}")


def _warn(messages: Sequence[str]) -> None:
    for message in messages:
        say(f"grokfast: warning: {message}", sys.stderr)


def _show_answer(answer: Any) -> None:
    """A query's answer as DuckDB prints it, or where its box does not fit as a line a value."""
    text = str(answer)
    if max(map(len, text.splitlines()), default=0) <= width_of(sys.stdout):
        print(text)
        return
    rows = [["NULL" if value is None else str(value) for value in row] for row in answer.fetchall()]
    make_console().print(Fitted([Heading(name) for name in answer.columns], rows))
