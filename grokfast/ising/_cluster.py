"""Cluster updates: Wolff's single cluster and Swendsen and Wang's decomposition, on int8 lattices."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from grokfast.ising._rng import WordArray, advance, next_uniform, next_word, to_uniform
from grokfast.ising.jit import kernel

SpinArray = npt.NDArray[np.int8]
IntArray = npt.NDArray[np.int64]
Generator = tuple[np.uint64, np.uint64, np.uint64, np.uint64]

_S11 = np.uint64(11)


@kernel
def _try(
    flat: SpinArray, members: IntArray, size: int, site: int, s: np.int8, chance: np.uint64, rng: Generator
) -> tuple[int, Generator]:
    """Let a site join if its spin is ``s``: the cluster's new size, and the generator, which moves on for those only.

    Without branches, which no processor could foresee: the site is written behind the members in any case.
    """
    i = np.uint64(site)
    like = flat[i] == s
    s0, s1, s2, s3 = rng
    word, n0, n1, n2, n3 = advance(s0, s1, s2, s3)
    joins = like & ((word >> _S11) < chance)
    flat[i] = -s if joins else flat[i]  # a flipped site cannot join twice
    members[np.uint64(size)] = site
    return size + int(joins), (n0 if like else s0, n1 if like else s1, n2 if like else s2, n3 if like else s3)


@kernel
def _next(rng: Generator) -> tuple[float, Generator]:
    """A float64 in [0, 1), and the generator after it."""
    word, s0, s1, s2, s3 = advance(rng[0], rng[1], rng[2], rng[3])
    return to_uniform(word), (s0, s1, s2, s3)


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
    sites = height * width
    flat = spins.reshape(-1)
    members = np.empty(sites + 1, np.int64)
    chance = np.uint64(math.ceil(join * 2.0**53))
    rng = (state[0], state[1], state[2], state[3])
    for _ in range(clusters):
        u, rng = _next(rng)
        site = np.int64(u * sites)
        s = flat[site]
        flat[site] = -s
        members[0] = site
        size = 1
        next_member = 0
        frozen = False
        while next_member < size:
            site = members[next_member]
            next_member += 1
            if s == along:
                u, rng = _next(rng)
                if u < freeze:
                    frozen = True
                    break
            y = np.int64(np.uint32(site) // np.uint32(width)) if sites < 2**32 else site // width
            x = site - y * width
            if periodic or y > 0:
                v = site - width if y > 0 else site - width + sites
                size, rng = _try(flat, members, size, v, s, chance, rng)
            if periodic or y < height - 1:
                v = site + width if y < height - 1 else site + width - sites
                size, rng = _try(flat, members, size, v, s, chance, rng)
            if periodic or x > 0:
                v = site - 1 if x > 0 else site - 1 + width
                size, rng = _try(flat, members, size, v, s, chance, rng)
            if periodic or x < width - 1:
                v = site + 1 if x < width - 1 else site + 1 - width
                size, rng = _try(flat, members, size, v, s, chance, rng)
        if frozen:
            for i in range(size):
                flat[members[i]] = s
    state[0], state[1], state[2], state[3] = rng
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
