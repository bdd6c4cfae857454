"""Cluster updates: Wolff's single cluster and Swendsen and Wang's decomposition, on int8 lattices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._rng import WordArray, next_uniform, next_word
from grokfast.ising.jit import kernel

SpinArray = npt.NDArray[np.int8]
IntArray = npt.NDArray[np.int64]


@kernel
def wolff(
    spins: SpinArray,
    state: WordArray,
    join: float,
    along: int,
    freeze: float,
    periodic: bool,
    clusters: int,
    done: IntArray,
) -> None:
    """Grow clusters one after the other, and flip each unless the ghost spin, which is the field, joins it.

    Args:
        spins: int8 ``[Ly, Lx]``, updated.
        state: uint64 ``[4]``, xoshiro256+ state, updated.
        join: Chance that a like neighbour joins, 1 - exp(-2J/T).
        along: Sign of the field, 0 without one.
        freeze: Chance that the ghost spin joins a site that lies along the field, 1 - exp(-2|h|/T).
        periodic: Whether the edges meet.
        clusters: How many to grow.
        done: int64 ``[1]``; ``clusters`` is added when all are grown.
    """
    height, width = spins.shape
    members = np.empty(height * width, np.int64)
    for _ in range(clusters):
        site = np.int64(next_uniform(state) * (height * width))
        s = spins[site // width, site % width]
        spins[site // width, site % width] = -s
        members[0] = site
        size = 1
        next_member = 0
        frozen = False
        while next_member < size and not frozen:
            y, x = members[next_member] // width, members[next_member] % width
            next_member += 1
            if s == along and next_uniform(state) < freeze:
                frozen = True
                break
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
                    members[size] = v * width + u
                    size += 1
        if frozen:
            for i in range(size):
                spins[members[i] // width, members[i] % width] = s
    done[0] += clusters


@kernel
def _root(parent: IntArray, site: int) -> int:
    """The representative of a site's cluster, halving the path to it."""
    while parent[site] != site:
        parent[site] = parent[parent[site]]
        site = parent[site]
    return site


@kernel
def swendsen_wang(
    spins: SpinArray,
    state: WordArray,
    join: float,
    along: int,
    freeze: float,
    periodic: bool,
    sweeps: int,
    done: IntArray,
) -> None:
    """Divide the lattice into clusters and flip each that the ghost spin does not join with probability 1/2.

    Arguments as for :func:`wolff`.
    """
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
        if along != 0:
            for site in range(parent.size):
                if spins[site // width, site % width] == along and next_uniform(state) < freeze:
                    flip[_root(parent, site)] = False
        for site in range(parent.size):
            if flip[_root(parent, site)]:
                spins[site // width, site % width] = -spins[site // width, site % width]
    done[0] += sweeps
