"""Correlations of every neuron with quantities of one's own choosing."""

from __future__ import annotations

from collections.abc import Callable

from grokfast.errors import InputError
from grokfast.observe.snapshot import Seen, Snapshot
from grokfast.tasks import HasPreactivations, Quantities, layer_features


def observe_quantities(quantities: Quantities) -> Callable[[Snapshot], Seen]:
    """A measure of how the neurons of every layer correlate with quantities of your own choosing.

    Args:
        quantities: By name, functions of test inputs ``[E, N, ...]`` that give one number a sample, ``[E, N]``.

    Returns:
        A measure for :class:`Observer`; its columns are named as
        :func:`grokfast.tasks.neurons.layer_features` says, such as ``hidden_weighted_<name>``.

    Raises:
        InputError: While it measures, if the task does not show its neurons or a function returns another shape.
    """

    def measure(snapshot: Snapshot) -> Seen:
        if not isinstance(snapshot.task, HasPreactivations):
            raise InputError(f"task {snapshot.task.name} does not show what its neurons receive")
        inputs = snapshot.test_inputs()
        values = {}
        for name, function in quantities.items():
            values[name] = function(inputs)
            if values[name].shape != inputs.shape[:2]:
                raise InputError(
                    f"quantity {name!r} must give one number a sample, {list(inputs.shape[:2])}, "
                    f"got {list(values[name].shape)}"
                )
        found = layer_features(snapshot.task.preactivations(snapshot.params, inputs), values).scalars
        # What does not depend on the quantities is among the task's own features.
        own = {column.name for column in snapshot.task.columns}
        return {name: value for name, value in found.items() if name not in own}

    return measure
