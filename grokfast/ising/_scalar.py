"""The plain path, one int8 a spin: it takes every lattice and is the reference for the fast path."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from grokfast.ising._ladder import local_field
from grokfast.ising._rng import WordArray, advance, next_uniform, to_uniform
from grokfast.ising.jit import kernel

SpinArray = npt.NDArray[np.int8]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
MaskArray = npt.NDArray[np.bool_]


def flip_table(temperature: float, J: float, field: float, glauber: bool) -> FloatArray:
    """Flip probability of a spin s with neighbour sum h, from ΔE = 2 s (J h + field).

    Args:
        temperature: T >= 0. At T = 0 moves with ΔE > 0 are never and with ΔE < 0 always made; ΔE = 0 is always
            accepted by Metropolis and with probability 1/2 by Glauber, as at every temperature.
        J: Coupling.
        field: External field.
        glauber: 1 / (1 + exp(ΔE/T)) instead of Metropolis' min(1, exp(-ΔE/T)).

    Returns:
        float64 ``[2, 9]``, indexed by ``(s + 1) // 2`` and ``h + 4``.
    """
    table = np.empty((2, 9))
    for s in (-1, 1):
        for h in range(-4, 5):
            x = energy_over_temperature(2.0 * s * local_field(J, h, field), temperature)
            if glauber:
                table[(s + 1) // 2, h + 4] = 1.0 / (1.0 + math.exp(x)) if x < 700.0 else 0.0
            else:
                table[(s + 1) // 2, h + 4] = math.exp(-max(x, 0.0))
    return table


def energy_over_temperature(energy: float, temperature: float) -> float:
    """ΔE / T, infinite at T = 0 unless ΔE = 0."""
    if temperature == 0.0:
        return math.copysign(math.inf, energy) if energy != 0.0 else 0.0
    return energy / temperature


@kernel
def neighbour_sum(spins: SpinArray, y: int, x: int, periodic: bool) -> np.int64:
    """Sum of the (up to four) neighbours of site (y, x)."""
    height, width = spins.shape
    total = np.int64(0)
    if periodic or y > 0:
        total += spins[y - 1 if y > 0 else height - 1, x]
    if periodic or y < height - 1:
        total += spins[y + 1 if y < height - 1 else 0, x]
    if periodic or x > 0:
        total += spins[y, x - 1 if x > 0 else width - 1]
    if periodic or x < width - 1:
        total += spins[y, x + 1 if x < width - 1 else 0]
    return total


@kernel
def sweep_scalar(
    spins: SpinArray,
    state: WordArray,
    table: FloatArray,
    checkerboard: bool,
    periodic: bool,
    sweeps: int,
    done: IntArray,
) -> None:
    """Sweep one lattice ``[Ly, Lx]``: first all sites with y + x even, then the others, or row by row.

    ``done`` (int64 ``[1]``) is increased by ``sweeps`` at the end: no interrupt can come between the two.
    """
    height, width = spins.shape
    colors = 2 if checkerboard else 1
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for _ in range(sweeps):
        for color in range(colors):
            for y in range(height):
                # neighbour_sum() written out: it is three times slower called from here
                up = y - 1 if y > 0 else height - 1
                down = y + 1 if y < height - 1 else 0
                for x in range((y + color) & 1 if checkerboard else 0, width, colors):
                    h = np.int64(0)
                    if periodic or y > 0:
                        h += spins[up, x]
                    if periodic or y < height - 1:
                        h += spins[down, x]
                    if periodic or x > 0:
                        h += spins[y, x - 1 if x > 0 else width - 1]
                    if periodic or x < width - 1:
                        h += spins[y, x + 1 if x < width - 1 else 0]
                    word, s0, s1, s2, s3 = advance(s0, s1, s2, s3)
                    s = spins[y, x]
                    spins[y, x] = -s if to_uniform(word) < table[(s + 1) >> 1, h + 4] else s
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    done[0] += sweeps


@kernel
def sweep_random(
    spins: SpinArray, state: WordArray, table: FloatArray, periodic: bool, sweeps: int, done: IntArray
) -> None:
    """Sweep one lattice in random order: Ly Lx attempts at independent random sites make a sweep."""
    height, width = spins.shape
    for _ in range(sweeps * height * width):
        site = np.int64(next_uniform(state) * (height * width))
        y, x = site // width, site % width
        s = spins[y, x]
        if next_uniform(state) < table[(s + 1) >> 1, neighbour_sum(spins, y, x, periodic) + 4]:
            spins[y, x] = -s
    done[0] += sweeps


@kernel
def half_sweep_masked(
    spins: SpinArray, color: int, glauber: bool, one: MaskArray, four: MaskArray, half: MaskArray
) -> None:
    """The same update of one colour of a periodic lattice with given masks in place of random numbers.

    It defines what the word kernels compute, bit for bit.

    Args:
        spins: int8 ``[Ly, Lx]``, updated.
        color: 0 where y + x is even, 1 elsewhere.
        glauber: Whether the masks are up-probabilities instead of flip probabilities.
        one: bool ``[Ly, Lx]``: flip a spin that disagrees with one neighbour (Glauber: set up a spin with one
            neighbour up, set down one with three).
        four: bool ``[Ly, Lx]``: flip a spin that disagrees with none (Glauber: no neighbour up, or all).
        half: bool ``[Ly, Lx]``: Glauber: set up a spin with two neighbours up.
    """
    height, width = spins.shape
    for y in range(height):
        for x in range((y + color) & 1, width, 2):
            s = np.int64(spins[y, x])
            h = neighbour_sum(spins, y, x, True)
            if not glauber:
                if s * h <= 0 or (s * h == 2 and one[y, x]) or (s * h == 4 and four[y, x]):
                    spins[y, x] = -s
            elif h == 0:
                spins[y, x] = 1 if half[y, x] else -1
            else:
                mask = one[y, x] if abs(h) == 2 else four[y, x]
                spins[y, x] = (1 if mask else -1) * (1 if h < 0 else -1)


@kernel
def count_scalar(lattices: SpinArray, periodic: bool, sums: IntArray) -> None:
    """Bond sums Σ_<ij> σi σj, and the sums of spins with y + x even and odd.

    Args:
        lattices: int8 ``[count, Ly, Lx]``.
        periodic: Whether the edges see each other.
        sums: int64 ``[3, count]``, output.
    """
    count, height, width = lattices.shape
    for i in range(count):
        spins = lattices[i]
        bonds = np.int64(0)
        even = np.int64(0)
        odd = np.int64(0)
        for y in range(height):
            for x in range(width):
                s = np.int64(spins[y, x])
                if (y + x) & 1:
                    odd += s
                else:
                    even += s
                if x + 1 < width or periodic:
                    bonds += s * spins[y, x + 1 if x + 1 < width else 0]
                if y + 1 < height or periodic:
                    bonds += s * spins[y + 1 if y + 1 < height else 0, x]
        sums[0, i], sums[1, i], sums[2, i] = bonds, even, odd
