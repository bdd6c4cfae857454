"""What the products with the whole Fisher matrix share: checked arguments, blocks, derivatives of one member."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from grokfast._checks import parse_choice
from grokfast._edge import check_tensor, check_tensors
from grokfast.errors import InputError
from grokfast.fisher.batches import Block, batches
from grokfast.fisher.cutting import check_cut, separable
from grokfast.fisher.derivatives import by_forward_mode, by_two_backward_passes, run_model
from grokfast.fisher.gradients import gradients
from grokfast.fisher.guards import plain_torch
from grokfast.fisher.job import State, World, check_stack, make_job, member
from grokfast.fisher.options import ProductOptions, check_run
from grokfast.fisher.passes import check_finite, trace
from grokfast.fisher.randomness import States, deterministic
from grokfast.fisher.samples import random_column
from grokfast.fisher.tracing import Plain
from grokfast.fisher.variants import Kind, Likelihood, Reduction

_BLOCK = 1024

Direction = Mapping[str, Tensor] | Tensor

# torch.func counts the levels of forward mode for the whole process.
_FORWARD = threading.RLock()


class Pushes:
    """What the products share: checked arguments, blocks, and derivatives of one member."""

    def __init__(self, model: nn.Module, inputs: object, options: ProductOptions) -> None:
        self.job, self.leaves = make_job(
            model, Kind.EXACT, options["likelihood"], options["logits"], options["class_axis"]
        )
        self.params = options["params"]
        self.count = 1 if self.params is None else check_stack(model, self.params)
        self.reduction = parse_choice("reduction", options["reduction"], Reduction)
        check_run(options["batch_size"], 1)
        self._inputs, self._size, self._mask = inputs, options["batch_size"] or _BLOCK, options["mask"]
        self._n = 0
        self._backward_only = self._checked = False
        self._separable: bool | None = None

    def directions(self, label: str, given: Direction) -> list[dict[str, Tensor]]:
        """One direction per member, by name."""
        lead = () if self.params is None else (self.count,)
        sizes = [leaf.numel() for leaf in self.leaves.values()]
        if isinstance(given, Tensor):
            check_tensor(label, given)
            expected = (*lead, sum(sizes))
            if tuple(given.shape) != expected:
                raise InputError(f"{label} must have shape {list(expected)}, got {list(given.shape)}")
            parts = torch.split(given, sizes, -1)
            given = {
                name: part.reshape(*lead, *leaf.shape)
                for (name, leaf), part in zip(self.leaves.items(), parts, strict=True)
            }
        check_tensors(label, given)
        if set(given) != set(self.leaves):
            raise InputError(
                f"{label} must have one tensor per trainable parameter; these differ: "
                f"{sorted(map(str, set(given) ^ set(self.leaves)))}"
            )
        for name, leaf in self.leaves.items():
            if given[name].shape != (*lead, *leaf.shape):
                expected = (*lead, *leaf.shape)
                raise InputError(f"{label}['{name}'] must have shape {list(expected)}, got {list(given[name].shape)}")
        clean = {n: given[n].detach().to(self.job.device, self.job.dtype) for n in self.leaves}
        if not all(bool(torch.isfinite(t).all()) for t in clean.values()):
            raise InputError(f"{label} must be finite")
        return [clean] if self.params is None else [{n: t[e] for n, t in clean.items()} for e in range(self.count)]

    def blocks(self) -> Iterator[Block]:
        """Blocks of samples, counted."""
        for batch in batches(self._inputs, None, self.job.device, self._mask):
            for block in batch.cut(self._size) if batch.n else ():
                self._n += block.n
                yield block

    def scale(self) -> float:
        """What the sums are multiplied by."""
        if self.reduction is Reduction.SUM:
            return 1.0
        if self._n == 0:
            raise InputError("the mean over no samples is undefined; give at least one, or use reduction='sum'")
        return 1 / self._n

    def kept(self, tangent: Tensor, block: Block) -> Tensor:
        """A tangent of the outputs without the positions that do not count."""
        if block.mask is None:
            return tangent
        categorical = self.job.likelihood is Likelihood.CATEGORICAL
        mask = block.mask.to(tangent.device).bool()
        mask = mask.unsqueeze(-1) if categorical else mask
        if mask.dim() > tangent.dim() or mask.shape[:-1] != tangent.shape[-mask.dim() :][:-1]:
            raise InputError(
                f"mask must be shaped like labels of the outputs {list(tangent.shape)}, got {list(block.mask.shape)}"
            )
        return tangent * mask

    def _state(self, e: int) -> State:
        return None if self.params is None else member(self.params, e)

    def _world(self, e: int) -> World:
        return self.job.world(self._state(e))

    def _check_cut(self, e: int, outputs: Tensor, block: Block) -> None:
        """Raise if the outputs of a block that was cut from a batch are not those it has there."""
        if block.whole is None:
            return
        if self._separable is None:  # a model that reads no values does the same in every block
            try:
                self._separable = separable(trace(self.job, self._world(e), block.inputs), block.n)
            except Exception:  # whatever a model says that cannot be traced
                self._separable = False
        if not self._separable:
            check_cut(self.job, self._state(e), False, block, outputs)

    def push(self, e: int, directions: Sequence[dict[str, Tensor]], block: Block) -> tuple[Tensor, Tensor]:
        """Outputs, and their derivatives along several directions, stacked."""
        before = States()
        with plain_torch(self.job.device):
            try:
                found = self._pushed(e, directions, block)
            except InputError:
                if not before.same(States()):  # a model that draws fits nothing: that is the reason to name
                    deterministic(lambda: self.job.run(self._world(e).model, block.inputs), before)
                raise
            if not before.same(States()):
                found = deterministic(lambda: self._pushed(e, directions, block), before)
        return found

    def _pushed(self, e: int, directions: Sequence[dict[str, Tensor]], block: Block) -> tuple[Tensor, Tensor]:
        found = None
        if not self._backward_only:
            with _FORWARD:
                found = by_forward_mode(self.job, self._world(e), directions, block.inputs)
            if found is not None and not self._checked and not self._is_adjoint(e, *found, directions, block):
                found = None
            self._backward_only = found is None
        if found is None:
            found = by_two_backward_passes(self.job, self._world(e), directions, block.inputs)
            if not self._is_adjoint(e, *found, directions, block):
                again = by_two_backward_passes(self.job, self._world(e), directions, block.inputs)
                if not all(map(torch.equal, found, again)):
                    raise InputError("the model gives different outputs for the same inputs: it draws random numbers")
                raise InputError(
                    "the derivatives of the outputs along a direction do not fit the model's gradients: an operation "
                    "of its own has a backward pass that cannot be differentiated"
                )
        self._checked = True
        world = self._world(e)
        check_finite(self.job, world, block.inputs, found[0])
        self._check_cut(e, found[0], block)
        return found

    def _is_adjoint(
        self, e: int, f: Tensor, tangents: Tensor, directions: Sequence[dict[str, Tensor]], block: Block
    ) -> bool:
        """Whether ``<side, J d> = <J^T side, d>`` for a random side: the derivatives belong to each other."""
        if not bool(torch.isfinite(f).all()):
            return True  # reported, or a class that cannot occur
        side = random_column(f, 4)
        back = self.pull(e, side, block)
        bound = 1e-3 if f.dtype == torch.float32 else 1e-7
        for tangent, direction in zip(tangents, directions, strict=True):
            pairs = [(part.double() * direction[name].double()) for name, part in back.items()]
            there, here = (side.double() * tangent.double()), sum(float(pair.sum()) for pair in pairs)
            size = float(there.square().sum().sqrt()) + float(sum(float(p.square().sum()) for p in pairs)) ** 0.5
            if abs(float(there.sum()) - here) > bound * size * 10 + 1e-300:
                return False
        return True

    def pull(self, e: int, cotangent: Tensor, block: Block) -> dict[str, Tensor]:
        """The cotangent of the outputs as a gradient."""
        world = self._world(e)
        with plain_torch(self.job.device), Plain():
            out = run_model(self.job, world.model, block.inputs)
            found = gradients(out, list(world.leaves.values()), cotangent.to(out.dtype))
        return dict(zip(world.leaves, found, strict=True))
