"""Cluster updates: Wolff's single cluster and Swendsen and Wang's decomposition, on int8 lattices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._jit import kernel
from grokfast.ising._rng import WordArray, next_uniform, next_word

SpinArray = npt.NDArray[np.int8]
IntArray = npt.NDArray[np.int64]


@kernel
def wolff(spins: SpinArray, state: WordArray, join: float, periodic: bool, clusters: int) -> int:
    """Flip clusters one after the other.

    Args:
        spins: int8 ``[Ly, Lx]``, updated.
        state: uint64 ``[4]``, xoshiro256+ state, updated.
        join: Chance that a like neighbour joins, 1 - exp(-2J/T).
        periodic: Whether the edges meet.
        clusters: How many to grow and flip.

    Returns:
        Sites flipped.
    """
    height, width = spins.shape
    stack = np.empty(height * width, np.int64)
    flipped = 0
    for _ in range(clusters):
        site = np.int64(next_uniform(state) * (height * width))
        s = spins[site // width, site % width]
        spins[site // width, site % width] = -s
        stack[0] = site
        waiting = 1
        while waiting > 0:
            waiting -= 1
            flipped += 1
            y, x = stack[waiting] // width, stack[waiting] % width
            for direction in range(4):
                v, u = y, x
                if direction == 0:
                    v -= 1
                elif direction == 1:
                    v += 1
                elif direction == 2:
                    u -= 1
                else:
                    u += 1
                if periodic:
                    v = v + height if v < 0 else (0 if v == height else v)
                    u = u + width if u < 0 else (0 if u == width else u)
                elif v < 0 or u < 0 or v == height or u == width:
                    continue
                if spins[v, u] == s and next_uniform(state) < join:
                    spins[v, u] = -s  # a flipped site cannot join twice
                    stack[waiting] = v * width + u
                    waiting += 1
    return flipped


@kernel
def _root(parent: IntArray, site: int) -> int:
    """The representative of a site's cluster, halving the path to it."""
    while parent[site] != site:
        parent[site] = parent[parent[site]]
        site = parent[site]
    return site


@kernel
def swendsen_wang(spins: SpinArray, state: WordArray, join: float, periodic: bool, sweeps: int) -> None:
    """Divide the lattice into clusters and flip each with probability 1/2; arguments as for :func:`wolff`."""
    height, width = spins.shape
    parent = np.empty(height * width, np.int64)
    flip = np.empty(height * width, np.bool_)
    for _ in range(sweeps):
        for site in range(parent.size):
            parent[site] = site
        for y in range(height):
            for x in range(width):
                s = spins[y, x]
                for direction in range(2):
                    v = y + 1 if direction == 0 else y
                    u = x + 1 if direction == 1 else x
                    if v == height or u == width:
                        if not periodic:
                            continue
                        v, u = v % height, u % width
                    if spins[v, u] == s and next_uniform(state) < join:
                        a = _root(parent, y * width + x)
                        b = _root(parent, v * width + u)
                        parent[max(a, b)] = min(a, b)
        for site in range(parent.size):
            flip[site] = next_word(state) >> np.uint64(63) != np.uint64(0)
        for site in range(parent.size):
            if flip[_root(parent, site)]:
                spins[site // width, site % width] = -spins[site // width, site % width]
