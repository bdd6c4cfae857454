"""Every option of every command but `train` reaches what it is for, and without it all is as its default says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grokfast.cli import COMMANDS
from grokfast.cli import check as check_module
from grokfast.cli import demo as demo_module
from grokfast.cli import figure as figure_module
from grokfast.cli import ising as ising_module
from grokfast.cli import measure as measure_module
from grokfast.cli import report as report_module
from grokfast.cli import reproduce as reproduce_module
from grokfast.cli import runs as runs_module
from grokfast.cli import status as status_module
from grokfast.cli import sweep as sweep_module
from grokfast.endmodel import LLC
from grokfast.errors import ConfigError
from grokfast.ising import quench as quench_module
from grokfast.ising import scan as scan_module
from grokfast.store import Health
from grokfast.sweep import Carried, Chosen
from grokfast.training import RunConfig
from grokfast.training import kept as kept_module

Seen = dict[str, Any]


class _StopError(Exception):
    """Enough was seen."""


class _Table(list[Any]):
    """Runs that note what they are asked for."""

    columns = ("a", "b")

    def __init__(self, seen: Seen, rows: int = 1) -> None:
        store = SimpleNamespace(root=Path("x"))
        super().__init__([SimpleNamespace(key="k", store=store)] * rows)
        self.seen, self.rows, self.store = seen, [{"key": "k"}] * rows, store

    def where(self, condition: str) -> _Table:
        self.seen.setdefault("where", []).append(condition)
        return self

    def sort(self, order: str) -> _Table:
        self.seen["sort"] = order
        return self

    def sql(self, query: str) -> str:
        self.seen["sql"] = query
        return ""

    def export(self, file: Path) -> None:
        self.seen["export"] = file


def _noting(seen: Seen, name: str, result: Any = None) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        seen[name] = (*args, kwargs) if kwargs else args
        if isinstance(result, type) and issubclass(result, Exception):
            raise result
        return result

    return call


def _loading(seen: Seen, rows: int = 1) -> Callable[..., _Table]:
    def load(folder: Path, where: str = "") -> _Table:
        seen.update(folder=folder, loaded=where)
        return _Table(seen, rows)

    return load


def _check(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    def look(store: Any) -> Health:
        seen["folder"] = store.root
        return Health(damaged={"k": "bad"})

    repaired = SimpleNamespace(left=[], trained=[], removed=[], stopped="")
    patch.setattr(check_module, "check_store", look)
    patch.setattr("grokfast.sweep.repair_store", _noting(seen, "repair", repaired))


def _demo(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    patch.setattr(demo_module, "train_into", _noting(seen, "train", _Table(seen)))
    patch.setattr(demo_module, "draw", _noting(seen, "draw"))
    patch.setattr(demo_module, "summary_table", _noting(seen, "table", ""))
    patch.setattr(demo_module, "save", _noting(seen, "save", []))


def _figure(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    patch.setattr(figure_module, "load_runs", _loading(seen))
    patch.setattr(figure_module, "draw", lambda name, table, where, **look: seen.update(draw=(name, where), **look))
    patch.setattr(
        figure_module, "draw_all", lambda table, where, **look: seen.update(all=where, **look) or [("fig", object())]
    )
    patch.setattr(
        figure_module, "save", lambda drawn, out, name, formats: seen.update(save=(out, name), formats=formats) or []
    )
    patch.setattr(figure_module, "listing", lambda table: seen.update(listing=True) or "")


def _report(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    pages: dict[str, Any] = {}
    patch.setattr(report_module, "load_runs", _loading(seen))
    for name in ("claims", "ising"):
        pages[name] = SimpleNamespace(write=lambda table, name=name: seen.update(wrote=name) or "", file=name)
    patch.setattr(report_module, "REPORTS", pages)
    patch.setattr(report_module, "write_page", _noting(seen, "out"))
    patch.setattr(report_module, "listing", lambda: seen.update(listing=True) or "")


def _runs(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    done = SimpleNamespace(moved=[], joined=[], kept=[], versions=0, bytes=0)
    patch.setattr(runs_module, "load_runs", _loading(seen))
    patch.setattr(runs_module, "summary_table", lambda table, whole: seen.update(whole=whole) or "")
    patch.setattr(runs_module, "upgrade_store", lambda store: seen.update(upgrade=store.root) or done)
    patch.setattr(runs_module, "prune_versions", lambda store: seen.update(prune=store.root) or done)
    patch.setattr(kept_module, "prune_states", lambda store, keys: seen.update(states=(store.root, keys)) or (0, 0))

    def pack(store: Any, keys: list[str], file: Path, about: Any) -> None:
        seen["pack"] = (keys, file)
        file.write_bytes(b"")

    patch.setattr(runs_module, "pack", pack)


def _status(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    patch.setattr(status_module, "sweeps_of", lambda store: seen.update(folder=store.root) or [])


def _measure(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    patch.setattr(measure_module, "load", _loading(seen))
    patch.setattr(measure_module, "find_measure", lambda name: f"the measure {name}")
    patch.setattr(
        measure_module, "measure_stored", lambda root, key, names, threads: seen.update(taken=names, threads=threads)
    )
    report = SimpleNamespace(failed={}, stopped="", done=[])
    patch.setattr(measure_module, "measure_runs", _noting(seen, "spread", report))


def _reproduce(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    result = SimpleNamespace(failed={}, page=Path("page"), values={}, summaries=Path("s"), stopped="", beyond=None)
    patch.setattr(reproduce_module, "stages_of", lambda size, names: seen.update(stages=(size, names)) or [])

    def cost(stages: Any, store: Any, workers: int, device: str) -> list[Any]:
        seen["costs"] = (store.root, workers, device)
        return []

    def carry_out(
        stages: Any, folder: Path, size: str, command: str, carried: Carried, display: Any, *, beyond: bool
    ) -> Any:
        seen["carried"] = (folder, size, command, carried)
        seen["beyond"] = beyond
        return result

    patch.setattr(reproduce_module, "with_llc", lambda stages: seen.update(llc=stages) or stages)
    patch.setattr(reproduce_module, "costs", cost)
    patch.setattr(reproduce_module, "carry_out", carry_out)
    patch.setattr(reproduce_module, "_tell_ledger", lambda console, values: None)
    patch.setattr(reproduce_module, "build_page", _noting(seen, "page", {}))


def _ising(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    patch.setattr(scan_module, "temperature_scan", _noting(seen, "scan", _StopError))
    patch.setattr(quench_module, "quench", _noting(seen, "quench", _StopError))


def _sweep(patch: pytest.MonkeyPatch, seen: Seen) -> None:
    patch.setattr(sweep_module, "find_study", lambda file: SimpleNamespace(sweep=lambda size: _Study(seen, file, size)))
    patch.setattr(sweep_module, "make_plan", _noting(seen, "plan"))
    patch.setattr(sweep_module, "_tell_plan", lambda *args: seen.update(remote=args[-1].remote))
    patch.setattr(sweep_module, "run_sweep", lambda *args, **options: seen.update(ran=(args, options)))
    patch.setattr(sweep_module, "_tell_report", lambda *args: None)
    patch.setattr(sweep_module, "listing", lambda: seen.update(listing=True) or "")
    for name in ("TensorBoardLog", "WandbLog"):
        patch.setattr(sweep_module, name, lambda folder, name=name: _Log(name, folder))
    patch.setattr(sweep_module, "Observer", lambda log, schedule: (log.name, log.folder, schedule))


class _Study:
    title, configs = "t", ()

    def __init__(self, seen: Seen, file: str, size: str | None) -> None:
        seen["study"] = (file, size)


class _Log:
    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder


PREPARE = {
    "check": _check, "demo": _demo, "figure": _figure, "report": _report, "runs": _runs, "status": _status,
    "measure": _measure, "reproduce": _reproduce, "ising": _ising, "sweep": _sweep,
}  # fmt: skip


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Calls a command with what it works with replaced, and returns what that was given."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, text: str = "") -> Seen:
        seen: Seen = {}
        with monkeypatch.context() as patch:
            PREPARE[command](patch, seen)
            try:
                import_module(COMMANDS[command].module).main(text.split())
            except SystemExit as stop:
                seen["exit"] = stop.code
            except _StopError:
                pass
        seen["out"] = capsys.readouterr().out
        return seen

    return run


def _found(seen: Mapping[str, Any], *wanted: str) -> dict[str, Any]:
    return {name: seen.get(name) for name in wanted}


def test_check(call):
    plain = call("check")
    assert _found(plain, "folder", "repair", "exit") == {"folder": Path("runs"), "repair": None, "exit": 1}
    assert call("check", "--runs there")["folder"] == Path("there")
    repaired = call("check", "--repair")["repair"][-1]
    assert repaired["workers"] == 0
    assert call("check", "--repair --workers 3")["repair"][-1]["workers"] == 3


def test_demo(call):
    configs, folder, _, options = call("demo")["train"]
    assert [(c.w0, c.epochs, c.task.name) for c in configs] == [(w0, 250, "modular-addition") for w0 in (0.1, 1, 10)]
    assert (folder, options) == (Path("grokfast-demo"), {"threads": 0, "force": False})
    configs = call("demo", "--task ising")["train"][0]
    assert [(c.w0, c.epochs, c.task.name) for c in configs] == [(1, 10_000, "ising"), (10, 10_000, "ising")]
    seen = call("demo", "--runs there")
    assert (seen["train"][1], seen["save"][1]) == (Path("there"), Path("there/figures"))
    assert call("demo", "--epochs 7")["train"][0] == [RunConfig(w0=w0, epochs=7) for w0 in (0.1, 1.0, 10.0)]
    assert call("demo", "--threads 2")["train"][-1] == {"threads": 2, "force": False}
    assert call("demo", "--force")["train"][-1] == {"threads": 0, "force": True}


def test_figure(call):
    assert call("figure")["listing"]
    assert _found(call("figure", "fig05c"), "folder", "draw", "save") == {
        "folder": Path("runs"),
        "draw": ("fig05c", None),
        "save": (Path("runs/figures"), "fig05c"),
    }
    assert call("figure", "fig05c --runs there")["folder"] == Path("there")
    assert call("figure", "fig05c --runs there")["save"][0] == Path("there/figures")
    assert call("figure", "fig05c --format pdf png")["formats"] == ("pdf", "png")
    assert call("figure", "fig05c --where w0<1")["draw"] == ("fig05c", "w0<1")
    assert call("figure", "fig05c --out here")["save"][0] == Path("here")
    for name in ("fig05c", "all"):
        assert _found(call("figure", name), "size", "sheet") == {"size": "page", "sheet": None}
        assert call("figure", f"{name} --size column")["size"] == "column"
        assert call("figure", f"{name} --style mine")["sheet"] == "mine"
    every = call("figure", "all --where w0<1 --runs there --out here")
    assert _found(every, "folder", "all", "save") == {
        "folder": Path("there"), "all": "w0<1", "save": (Path("here"), "fig"),
    }  # fmt: skip


def test_report(call):
    assert call("report")["listing"]
    plain = call("report", "claims")
    assert _found(plain, "wrote", "folder", "loaded", "out") == {
        "wrote": "claims", "folder": Path("runs"), "loaded": "", "out": plain["out"],
    }  # fmt: skip
    assert call("report", "ising")["wrote"] == "ising"
    assert call("report", "claims --runs there")["folder"] == Path("there")
    assert call("report", "claims --where w0<1")["loaded"] == "w0<1"
    assert str(Path("a.md").resolve()) in call("report", "claims --out a.md")["out"]
    assert call("report", "all --where w0<1 --runs there --out pages")["loaded"] == "w0<1"


def test_runs(call):
    plain = call("runs")
    assert _found(plain, "folder", "loaded", "whole") == {"folder": Path("runs"), "loaded": "", "whole": False}
    assert not {"sort", "sql", "export", "pack", "prune", "states", "upgrade"} & set(plain)
    assert call("runs", "--runs there")["folder"] == Path("there")
    assert call("runs", "--where w0<1")["loaded"] == "w0<1"
    assert call("runs", "--sort seed")["sort"] == "seed"
    assert call("runs", "--sql SELECT")["sql"] == "SELECT"
    assert call("runs", "--export a.csv")["export"] == Path("a.csv")
    assert call("runs", "--pack a.parquet")["pack"] == (["k"], Path("a.parquet"))
    assert call("runs", "--all")["whole"] is True
    assert call("runs", "--prune --runs there")["prune"] == Path("there")
    assert call("runs", "--prune-states --runs there")["states"] == (Path("there"), None)
    assert call("runs", "--prune-states --where w0<1")["states"] == (Path("runs"), {"k"})
    assert call("runs", "--upgrade --runs there")["upgrade"] == Path("there")


def test_status(call):
    assert call("status")["folder"] == Path("runs")
    assert call("status", "--runs there")["folder"] == Path("there")


def test_measure(call):
    finished = "status = 'finished'"
    assert _found(call("measure"), "folder", "where", "threads", "taken") == {
        "folder": Path("runs"), "where": [finished], "threads": 1, "taken": (),
    }  # fmt: skip
    assert call("measure", "--runs there")["folder"] == Path("there")
    assert call("measure", "--where w0<1")["where"] == [finished, "w0<1"]
    assert call("measure", "--threads 3")["threads"] == 3
    assert call("measure", "--measure gini norms")["taken"] == ("gini", "norms")
    assert call("measure", "--llc --measure gini")["taken"] == ("gini", *LLC)
    _, names, carried, options = call("measure", "--workers 3 --threads 2 --measure gini")["spread"]
    assert (names, carried, options["threads"]) == (("gini",), Carried(workers=3), 2)
    assert call("measure", "--workers 0")["spread"][2] == Carried()
    assert call("measure", "--scheduler tcp://x:1")["spread"][2] == Carried(scheduler="tcp://x:1")
    assert call("measure", "--scheduler-file f.json")["spread"][2] == Carried(scheduler_file=Path("f.json"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "--prune --upgrade",
            "expected one of --sql, --export, .*--prune-states, --upgrade, got --prune and --upgrade",
        ),
        ("--sql x --export x.csv", "got --sql and --export"),
        ("--pack x.parquet --prune", "got --pack and --prune"),
        ("--prune --where w0<1", "--prune is for all runs of a folder: leave --where and --sort out"),
        ("--upgrade --sort w0", "--upgrade is for all runs of a folder"),
    ],
)
def test_options_of_runs_that_exclude_each_other(text, words):
    with pytest.raises(ConfigError, match=words):
        runs_module.main(text.split())


HERE = Carried(save_every=60.0)


def test_reproduce(call):
    def carried(text: str) -> Carried:
        return call("reproduce", f"--no-measure {text}")["carried"][-1]

    plain = call("reproduce")
    cores = Carried().count
    assert plain["stages"] == ("quick", ())
    assert plain["costs"] == (Path("reproduction"), cores, "cpu")
    assert plain["carried"] == (
        Path("reproduction"),
        "quick",
        "grokfast reproduce --size quick",
        Carried(save_every=60.0),
    )
    assert "page" not in plain
    assert not plain["beyond"]
    sized = call("reproduce", "--size laptop")
    assert sized["stages"][0] == "laptop"
    assert sized["carried"][1:3] == ("laptop", "grokfast reproduce --size laptop")
    some = call("reproduce", "--only C1 fig05c --runs there")
    assert some["stages"][1] == ("C1", "fig05c")
    assert some["carried"][0] == Path("there")
    assert some["carried"][2] == "grokfast reproduce --size quick --only C1 fig05c"
    past = call("reproduce", "--beyond")
    assert past["stages"][1] == ("paper", "beyond")
    assert (past["beyond"], past["carried"][2]) == (True, "grokfast reproduce --size quick --beyond")
    assert "carried" not in call("reproduce", "--plan")
    assert call("reproduce", "--llc")["carried"][2] == "grokfast reproduce --size quick --llc"
    assert "llc" not in call("reproduce")
    assert call("reproduce", "--llc")["llc"] == []
    assert "costs" in call("reproduce", "--plan --no-measure")
    assert "costs" not in call("reproduce", "--no-measure")
    assert call("reproduce", "--page-from s")["page"] == (Path("s"), Path("reproduction.html"))
    assert call("reproduce", "--page-from s --out a.html")["page"] == (Path("s"), Path("a.html"))
    assert carried("--workers 3") == Carried(workers=3, save_every=60.0)
    assert carried("--scheduler tcp://x:1") == Carried(scheduler="tcp://x:1", save_every=60.0)
    assert carried("--scheduler-file f.json") == Carried(scheduler_file=Path("f.json"), save_every=60.0)
    assert carried("--device cuda --scheduler tcp://x:1") == Carried(
        scheduler="tcp://x:1", device="cuda", save_every=60.0
    )
    assert carried("--save-every 7") == Carried(save_every=7.0)
    assert carried("--timeout 8") == Carried(timeout=8.0, save_every=60.0)
    assert call("reproduce", "--workers 3")["costs"][1] == 3
    assert call("reproduce", "--scheduler tcp://x:1 --device cuda")["costs"][1:] == (1, "cuda")


def test_a_reproduction_hands_on_how_it_is_carried_out(monkeypatch, tmp_path):
    from grokfast.reproduce import Stage
    from grokfast.reproduce import run as run_module

    seen: Seen = {}
    monkeypatch.setattr(run_module, "run_sweep", _noting(seen, "sweep", _StopError))
    how = Carried(scheduler="tcp://x:1", device="cuda", save_every=7.0, timeout=8.0)
    with pytest.raises(_StopError):
        run_module.reproduce(
            [Stage("s", (RunConfig(),), {}, True)], tmp_path, "quick", "again", how, lambda kind, details: None
        )
    _, folder, carried, options = seen["sweep"]
    assert (folder, carried) == (tmp_path, how)
    assert options["resume"] == f"again --runs {tmp_path}"


SCAN = {"seed": 0, "replicas": 4, "measurements": 500, "threads": None}
QUENCH = {"sweeps": 1000, "replicas": 16, "dynamics": "glauber", "order": "checkerboard", "seed": 0, "threads": None}


def test_ising(call):
    def scan(text: str) -> tuple[Any, Any, dict[str, Any]]:
        sizes, temperatures, options = call("ising", text)["scan"]
        assert callable(options.pop("step"))
        return sizes, temperatures, options

    sizes, temperatures, options = scan("")
    assert (sizes, options) == ((16, 32, 64), SCAN)
    assert (len(temperatures), temperatures[0], temperatures[-1]) == (40, 1.5, 3.5)
    assert scan("--L 8 12")[0] == (8, 12)
    assert scan("--T 2.0,2.5")[1] == [2.0, 2.5]
    for text, changed in (
        ("--measurements 9", {"measurements": 9}), ("--replicas 3", {"replicas": 3}), ("--seed 5", {"seed": 5}),
        ("--threads 2", {"threads": 2}),
    ):  # fmt: skip
        assert scan(text)[2] == SCAN | changed
    assert call("ising", "--quench")["quench"] == (16, 0.0, QUENCH)
    assert call("ising", "--quench --L 8 12")["quench"][0] == 8
    assert call("ising", "--quench --T 1.5")["quench"][1] == 1.5
    for text, changed in (
        ("--sweeps 9", {"sweeps": 9}), ("--replicas 3", {"replicas": 12}), ("--seed 5", {"seed": 5}),
        ("--threads 2", {"threads": 2}), ("--dynamics metropolis", {"dynamics": "metropolis"}),
        ("--order random", {"order": "random"}),
    ):  # fmt: skip
        assert call("ising", f"--quench {text}")["quench"][2] == QUENCH | changed


def test_where_ising_writes(monkeypatch):
    seen: Seen = {}
    for name in ("_quench", "_scan"):  # that they write into the folder is a test of tests/ising
        monkeypatch.setattr(ising_module, name, _noting(seen, name, []))
    for options, name in (([], "_scan"), (["--quench"], "_quench")):
        ising_module.main(options)
        assert seen[name][-1] == Path("grokfast-ising")
        ising_module.main([*options, "--out", "there/it"])
        assert seen[name][-1] == Path("there/it")


def test_sweep(call):
    assert call("sweep")["listing"]
    plain = call("sweep", "s")
    (_, folder, carried, chosen), options = plain["ran"]
    assert (plain["study"], folder, options["observers"]) == (("s", None), Path("runs"), [])
    assert (carried, chosen, options["keep_state"]) == (Carried(), Chosen(), False)
    assert call("sweep", "s --keep-state")["ran"][1]["keep_state"] is True
    assert (plain["plan"][1].root, plain["remote"]) == (Path("runs"), False)
    assert call("sweep", "s --size quick")["study"] == ("s", "quick")
    assert call("sweep", "s --runs there")["ran"][0][1] == Path("there")
    planned = call("sweep", "s --plan")
    assert "plan" in planned
    assert "ran" not in planned
    assert "plan" in call("sweep", "s --plan --no-measure")
    assert "plan" not in call("sweep", "s --no-measure")
    assert call("sweep", "s --scheduler tcp://x:1")["remote"] is True
    assert call("sweep", "s --scheduler-file f.json")["remote"] is True
    for option, name in (("tensorboard", "TensorBoardLog"), ("wandb", "WandbLog")):
        there = Path("logs").resolve()
        assert call("sweep", f"s --{option} logs")["ran"][1]["observers"] == [(name, there, "every:10")]
        every = call("sweep", f"s --{option} logs --log-schedule at:3")
        assert every["ran"][1]["observers"] == [(name, there, "at:3")]
    for text, chosen in (
        ("--stack-size 5", Chosen(stack_size=5)), ("--retry-failed", Chosen(retry_failed=True)),
        ("--force", Chosen(force=True)), ("--shard 2/3", Chosen(part=(2, 3))),
    ):  # fmt: skip
        seen = call("sweep", f"s {text}")
        assert seen["ran"][0][3] == chosen
        assert vars(chosen).items() <= seen["plan"][-1].items()  # the time told is that of what is trained
    for text, carried in (
        ("--workers 3", Carried(workers=3)),
        ("--device cuda --scheduler tcp://x:1", Carried(scheduler="tcp://x:1", device="cuda")),
        ("--scheduler-file f.json", Carried(scheduler_file=Path("f.json"))), ("--dashboard", Carried(dashboard=True)),
        ("--save-every 7", Carried(save_every=7.0)), ("--timeout 8", Carried(timeout=8.0)),
    ):  # fmt: skip
        assert call("sweep", f"s {text}")["ran"][0][2] == carried
    assert call("sweep", "s --workers 3")["plan"][-1]["workers"] == 3


WALKED = {
    "check": {"folder", "repair", "workers"},
    "demo": {"task", "runs", "epochs", "threads", "force"},
    "doctor": set(),
    "figure": {"name", "folder", "where", "out", "formats", "size", "style"},
    "report": {"name", "folder", "where", "out"},
    "runs": {"folder", "where", "sort", "sql", "export", "pack_into", "whole", "tidied"},
    "status": {"folder"},
    "measure": {"folder", "where", "threads", "only", "llc", "workers", "scheduler", "scheduler_file"},
    "reproduce": {"size_name", "wanted", "folder", "plan", "page_from", "out", "measure", "carried"},
    "ising": {"L", "T", "quench", "move", "sampled", "out"},
}
"""What the tests above try; a new option needs a line in one of them, and here."""


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"train", "sweep"}))
def test_no_option_is_forgotten(command):
    function = getattr(import_module(COMMANDS[command].module), command)
    assert set(inspect.signature(function).parameters) == WALKED[command]


def test_no_field_of_what_commands_share_is_forgotten():
    assert set(inspect.signature(Carried).parameters) == {
        "workers", "scheduler", "scheduler_file", "device", "save_every", "timeout", "dashboard",
    }  # fmt: skip
    assert set(inspect.signature(Chosen).parameters) == {"part", "stack_size", "retry_failed", "force"}
    assert set(inspect.signature(runs_module.Tidied).parameters) == {"prune", "prune_kept", "upgrade"}
    assert set(inspect.signature(ising_module.Move).parameters) == {"dynamics", "order"}
    assert set(inspect.signature(ising_module.Sampled).parameters) == {
        "measurements", "replicas", "sweeps", "seed", "threads",
    }  # fmt: skip
    assert set(inspect.signature(reproduce_module.Wanted).parameters) == {"only", "beyond", "llc"}
    assert set(inspect.signature(sweep_module.Options).parameters) == {
        "carried", "again", "logged", "shard", "stack_size", "keep_state", "measure",
    }  # fmt: skip
