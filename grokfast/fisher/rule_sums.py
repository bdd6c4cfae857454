"""Sums over columns of squared gradients by layer rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from grokfast.fisher.layout import Layout
from grokfast.fisher.samples import Traced, counts, pull_back
from grokfast.fisher.tracing import Use

_CHUNK = 1 << 22  # elements of per-sample gradients held at once


class RuleSums:
    """The uses of one traced block that go by rules, and what is pooled over columns."""

    def __init__(
        self, traced: Traced, places: Sequence[Layout | None], rejected: set[str], n: int, read: Mapping[int, Tensor]
    ) -> None:
        self.traced, self.n = traced, n
        self.uses: list[Use] = []
        self.inputs: list[Tensor] = []
        self.layouts: list[Layout] = []
        self.by_name: dict[str, list[tuple[int, str]]] = {}
        for index, (use, layout) in enumerate(zip(traced.uses, places, strict=True)):
            mine = {role: name for role, name in use.names.items() if name not in rejected}
            if not mine or layout is None or not counts(traced, use):
                continue
            for role, name in mine.items():
                self.by_name.setdefault(name, []).append((len(self.uses), role))
            self.uses.append(use)
            self.layouts.append(layout)
            self.inputs.append(read[index] if index in read else layout.front(use.x, n, use.rule.x_axes))
        self.pools: dict[str, Tensor] = {}

    def add(self, side: Tensor, total: dict[str, Tensor]) -> None:
        """One column."""
        grads = [
            None if g is None else layout.front(g, self.n, use.rule.g_axes)
            for g, layout, use in zip(pull_back(self.traced, self.uses, side), self.layouts, self.uses, strict=True)
        ]
        for name, every in self.by_name.items():
            places = [(k, role) for k, role in every if grads[k] is not None]
            if len(places) == 1:
                k, role = places[0]
                rule, x, g = self.uses[k].rule, self.inputs[k], grads[k]
                assert g is not None
                pooled = rule.pooled(role, x, g) if len(every) == 1 else None
                if pooled is None:
                    total[name] += rule.squares(role, x, g)
                elif name in self.pools:
                    self.pools[name] += pooled
                else:
                    self.pools[name] = pooled
            elif places:
                total[name] += self._together(places, grads, total[name].numel())

    def _together(self, places: list[tuple[int, str]], grads: list[Tensor | None], width: int) -> Tensor:
        """A parameter used several times: every use is added up per sample before squaring."""
        step = max(1, _CHUNK // max(1, width))
        total: Tensor | None = None
        for start in range(0, self.n, step):
            rows = slice(start, start + step)
            each: Tensor | None = None
            for k, role in places:
                g = grads[k]
                assert g is not None
                mine = self.uses[k].rule.per_sample(role, self.inputs[k][rows], g[rows])
                each = mine if each is None else each + mine
            assert each is not None
            part = each.square().sum(0).double()
            total = part if total is None else total + part
        assert total is not None
        return total

    def finish(self, total: dict[str, Tensor]) -> None:
        """What was pooled over columns becomes squares."""
        for name, pooled in self.pools.items():
            k, role = self.by_name[name][0]
            total[name] += self.uses[k].rule.from_pooled(role, self.inputs[k], pooled)
