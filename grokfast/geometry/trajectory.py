"""Geometry of any module's training: a recorder for a loop of one's own, and stored checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from grokfast._checks import check_at_least, check_non_negative
from grokfast.errors import InputError
from grokfast.geometry.meter import GeometryMeter
from grokfast.geometry.stream import GeometryStream
from grokfast.geometry.variants import parse_variants
from grokfast.models import Params

Stack = Mapping[str, Tensor]


class Trajectory:
    """Records the geometry of a module's training, in three lines.

    ::

        trajectory = Trajectory(model, inputs)      # before the loop
        trajectory.record()                         # in it, for example after every epoch
        curves = trajectory.measures()              # after it

    Args:
        model: Any module that :func:`grokfast.fisher_diag` takes. It must be in a mode without randomness when
            ``record`` is called (``model.eval()``); nothing on it is changed.
        inputs: The samples that the Fisher information averages over, as the model takes them: ``[N, ...]``.
        metrics: Names joined by ``+``, such as ``"softmax-all+logit-16+softmax-all-full"``.
        every: Every so many-th call of ``record`` takes a checkpoint; the first call always does.
        keep: Whether to keep all checkpoints in memory, for a stiff/sloppy split afterwards.

    Raises:
        ConfigError: If a metric has another form.
        InputError: If arguments do not fit.

    Source:
        arXiv 2502.01739, eq. 8 and 9.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        metrics: str = "softmax-all",
        *,
        every: int = 1,
        keep: bool = False,
    ) -> None:
        check_at_least("every", every, 1)
        if not isinstance(inputs, Tensor) or inputs.dim() == 0:
            raise InputError(f"inputs must be a tensor of samples [N, ...], got {type(inputs).__name__}")
        self.model, self.inputs, self.metrics, self.every, self.keep = model, inputs, metrics, every, keep
        self.checkpoints: dict[int, Params] = {}
        """Checkpoints by the number of the call, from 0; empty unless ``keep``."""
        self._stream = GeometryStream(GeometryMeter(model, [inputs], parse_variants(metrics)), _All())
        self._calls = 0
        self._looks: list[tuple[int, dict[str, Tensor]]] = []

    def record(self) -> None:
        """Take the model as it is now as the next checkpoint.

        Raises:
            InputError: If parameters are not finite.
        """
        call, self._calls = self._calls, self._calls + 1
        if call % self.every:
            return
        params = _state(self.model)
        for name, value in params.items():
            if not bool(torch.isfinite(value).all()):
                raise InputError(
                    f"'{name}' must be finite, got {int((~torch.isfinite(value)).sum())} values that are not"
                )
        found = self._stream.take(call // self.every, params)
        if found is not None:
            self._looks.append(found)
        if self.keep:
            self.checkpoints[call] = {name: value[0].clone() for name, value in params.items()}

    def measures(self, stiff: float = 0.0) -> dict[str, Tensor]:
        """The measures so far.

        Args:
            stiff: Fisher diagonal of the present model from which parameters are stiff; needs ``keep=True``. 0 for
                no split.

        Returns:
            ``epoch`` (the number of the call of ``record`` where the step starts, from 0) and float64 columns
            ``[looks]``: ``geometry_<metric>_length``, ``_cosine`` (with the step before; NaN at the first), ``_origin``
            and ``_undefined``, which counts the values that had no meaning.

        Raises:
            InputError: If fewer than two checkpoints were recorded, or a split is asked for without ``keep``.
        """
        check_non_negative("stiff", stiff)
        if stiff:
            if not self.keep:
                raise InputError("a stiff/sloppy split needs the checkpoints: Trajectory(..., keep=True)")
            return trajectory_measures(
                self.model, self.checkpoints, self.inputs, self.metrics, step=self.every, stiff=stiff
            )
        if not self._looks:
            raise InputError("a step needs at least two recorded checkpoints, got fewer; call record() in the loop")
        columns = {name: torch.stack([look[name][0] for _, look in self._looks]) for name in self._looks[0][1]}
        return {"epoch": torch.tensor([epoch * self.every for epoch, _ in self._looks]), **columns}


def trajectory_measures(
    model: nn.Module,
    checkpoints: Mapping[int, Stack],
    inputs: Tensor | Sequence[Tensor],
    metrics: str = "softmax-all",
    *,
    step: int | None = None,
    stiff: float = 0.0,
) -> dict[str, Tensor]:
    """Geometry of stored checkpoints, of one network or of a stack.

    Args:
        model: The network; its own parameters are not used.
        checkpoints: Parameters by epoch, shaped like the model's or stacked ``[E, ...]``.
        inputs: Samples ``[N, ...]`` as the model takes them, or a sequence of such, one a member.
        metrics: Names joined by ``+``, as :func:`grokfast.geometry.parse_variants` takes them.
        step: Epochs that a step spans; by default the smallest gap between checkpoints.
        stiff: Fisher diagonal of the last checkpoint from which parameters are stiff (0.1 in the paper), as
            :meth:`grokfast.geometry.GeometryMeter.split_by` has it; 0 for no split.

    Returns:
        ``epoch`` ``[looks]``, where steps start, and float64 columns ``[looks]``, or ``[looks, E]`` for a stack, as
        :meth:`Trajectory.measures` has them.

    Raises:
        InputError: If no two checkpoints lie a step apart, they do not fit the model, or a value is not finite.

    Source:
        arXiv 2502.01739, eq. 8 and 9.
    """
    check_non_negative("stiff", stiff)
    epochs = sorted(checkpoints)
    if len(epochs) < 2:
        raise InputError(f"a trajectory needs at least two checkpoints, got {len(epochs)}")
    if step is None:
        step = min(b - a for a, b in pairwise(epochs))
    check_at_least("step", step, 1)
    starts = [epoch for epoch in epochs if epoch + step in checkpoints]
    if not starts:
        raise InputError(f"no two checkpoints lie {step} epochs apart: they are of epochs {epochs}")
    stacks, single = _stacked(model, checkpoints)
    meter = GeometryMeter(model, [inputs] if isinstance(inputs, Tensor) else inputs, parse_variants(metrics))
    if stiff:
        meter.split_by(stacks[epochs[-1]], stiff)
    looks: list[dict[str, Tensor]] = []
    counts: dict[str, Tensor | int] = {}
    for epoch in starts:
        columns = meter.look(stacks.get(epoch - step), stacks[epoch], stacks[epoch + step])
        for name in [name for name in columns if name.endswith("_undefined")]:
            columns[name] = counts[name] = counts.get(name, 0) + columns[name]
        looks.append(columns)
    found = {name: torch.stack([look[name] for look in looks]) for name in looks[0]}
    return {"epoch": torch.tensor(starts), **{name: v[:, 0] if single else v for name, v in found.items()}}


class _All:
    """Every epoch."""

    def __contains__(self, epoch: object) -> bool:
        return True


def _state(model: nn.Module) -> Params:
    """Parameters and buffers, as a stack of one."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: value.detach().unsqueeze(0) for name, value in tensors.items()}


def _stacked(model: nn.Module, checkpoints: Mapping[int, Stack]) -> tuple[dict[int, Params], bool]:
    shapes = {name: value.shape for name, value in _state(model).items()}
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    first = next(iter(checkpoints.values()))
    single = all(first[name].shape == shapes[name][1:] for name in trainable if name in first)
    stacks = {}
    for epoch, params in checkpoints.items():
        missing = sorted(set(trainable) - set(params))
        if missing:
            raise InputError(f"the checkpoint of epoch {epoch} lacks {missing}")
        stack = {
            name: (value.unsqueeze(0) if single else value).detach().contiguous() for name, value in params.items()
        }
        for name, value in stack.items():
            if name not in shapes or value.shape[1:] != shapes[name][1:]:
                raise InputError(
                    f"'{name}' of epoch {epoch} must fit the model, which has "
                    f"{list(shapes[name][1:]) if name in shapes else 'no such tensor'}, got {list(value.shape[1:])}"
                )
            if not bool(torch.isfinite(value).all()):
                raise InputError(f"'{name}' of epoch {epoch} must be finite")
        stacks[epoch] = stack
    return stacks, single
