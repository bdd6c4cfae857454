"""Observers that write to TensorBoard and to Weights & Biases while a stack trains.

They add nothing to a run and change no bit of it. Each needs its extra:
``pip install 'grokfast[tensorboard]'``, ``pip install 'grokfast[wandb]'``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from grokfast.errors import InputError
from grokfast.observe import Snapshot


class TensorBoardLog:
    """Writes each member's metrics to a TensorBoard folder of its own, ``FOLDER/<key>``.

    Args:
        folder: Where; show it with ``tensorboard --logdir FOLDER``.

    Raises:
        InputError: If tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        _need("torch.utils.tensorboard", "tensorboard")
        self._folder = Path(folder)
        self._writers: dict[str, Any] = {}

    def __call__(self, snapshot: Snapshot) -> Mapping[str, Tensor]:
        """Write the epoch's metrics; nothing is added to the history."""
        for key, values in _by_member(snapshot).items():
            if key not in self._writers:
                module = _need("torch.utils.tensorboard", "tensorboard")
                # What an interrupted process wrote after the last saved state is written again: drop it.
                folder = str(self._folder / key)
                self._writers[key] = module.SummaryWriter(folder, purge_step=snapshot.epoch)
            for name, value in values.items():
                self._writers[key].add_scalar(name, value, snapshot.epoch)
            self._writers[key].flush()
        return {}

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


class WandbLog:
    """Writes each member's metrics to a Weights & Biases run of its own, on disk only.

    Nothing is sent anywhere: upload later with ``wandb sync FOLDER/wandb/offline-run-*``. A resumed shard
    goes on in a second folder with the same run name.

    Args:
        folder: Where the ``wandb`` folder is made.
        project: Project name for the later upload.

    Raises:
        InputError: If wandb is not installed.
    """

    def __init__(self, folder: str | Path, project: str = "grokfast") -> None:
        _need("wandb", "wandb")
        self._folder = Path(folder)
        self._project = project
        self._runs: dict[str, Any] = {}

    def __call__(self, snapshot: Snapshot) -> Mapping[str, Tensor]:
        """Write the epoch's metrics; nothing is added to the history."""
        configs = {config.key: config.to_dict() for config in snapshot.configs}
        for key, values in _by_member(snapshot).items():
            if key not in self._runs:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._runs[key] = _need("wandb", "wandb").init(
                    project=self._project,
                    id=key,
                    name=key,
                    dir=str(self._folder),
                    config=configs[key],
                    mode="offline",
                    reinit="create_new",
                )
            self._runs[key].log({**values, "epoch": snapshot.epoch}, step=snapshot.epoch)
        return {}

    def close(self) -> None:
        """Finish the runs."""
        for run in self._runs.values():
            run.finish()
        self._runs.clear()


def _by_member(snapshot: Snapshot) -> dict[str, dict[str, float]]:
    """Finite metrics of each member by its key."""
    members: dict[str, dict[str, float]] = {}
    for e, config in enumerate(snapshot.configs):
        values = {name: float(column[e]) for name, column in snapshot.metrics.items()}
        members[config.key] = {name: value for name, value in values.items() if value == value}
    return members


def _need(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"logging to {extra} needs its package ({error}): pip install 'grokfast[{extra}]'") from error
