"""Training damaged runs of a store again, from what is left of their records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grokfast.errors import GrokfastError, StoreError
from grokfast.store import Store
from grokfast.store.checking import Health
from grokfast.store.layout import write_format
from grokfast.store.schema1 import upgraded
from grokfast.store.sealed import InForce, in_force, read_contents
from grokfast.studies import Sweep
from grokfast.sweep.carrier import Listener
from grokfast.sweep.engine import run_sweep
from grokfast.sweep.journal import sweeps_of
from grokfast.sweep.options import Carried
from grokfast.training import RunConfig, config_of


@dataclass
class Repair:
    """What :func:`repair_store` did.

    Attributes:
        trained: Keys of runs that were trained again.
        removed: Files of measures that are taken anew when they are asked for.
        left: Messages on what is still damaged, and why.
        stopped: Why it ended before all was done; empty if all was.
    """

    trained: list[str] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    stopped: str = ""


def repair_store(
    store: Store, health: Health, *, workers: int = 0, resume: str = "", listener: Listener | None = None
) -> Repair:
    """Train damaged runs again, and remove damaged measures.

    A run is trained again as its record tells, where that is whole, or where the record's configuration, or that of an
    earlier version, still hashes to the run's key. It ends with the same bits where torch and the processor are the
    same. What observers of one's own saw is lost. It may be killed at any moment and called again.

    Args:
        store: The store.
        health: What is damaged.
        workers: Local processes; 0 is one a core.
        resume: Command that starts it again, for ``grokfast status``.
        listener: Told what happens, as of a sweep.

    Raises:
        StoreError: If the store cannot be written.
        SweepError: If the workers were lost.
    """
    done = Repair()
    for file, message in health.others.items():
        if file.name == "store.json":
            file.unlink()
            write_format(store.root)
        else:
            done.left.append(message)
    for file in health.derived:
        file.unlink(missing_ok=True)
        done.removed.append(file)
    configs = {}
    for name, message in health.damaged.items():
        config = _configuration(store.root / name)
        if config is None:
            done.left.append(f"{message}; its record cannot be relied on: {_advice(store, name)}")
        else:
            configs[config.key] = config
    if configs:
        sweep = Sweep("repair", tuple(configs.values()))
        report = run_sweep(sweep, store.root, Carried(workers=workers), resume=resume, listener=listener)
        done.trained = [key for key in report.published if key not in report.failed]
        done.left += [f"run {key} could not be trained again: {reason}" for key, reason in report.failed.items()]
        done.stopped = report.stopped
    return done


def _configuration(home: Path) -> RunConfig | None:
    """How a damaged run was trained; None if nothing tells that can be relied on."""
    for record, sealed in _records(home):
        with suppress(GrokfastError, KeyError, TypeError, ValueError, AttributeError):
            config = config_of(upgraded(record))
            if sealed or config.key == home.name:
                return config
    return None


def _records(home: Path) -> Iterator[tuple[dict[str, Any], bool]]:
    """Records of a run's versions, the one in force first, and whether their bytes are known to be right."""
    current = None
    with suppress(StoreError):
        current = in_force(home)
        with suppress(StoreError):
            yield read_contents(current), current.digest is not None
    versions = sorted(home.glob("v*"), reverse=True)
    for folder in [*([] if current is None else [current.folder]), *versions]:
        with suppress(StoreError):
            yield read_contents(InForce(folder, None), verify=False), False


def _advice(store: Store, name: str) -> str:
    with suppress(StoreError):
        for sweep in sweeps_of(store):
            if name in sweep["keys"] and sweep.get("resume"):
                return f"`{sweep['resume']}` trains it again"
    return "start the sweep that it belongs to again, which trains it"
