"""Fused operations written out in their parts: recurrent layers, and bags of embeddings.

Each says what the fused operation of torch says, in operations that can be followed one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from grokfast.errors import InputError
from grokfast.fisher.arguments import EmbeddingBag, taking

# weight, bias, shape, like -> weight and bias to use, zeros to add to the products, taker of the inputs
Watch = Callable[[Tensor, Tensor | None, tuple[int, ...], Tensor], tuple[Tensor, Tensor | None, Tensor | None, Any]]
_Step = Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]


def _lstm(inner: Tensor, recurrent: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    i, f, g, o = (inner + recurrent).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(inner: Tensor, recurrent: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (ir, iz, new), (hr, hz, hn) = inner.chunk(3, -1), recurrent.chunk(3, -1)
    new = (new + (ir + hr).sigmoid() * hn).tanh()
    return (new + (iz + hz).sigmoid() * (state[0] - new),)


def _tanh(inner: Tensor, recurrent: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return ((inner + recurrent).tanh(),)


def _relu(inner: Tensor, recurrent: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return ((inner + recurrent).relu(),)


def _direction(
    watch: Watch, step: _Step, steps: Sequence[Tensor], states: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None,
    axis: int | None, backwards: bool,
) -> tuple[list[Tensor], tuple[Tensor, ...]]:  # fmt: skip
    """One layer in one direction, from the products with its inputs.

    Args:
        watch: Told of the recurrent weights.
        step: The cell.
        steps: Products ``[n_t, G]`` with the inputs of every step; n_t falls with t where sequences end.
        states: Initial states ``[n, H]``.
        weight: Recurrent weights.
        bias: Their bias.
        axis: Along which the steps lie in a tensor of all of them; None if they are packed into one axis.
        backwards: From the last step to the first.

    Returns:
        The hidden state after each step, in the order of ``steps``, and the last states.
    """
    count = [len(s) for s in steps]
    width = weight.shape[0]
    shape = {None: (sum(count), width), 0: (len(steps), count[0], width), 1: (count[0], len(steps), width)}[axis]
    weight, bias, zeros, tell = watch(weight, bias, shape, steps[0])
    extra = None if zeros is None else torch.split(zeros, count) if axis is None else zeros.unbind(axis)
    before: list[Tensor] = [steps[0]] * len(steps)
    out: list[Tensor] = [steps[0]] * len(steps)
    ended: list[tuple[Tensor, ...]] = []
    order = range(len(steps) - 1, -1, -1) if backwards else range(len(steps))
    now = tuple(s[: count[order[0]]] for s in states)
    for t in order:
        have = len(now[0])
        if have < count[t]:  # backwards: sequences that end here begin
            now = tuple(torch.cat([s, start[have : count[t]]]) for s, start in zip(now, states, strict=True))
        elif have > count[t]:  # forwards: those that have ended leave
            ended.append(tuple(s[count[t] :] for s in now))
            now = tuple(s[: count[t]] for s in now)
        before[t] = now[0]
        product = functional.linear(now[0], weight, bias)
        now = step(steps[t], product if extra is None else product + extra[t], now)
        out[t] = now[0]
    if zeros is not None:
        tell(torch.cat(before) if axis is None else torch.stack(before, axis))
    last = tuple(torch.cat([s, *(e[k] for e in reversed(ended))]) for k, s in enumerate(now)) if ended else now
    return out, last


class _Layers(NamedTuple):
    """The weights of a recurrent module: for each layer and direction of the input, of the state, and their biases."""

    params: Sequence[Tensor]
    has_biases: bool
    layers: int
    bidirectional: bool

    @property
    def per(self) -> int:
        """Tensors of one layer in one direction."""
        return 4 if self.has_biases else 2

    @property
    def directions(self) -> int:
        """Of each layer."""
        return 1 + int(self.bidirectional)


def _layers(
    watch: Watch, step: _Step, inputs: Tensor, sizes: list[int] | None, states: tuple[Tensor, ...],
    of: _Layers, axis: int | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
    directions, per = of.directions, of.per
    lasts: list[tuple[Tensor, ...]] = []
    for layer in range(of.layers):
        outs = []
        for k in range(directions):
            place = layer * directions + k
            inner, recurrent, *biases = of.params[place * per : (place + 1) * per]
            b_inner, b_recurrent = biases if biases else (None, None)
            products = functional.linear(inputs, inner, b_inner)
            steps = torch.split(products, sizes or []) if axis is None else products.unbind(axis)
            own = tuple(s[place] for s in states)
            out, last = _direction(watch, step, steps, own, recurrent, b_recurrent, axis, bool(k))
            outs.append(torch.cat(out) if axis is None else torch.stack(out, axis))
            lasts.append(last)
        inputs = outs[0] if directions == 1 else torch.cat(outs, -1)
    return inputs, tuple(torch.stack([last[k] for last in lasts]) for k in range(len(states)))


def _recurrent(step: _Step) -> Callable[..., Any]:
    """The composite of ``torch.lstm`` and its like, for batches and for packed sequences."""

    def run(watch: Watch, func: Any, first: Tensor, second: Any, third: Any, *rest: Any) -> Any:
        if isinstance(rest[0], tuple | list):  # packed: data, sizes of the steps, states, parameters
            sizes, hx, params = second, third, rest[0]
            has_biases, count, dropout, train, bidirectional = rest[1:]
            batch_first = None
        else:
            sizes, hx, params = None, second, third
            has_biases, count, dropout, train, bidirectional, batch_first = rest
        states = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
        if dropout and train:
            raise InputError("dropout in training mode gives the Fisher diagonal of one random mask; call model.eval()")
        unusual = first.dim() != (2 if batch_first is None else 3) or not first.numel()
        layers = _Layers(params, has_biases, count, bidirectional)
        projected = len(params) != count * layers.directions * layers.per
        if unusual or projected:
            return _fused(func, first, second, third, *rest)
        axis = None if batch_first is None else int(batch_first)
        counts = None if sizes is None else sizes.tolist()
        out, last = _layers(watch, step, first, counts, states, layers, axis)
        return (out, *last)

    return run


@taking(EmbeddingBag)
def _embedding_bag(_: Watch, func: Any, of: EmbeddingBag) -> Any:
    if of.max_norm is not None:
        raise InputError("an embedding with max_norm rewrites its weights when it runs; set max_norm=None")
    if of.scale_grad_by_freq:
        raise InputError(
            "scale_grad_by_freq divides gradients by counts over the batch, which has no meaning for one sample; set "
            "it to False"
        )
    flat, offsets = of.input.dim() != 2, of.offsets
    if of.mode == "max" and flat:
        return _fused(func, *of._replace(sparse=False))
    rows = functional.embedding(of.input, of.weight)
    keep = torch.ones_like(of.input, dtype=torch.bool)
    if of.padding_idx is not None:
        keep = of.input != of.padding_idx % of.weight.shape[0]
    kept = keep.unsqueeze(-1)
    if of.per_sample_weights is not None:
        rows = rows * of.per_sample_weights.unsqueeze(-1)
    rows = torch.where(kept, rows, rows.new_zeros(()))
    if not flat:
        if of.mode == "max":
            top = torch.where(kept, rows, rows.new_full((), -torch.inf)).amax(1)
            return torch.where(torch.isfinite(top), top, top.new_zeros(()))
        total, counts = rows.sum(1), keep.sum(1, keepdim=True)
    else:
        assert offsets is not None
        last = offsets.new_tensor([len(of.input)])
        ends = offsets[1:] if of.include_last_offset else torch.cat([offsets[1:], last])
        starts = offsets[:-1] if of.include_last_offset else offsets
        bag = torch.repeat_interleave(torch.arange(len(starts), device=of.input.device), ends - starts)
        inside = rows[int(starts[0]) :] if len(starts) else rows[:0]
        total = rows.new_zeros(len(starts), rows.shape[-1]).index_add(0, bag, inside)
        counts = keep.new_zeros(len(starts), dtype=torch.long).index_add(0, bag, keep[int(starts[0]) :].long())
        counts = counts.unsqueeze(-1)
    return total / counts.clamp(min=1) if of.mode == "mean" else total


def _fused(func: Any, *args: Any) -> Any:
    """As torch does it, unseen."""
    with torch._C.DisableTorchFunction():
        return func(*args)


def _lstm_cell(
    watch: Watch, func: Any, x: Tensor, hx: Sequence[Tensor], inner: Tensor, recurrent: Tensor,
    b_inner: Tensor | None = None, b_recurrent: Tensor | None = None,
) -> Any:  # fmt: skip
    return _lstm(functional.linear(x, inner, b_inner), functional.linear(hx[0], recurrent, b_recurrent), tuple(hx))


def _cell(step: _Step) -> Callable[..., Any]:
    def run(
        watch: Watch, func: Any, x: Tensor, h: Tensor, inner: Tensor, recurrent: Tensor,
        b_inner: Tensor | None = None, b_recurrent: Tensor | None = None,
    ) -> Any:  # fmt: skip
        return step(functional.linear(x, inner, b_inner), functional.linear(h, recurrent, b_recurrent), (h,))[0]

    return run


COMPOSITES: dict[Any, Callable[..., Any]] = {
    torch.lstm: _recurrent(_lstm),
    torch.gru: _recurrent(_gru),
    torch.rnn_tanh: _recurrent(_tanh),
    torch.rnn_relu: _recurrent(_relu),
    torch.lstm_cell: _lstm_cell,
    torch.gru_cell: _cell(_gru),
    torch.rnn_tanh_cell: _cell(_tanh),
    torch.rnn_relu_cell: _cell(_relu),
    functional.embedding_bag: _embedding_bag,
}


def separate(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether it is a recurrent layer over whole sequences, which has no use for what another sample holds."""
    packed = len(args) > 3 and isinstance(args[3], tuple | list)
    return func in (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu) and not packed
