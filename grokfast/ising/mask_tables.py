"""The probabilities of a problem as the word kernels take them: ladder bits and corrections for each block."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from grokfast.ising._ladder import general_probabilities, ladder_bits, mask_probabilities, split_probability
from grokfast.ising._masks import LANES, STEPS
from grokfast.ising.engine import FloatArray, IntArray, Problem
from grokfast.ising.kinds import Boundary

WordArray = npt.NDArray[np.uint64]


class Masks(NamedTuple):
    """Masks of one set of temperatures.

    Attributes:
        bits: uint64 ``[..., masks, STEPS + 1, LANES]``.
        redraw: float64 ``[..., masks, 64 W]``.
    """

    bits: WordArray
    redraw: FloatArray


class MaskTables(NamedTuple):
    """What decides the flips.

    Attributes:
        of_block: int64 ``[blocks]``, which entry of the lists a block has: those with the same temperatures share one.
        plain: The two masks of sites with four neighbours and no field, or none of them (``[0, …]``) in a field.
        general: ``[2, CLASSES, 5, …]``, for each colour and number of neighbours, or None on a torus without a field.
        favour: uint64 ``[2, CLASSES, 5]``, all ones where the local field is up.
    """

    of_block: IntArray
    plain: list[Masks]
    general: list[Masks] | None
    favour: WordArray


def mask_tables(problem: Problem, lanes: FloatArray, width: int, ladder: int) -> MaskTables:
    """Tables for every block.

    Args:
        problem: What is sampled.
        lanes: Temperatures of each block's lattices, float64 ``[blocks, 64 W]``, or ``[blocks, 1]`` if it has one.
        width: W.
        ladder: Ladder steps K that the probabilities use.
    """
    groups, of_block = np.unique(lanes, axis=0, return_inverse=True)
    full = [np.broadcast_to(T, (64 * width,)) for T in groups]
    fields = [problem.field, problem.odd_field]
    J = abs(problem.J)
    plain = [_masks(mask_probabilities(T, J, problem.dynamics), width, ladder) for T in full]
    if problem.field != 0.0:
        plain = [Masks(bits[:0], redraw[:0]) for bits, redraw in plain]
    elif problem.boundary is Boundary.PERIODIC:
        return MaskTables(of_block.reshape(-1), plain, None, np.zeros((2, 3, 5), np.uint64))
    general, up = [], np.zeros((2, 3, 5), np.bool_)
    for T in full:
        both = [general_probabilities(T, J, h, problem.dynamics) for h in fields]
        up = np.array([favour for _, favour in both])
        general.append(_masks(np.array([p for p, _ in both]), width, ladder))
    return MaskTables(of_block.reshape(-1), plain, general, np.where(up, ~np.uint64(0), np.uint64(0)))


def _masks(p: FloatArray, width: int, ladder: int) -> Masks:
    """Of probabilities ``[..., masks, 64 W]``."""
    n, g = split_probability(p.reshape(-1, p.shape[-1]), ladder)
    lane_bits = ladder_bits(n << (STEPS - ladder), STEPS)  # [K + 1, masks, 64 W]
    as_words = np.packbits(lane_bits, axis=-1, bitorder="little").view("<u8").astype(np.uint64)
    repeated = np.tile(as_words, (1, 1, LANES // width)).transpose(1, 0, 2)
    bits = np.ascontiguousarray(repeated).reshape(*p.shape[:-1], STEPS + 1, LANES)
    return Masks(bits, np.ascontiguousarray(g).reshape(p.shape))
