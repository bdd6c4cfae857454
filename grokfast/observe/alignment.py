"""CKA of two end models: whether their hidden layers, and their outputs, represent common inputs alike."""

from __future__ import annotations

import torch

from grokfast.measures import Column, linear_cka
from grokfast.observe.hidden import last_hidden
from grokfast.observe.protocol import Need, measure
from grokfast.observe.snapshot import Seen, Snapshot


@measure(
    columns=[
        Column("cka", "debiased linear CKA of the inputs of both networks' last linear layers, on common inputs"),
        Column("cka_outputs", "debiased linear CKA of both networks' outputs, on common inputs"),
    ],
    needs=[Need.PARAMETERS, Need.DATA, Need.TWO_RUNS],
    version="1",
)
def cka(one: Snapshot, other: Snapshot) -> Seen:
    """Both are shown the test inputs of the first; some of those may be among what the second was trained on."""
    hidden, outputs = [], []
    for e, split in enumerate(one.splits):
        seen = [last_hidden(snapshot.model(e), snapshot.task, split.test_inputs) for snapshot in (one, other)]
        hidden.append(linear_cka(seen[0].hidden, seen[1].hidden))
        outputs.append(linear_cka(seen[0].outputs, seen[1].outputs))
    return {"cka": torch.stack(hidden), "cka_outputs": torch.stack(outputs)}
