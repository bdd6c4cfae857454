"""Snapshots divided by straight domain walls, which fixed sweeps from a random start leave behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_fraction
from grokfast.errors import InputError
from grokfast.ising.dataset import IsingDataset
from grokfast.ising.kinds import Phase

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class StripeReport:
    """Counts among the cold (ordered) snapshots of a data set.

    Attributes:
        cold: Snapshots of the ordered phase.
        small_magnetization: Those with |m| < 0.5, m per site.
        horizontal: Those with a row nearly all up and another nearly all down.
        vertical: The same for columns.
        striped: Those that are either.
        irregular: Those with |m| < 0.5 that are neither: diagonal walls, or domains still growing.
        by_temperature: Cold temperatures in rising order, each with its share of striped snapshots.
    """

    cold: int
    small_magnetization: int
    horizontal: int
    vertical: int
    striped: int
    irregular: int
    by_temperature: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        share = 100.0 / max(self.cold, 1)
        return (
            f"{self.cold} cold snapshots: {self.striped} striped ({share * self.striped:.1f} %; "
            f"{self.horizontal} horizontal, {self.vertical} vertical), "
            f"{self.small_magnetization} with |m| < 0.5 ({share * self.small_magnetization:.1f} %), "
            f"of which {self.irregular} without a straight stripe"
        )


def find_stripes(spins: npt.ArrayLike, purity: float = 0.75) -> tuple[BoolArray, BoolArray]:
    """Which snapshots have horizontal and which vertical stripes.

    A snapshot has horizontal stripes if the mean of one row is at least ``purity`` and that of another at
    most ``-purity``: then domains of both signs go around the lattice, with straight walls between them.

    Args:
        spins: ±1, ``[..., Ly, Lx]``.
        purity: In (0, 1). The spontaneous magnetisation is above 3/4 for T < 2.21 J.

    Returns:
        Two bool arrays ``[...]``.

    Raises:
        InputError: If ``spins`` has fewer than two axes or ``purity`` is out of range.
    """
    check_fraction("purity", purity)
    values = np.asarray(spins)
    if values.ndim < 2:
        raise InputError(f"spins must be [..., Ly, Lx], got shape {values.shape}")
    rows, columns = values.mean(axis=-1), values.mean(axis=-2)
    horizontal, vertical = (
        (means.max(axis=-1) >= purity) & (means.min(axis=-1) <= -purity) for means in (rows, columns)
    )
    return horizontal, vertical


def stripe_report(dataset: IsingDataset, purity: float = 0.75) -> StripeReport:
    """Count the striped snapshots among the cold ones.

    Args:
        dataset: Snapshots with labels.
        purity: As for :func:`find_stripes`.

    Returns:
        The counts; ``str()`` makes a sentence of them.

    Raises:
        InputError: If ``purity`` is out of range.
    """
    cold = dataset.labels.numpy() == Phase.ORDERED
    horizontal, vertical = find_stripes(dataset.spins.numpy()[cold], purity)
    striped = horizontal | vertical
    small = np.abs(dataset.magnetizations.numpy()[cold]) < 0.5
    temperatures = dataset.temperatures.numpy()[cold]
    return StripeReport(
        cold=int(cold.sum()),
        small_magnetization=int(small.sum()),
        horizontal=int(horizontal.sum()),
        vertical=int(vertical.sum()),
        striped=int(striped.sum()),
        irregular=int((small & ~striped).sum()),
        by_temperature=tuple((float(T), float(striped[temperatures == T].mean())) for T in np.unique(temperatures)),
    )
