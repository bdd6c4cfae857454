"""Where the samples are in every layer of one block, proven for that very block.

Two ways, and nothing is taken over from another block:

* the autograd graph leads from the outputs through operations that leave the samples where they are
  (:class:`grokfast.fisher.flow.Flow`);
* or it is measured: the outputs of a random column are pulled back once as they are and once with every sample
  scaled by a number of its own. A row that belongs to one sample is scaled by exactly that number, which both finds
  and proves the place of the samples: an axis, samples and positions merged, or rows in any order and number. Of a
  row that two samples depend on, the pull-backs are not parallel, or no sample's number fits.

What is neither proven nor found goes by per-sample gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grokfast.fisher.flow import Flow
from grokfast.fisher.layout import CANDIDATES, LEADING, Layout, Rows
from grokfast.fisher.tracing import Use

_WIDEST = 4  # padded rows over rows: beyond it the rows of one sample are too many to pad the others


@dataclass
class Traced:
    """A traced forward pass.

    Attributes:
        outputs: The logits.
        uses: What was done with the parameters, in order.
        flow: Where the graph of the outputs keeps the samples.
        stray: Parameters with a use that was not understood.
        reads: Whether values may have been looked at past the graph: by Python, or for masks, orders and places.
    """

    outputs: Tensor
    uses: list[Use]
    flow: Flow
    stray: set[str]
    reads: bool = True


def pull_back(traced: Traced, uses: Sequence[Use], column: Tensor) -> list[Tensor | None]:
    """The gradients of ``sum_n f_n . column_n`` at the outputs of the given uses."""
    if not uses or not traced.outputs.requires_grad:
        return [None] * len(uses)
    return list(
        torch.autograd.grad(traced.outputs, [use.edge for use in uses], column, retain_graph=True, allow_unused=True)
    )


def random_column(outputs: Tensor, seed: int) -> Tensor:
    """Normal numbers shaped like the outputs, 0 where an output is minus infinity."""
    generator = torch.Generator().manual_seed(seed)
    side = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    side = side.to(outputs.device, outputs.dtype)
    return torch.where(torch.isfinite(outputs.detach()), side, side.new_zeros(()))


def counts(traced: Traced, use: Use) -> bool:
    """Whether a use has anything to add: an output depends on it, and it has rows."""
    return 0 not in use.shape and traced.flow.leads_to(use.edge.node)


def find_samples(traced: Traced, n: int) -> list[Layout | None]:
    """The place of the samples in every use of a block of ``n``; None where there is none."""
    found: list[Layout | None] = [None] * len(traced.uses)
    open_uses: list[int] = []
    for k, use in enumerate(traced.uses):
        if not counts(traced, use):
            found[k] = LEADING
        elif traced.flow.proves(use.edge.node) or n == 1:
            found[k] = _sample_major(use, n)
        if found[k] is None:
            open_uses.append(k)
    if open_uses:
        uses = [traced.uses[k] for k in open_uses]
        measured = _Measured(traced, uses, n, 0)
        again: _Measured | None = None
        for j, (k, use) in enumerate(zip(open_uses, uses, strict=True)):
            found[k] = measured.axis(j, use)
            if found[k] is None and use.rule.any_layout:
                again = again or _Measured(traced, uses, n, 1)
                found[k] = _rows(use, measured.sample(j, use), again.sample(j, use), n)
    return found


def sample_major(traced: Traced, use: Use, n: int) -> bool:
    """Whether a use is proven to have the samples in row-major order on its leading axis."""
    return traced.flow.proves(use.edge.node) and _sample_major(use, n) is not None


def _fits(layout: Layout, use: Use, n: int) -> bool:
    """Whether input and output can hold the samples so, position by position."""
    x, g = tuple(use.x.shape), use.shape
    if use.rule.any_layout and x[: len(x) - use.rule.x_axes] != g[: len(g) - use.rule.g_axes]:
        return False
    return layout.fits(use.shape, n, use.rule.g_axes) and layout.fits(tuple(use.x.shape), n, use.rule.x_axes)


def _sample_major(use: Use, n: int) -> Layout | None:
    """Samples in row-major order on the leading axis, alone or with positions after them."""
    for layout in (LEADING, Layout(merged="major")):
        if _fits(layout, use, n):
            return layout if layout is LEADING or use.rule.any_layout else None
    return None


class _Measured:
    """Pull-backs of a random column, plain and with every sample scaled by a number of its own."""

    def __init__(self, traced: Traced, uses: Sequence[Use], n: int, seed: int) -> None:
        side = random_column(traced.outputs, seed)
        generator = torch.Generator().manual_seed(100 + seed)
        order = torch.randperm(n, generator=generator)
        signs = torch.randint(0, 2, (n,), generator=generator) * 2 - 1
        levels = torch.exp2(8 * order.double() / n - 4) * signs  # no two alike, and far enough apart for float32
        self.n, self.levels = n, levels.to(side.device, side.dtype)
        self.plain = pull_back(traced, uses, side)
        self.scaled = pull_back(traced, uses, side * self.levels.view(-1, *[1] * (side.dim() - 1)))
        single = side.dtype != torch.float64
        # Below the floor, in parts of the largest entry, a gradient is rounding.
        self.bound, self.floor = (3e-4, 1e-6) if single else (1e-9, 1e-12)

    def axis(self, j: int, use: Use) -> Layout | None:
        """The first place of the samples that fits."""
        g, h = self.plain[j], self.scaled[j]
        if g is None or h is None or not bool(g.any()):
            return LEADING if _fits(LEADING, use, self.n) else None
        for layout in CANDIDATES if use.rule.any_layout else CANDIDATES[:1]:
            if not _fits(layout, use, self.n):
                continue
            mine = layout.front(g, self.n, 1).flatten(1)
            theirs = layout.front(h, self.n, 1).flatten(1)
            error = (theirs / self.levels.unsqueeze(1) - mine).abs().amax(1)
            size = mine.abs().amax(1)
            if bool((error <= self.bound * size + self.floor * size.max()).all()):
                return layout
        return None

    def sample(self, j: int, use: Use) -> Tensor | None:
        """The sample that each row belongs to, -1 for none; None if a row belongs to no single one."""
        g, h = self.plain[j], self.scaled[j]
        if g is None or h is None:
            return None
        axes = use.rule.g_axes
        rows = torch.Size(use.shape[: len(use.shape) - axes]).numel()
        g, h = g.reshape(rows, -1).double(), h.reshape(rows, -1).double()
        size = g.abs().amax(1)
        live = size > self.floor * size.max()
        ratio = (g * h).sum(1) / g.square().sum(1).clamp(min=torch.finfo(torch.float64).tiny)
        values, order = self.levels.double().sort()
        place = torch.searchsorted(values, ratio).clamp(1, max(1, self.n - 1))
        below = (ratio - values[place - 1]).abs() < (values[place.clamp(max=self.n - 1)] - ratio).abs()
        sample = order[torch.where(below, place - 1, place.clamp(max=self.n - 1))]
        level = self.levels.double()[sample]
        error = (h / level.unsqueeze(1) - g).abs().amax(1)
        if not bool((error <= self.bound * size + self.floor * size.max())[live].all()):
            return None
        return torch.where(live, sample, -1)


def _rows(use: Use, once: Tensor | None, twice: Tensor | None, n: int) -> Rows | None:
    if once is None or twice is None:
        return None
    # A row may be rounding in one column and not in the other.
    if bool(((once != twice) & (once >= 0) & (twice >= 0)).any()):
        return None
    sample = torch.maximum(once, twice)
    x_axes = use.rule.x_axes
    if torch.Size(use.x.shape[: use.x.dim() - x_axes]).numel() != len(sample):
        return None
    rows = Rows(sample, n)
    return rows if n * rows.most <= _WIDEST * len(sample) + 1024 else None
