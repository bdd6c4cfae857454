"""Shares of frequencies in the output weights of modular addition, kept for when a run is without its end model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from grokfast.errors import InputError, StoreError
from grokfast.measures import fourier_power
from grokfast.runs import Run
from grokfast.store import derived, read_derived

_ENTRY, _VERSION = "frequency-shares", "1"


def frequency_shares(run: Run) -> NDArray[np.float64]:
    """Share of each frequency in each live neuron's output weights: ``[H live, frequencies]``, sorted for display.

    Args:
        run: A finished run of modular addition; one without its end model must have them kept.
    """
    kept = read_derived(run.store, run.key, _ENTRY, _VERSION)
    return _computed(run) if kept is None else kept["shares"].astype(np.float64)


def keep_frequency_shares(run: Run) -> None:
    """Keep :func:`frequency_shares` beside the run."""
    derived(run.store, run.key, _ENTRY, _VERSION, lambda: {"shares": _computed(run)})


def lacks_frequencies(run: Run) -> str | None:
    """What a run's network lacks for them, in words; None if nothing."""
    if read_derived(run.store, run.key, _ENTRY, _VERSION) is not None:
        return None
    try:
        params = run.checkpoint()
    except StoreError:  # packed without its end model: of these only the runs that are shown have theirs kept
        return None
    return None if _matrices(params) else "a last layer that is its output matrix, as an MLP's"


def _matrices(params: Mapping[str, Tensor]) -> list[int]:
    """Places of the layers of a sequence."""
    return [int(first) for first, _, last in (name.partition(".") for name in params) if first.isdigit() and last]


def _computed(run: Run) -> NDArray[np.float64]:
    params = run.checkpoint()
    layers = _matrices(params)
    if not layers:
        raise InputError(f"expected a network whose last layer is its output matrix, as an MLP's, got {sorted(params)}")
    weight = params[f"{max(layers)}.weight"]
    power = fourier_power(weight.T.double())
    waves = weight.shape[0] // 2 + 1
    share = power[:, :waves].clone()
    share[:, 1 : 1 + power.shape[1] - waves] += power[:, waves:]
    share = share[share.sum(1) > 0]
    share = share / share.sum(1, keepdim=True)
    order = np.lexsort((-share.amax(1).numpy(), share.argmax(1).numpy()))
    return np.asarray(share.numpy()[order], dtype=np.float64)
