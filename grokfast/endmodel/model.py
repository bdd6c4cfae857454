"""A stored run's network as measures and pruning take it: one member, its data, Fisher diagonal and gradients."""

from __future__ import annotations

import numpy as np
import torch

from grokfast._checks import parse_choice
from grokfast.geometry import MetricFisher
from grokfast.models import Params, stack_members, zeros_together
from grokfast.observe import (
    Snapshot,
)
from grokfast.observe.gini import stack_fisher
from grokfast.runs import Run


def snapshot_of(run: Run, epoch: int | None = None) -> Snapshot:
    """A stored run as measures look at it: a stack of one, with its data.

    Args:
        run: A finished run.
        epoch: Of a stored checkpoint; the last if None.
    """
    params = stack_members([run.checkpoint(epoch)], run.config.task.input_major)
    at = run.checkpoint_epochs[-1] if epoch is None else epoch
    history = run.history
    row = int(np.searchsorted(history["epoch"], at))
    metrics = {
        name: torch.from_numpy(values[row : row + 1].astype(np.float64))
        for name, values in history.items()
        if name != "epoch"
    }
    return Snapshot(at, run.config.task, params, [run.data()], [run.config], metrics)


def end_params(run: Run) -> Params:
    """The end model as a stack of one, in the order of the module and the storage of the task.

    Args:
        run: A finished run.
    """
    return stack_members([run.checkpoint()], run.config.task.input_major)


def end_fisher(run: Run, fisher: str | MetricFisher = MetricFisher.SOFTMAX) -> Params:
    """Fisher diagonal of the end model on the whole test split, exact, as a stack of one.

    Args:
        run: A finished run.
        fisher: ``"softmax"``, or ``"logit"`` as in the published code (which takes 16 samples).
    """
    return stack_fisher(snapshot_of(run), 0, parse_choice("fisher", fisher, MetricFisher))


def end_gradients(run: Run) -> Params:
    """Gradient of the mean loss on the whole train split at the end model, as a stack of one.

    Args:
        run: A finished run.
    """
    params, split = end_params(run), run.data()
    gradients = zeros_together(params)
    run.config.task.gradients(params, split.train_inputs[None], split.train_labels[None], gradients)
    return gradients
