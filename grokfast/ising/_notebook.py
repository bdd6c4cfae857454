"""A sampler in a notebook: what it is, and some of its lattices as pictures."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from grokfast._html import heading, picture
from grokfast.ising.engine import FloatArray, SpinArray

_MOST_SPINS = 1 << 26
_ROWS, _COLUMNS, _PIXELS = 6, 8, 64
UP, DOWN, GAP = (243, 233, 210), (38, 69, 110), (255, 255, 255)


def sampler_html(
    shape: tuple[int, int, int, int], temperatures: FloatArray, about: str, spins: Callable[[], SpinArray]
) -> str:
    """A heading, and a row of snapshots for each of a few temperatures; light is up.

    Args:
        shape: ``(T, R, Ly, Lx)``.
        temperatures: ``[T]``.
        about: Update, couplings and age in one line.
        spins: Gives ``[T, R, Ly, Lx]``; not called if that is large.
    """
    T, R, rows, columns = shape
    name = heading(f"Ising sampler, {T} × {R} lattices of {rows} × {columns}", about)
    if T * R * rows * columns > _MOST_SPINS:
        return name
    picks = np.unique(np.linspace(0, T - 1, min(T, _ROWS)).round().astype(int))
    found = spins()[picks, :_COLUMNS]
    width = found.shape[1] * _PIXELS
    body = "".join(
        f"<tr><td>T = {temperatures[pick]:.4g}</td>"
        f"<td>{picture(_png(strip), width, f'snapshots at T = {temperatures[pick]:.4g}')}</td></tr>"
        for pick, strip in zip(picks, found, strict=True)
    )
    return f"{name}<table><tbody>{body}</tbody></table>"


def _png(strip: SpinArray) -> bytes:
    """Snapshots ``[R, Ly, Lx]`` side by side, each spin a square of whole pixels."""
    from matplotlib.image import imsave

    scale = max(1, -(-_PIXELS // strip.shape[-1]))
    large = strip.repeat(scale, axis=-2).repeat(scale, axis=-1)
    colours = np.where((large > 0)[..., None], np.array(UP, np.uint8), np.array(DOWN, np.uint8))
    edge = np.full((*colours.shape[:2], 4, 3), GAP, np.uint8)
    whole = np.concatenate([part for snapshot in zip(colours, edge, strict=True) for part in snapshot], axis=1)
    file = io.BytesIO()
    imsave(file, np.ascontiguousarray(whole), format="png")
    return file.getvalue()
