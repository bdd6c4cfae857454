"""Largest eigenvalue and trace of a symmetric matrix that is known by its products alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from grokfast._checks import check_at_least, check_positive
from grokfast._edge import edge
from grokfast.errors import InputError

Product = Callable[[Tensor], Tensor]
"""The matrix times a vector ``[n]``."""


@dataclass(frozen=True)
class Eigenvalue:
    """The largest eigenvalue of a symmetric matrix.

    Attributes:
        value: The largest (in the algebraic sense) Ritz value.
        residual: Norm of A v - value v for its unit vector v: an eigenvalue lies within that of the value.
        steps: Products taken.
    """

    value: float
    residual: float
    steps: int


@edge
def largest_eigenvalue(
    product: Product, size: int, *, steps: int = 60, tolerance: float = 1e-3, seed: int = 0
) -> Eigenvalue:
    """Largest eigenvalue by Lanczos iteration with full reorthogonalisation.

    Args:
        product: The matrix times a vector, in any floating-point type.
        size: n, at least 1.
        steps: Products at most.
        tolerance: Residual over the largest value at which it stops.
        seed: Of the random start.

    Returns:
        The eigenvalue with its residual.

    Raises:
        InputError: If the product has another shape or is not finite.

    Source:
        C. Lanczos, J. Res. NBS 45, 255 (1950); Golub and Van Loan, Matrix Computations, section 10.1.
    """
    check_at_least("size", size, 1)
    check_at_least("steps", steps, 1)
    check_positive("tolerance", tolerance)
    start = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    found = Eigenvalue(0.0, 0.0, 0)
    for k in range(1, min(steps, size) + 1):
        image = _checked(product(basis[-1]), size)
        diagonal.append(float(basis[-1] @ image))
        rest = image
        for _ in range(2):  # once more, as rounding spoils the first
            known = torch.stack(basis)
            rest = rest - known.mT @ (known @ rest)
        norm = float(rest.norm())
        values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, beside))
        found = Eigenvalue(float(values[-1]), abs(norm * float(vectors[-1, -1])), k)
        if norm == 0 or found.residual <= tolerance * float(values.abs().max()):
            break
        beside.append(norm)
        basis.append(rest / norm)
    return found


@edge
def hutchinson_trace(product: Product, size: int, *, probes: int = 32, seed: int = 0) -> tuple[float, float]:
    r"""Trace by random signs, :math:`\frac1m \sum_j z_j^\top A z_j`.

    Args:
        product: The matrix times a vector.
        size: n, at least 1.
        probes: m, at least 2.
        seed: Of the signs.

    Returns:
        The estimate and its standard error.

    Raises:
        InputError: As :func:`largest_eigenvalue`.

    Source:
        M. F. Hutchinson, Commun. Stat. Simul. Comput. 18, 1059 (1989).
    """
    check_at_least("size", size, 1)
    check_at_least("probes", probes, 2)
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(probes):
        signs = torch.randint(0, 2, (size,), generator=generator).double() * 2 - 1
        values.append(float(signs @ _checked(product(signs), size)))
    drawn = torch.tensor(values, dtype=torch.float64)
    return float(drawn.mean()), float(drawn.std() / probes**0.5)


def _tridiagonal(diagonal: list[float], beside: list[float]) -> Tensor:
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        side = torch.tensor(beside, dtype=torch.float64)
        matrix += torch.diag(side, 1) + torch.diag(side, -1)
    return matrix


def _checked(image: Tensor, size: int) -> Tensor:
    if image.shape != (size,):
        raise InputError(f"expected the matrix times a vector [{size}], got {list(image.shape)}")
    if not image.isfinite().all():
        raise InputError("the matrix times a vector is not finite")
    return image.detach().double().cpu()
