"""Learning coefficients as measures: their columns, each member's own, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from made_snapshots import ADDITION, ISING, Line, Stable, snapshot

from grokfast.errors import InputError
from grokfast.learning_coefficient import Mala, Status
from grokfast.models import stack_members
from grokfast.observe import (
    MEASURES,
    LlcMeasure,
    LlcPaperMeasure,
    LlcPopulationMeasure,
    Snapshot,
    fresh_snapshots,
    is_llc_diagnostic,
)
from grokfast.report.claims.encoding import is_coefficient
from grokfast.tasks import Loss

SHORT = Mala(steps=12, warmup=4, most=12)
MEASURED = {
    "llc": LlcMeasure(sampling=SHORT),
    "llc_paper": LlcPaperMeasure(steps=40),
    "llc_population": LlcPopulationMeasure(rhos=(0.1,), sampling=SHORT, fresh=40),
}


@pytest.mark.parametrize("task", [ADDITION, ISING, Line(), Stable()], ids=lambda task: task.name)
@pytest.mark.parametrize("name", MEASURED)
def test_gives_what_it_declares_member_by_member(name, task):
    measure, both = MEASURED[name], snapshot(task)
    found = measure(both)
    assert sorted(found) == sorted(column.name for column in measure.columns(task))
    assert MEASURES[name].name == name
    alone = measure(snapshot(task, seeds=(1,)))
    for column, values in found.items():
        assert values.shape == (2,)
        assert values.dtype == torch.float64
        assert values[1].item() == alone[column][0].item() or (math.isnan(values[1]) and math.isnan(alone[column][0]))


def test_which_columns_are_coefficients():
    found = LlcMeasure().columns(ADDITION)
    values = [column.name for column in found if is_coefficient(column.name)]
    assert values == ["llc_rho_0_03", "llc", "llc_rho_0_3"]
    assert all(is_llc_diagnostic(column.name) for column in found if column.name not in values)
    assert not is_llc_diagnostic("llc_paper")
    assert is_llc_diagnostic("llc_population_status_rho_0_3")
    meaning = {column.name: column.meaning for column in found}["llc_status"]
    assert all(f"{status.number} {status}" in meaning for status in Status)


def test_the_decay_is_that_of_the_training():
    from grokfast.training import RunConfig

    both = snapshot(ADDITION)
    configs = [RunConfig(task=ADDITION, seed=seed, weight_decay=decay) for seed, decay in ((0, 0.0), (1, 0.1))]
    decayed = Snapshot(1, ADDITION, both.params, both.splits, configs)
    one, two = MEASURED["llc"](both), MEASURED["llc"](decayed)
    assert one["llc"][0] == two["llc"][0]
    assert one["llc"][1] != two["llc"][1]


def test_fresh_snapshots_are_no_others_and_of_both_phases():
    fresh = fresh_snapshots(ISING, 40)
    assert fresh.train_inputs.shape == (40, 1, 4, 4)
    assert torch.bincount(fresh.train_labels).tolist() == [20, 20]
    assert torch.equal(fresh.train_inputs, fresh_snapshots(ISING, 40).train_inputs)
    own = ISING.split(0)
    assert fresh.train_inputs.shape[0] != own.train_inputs.shape[0]
    assert not torch.equal(fresh.train_inputs[:20], own.train_inputs[:20])


def test_a_network_that_is_not_finite_is_refused():
    seen = snapshot(ADDITION)
    params = {name: tensor * float("nan") for name, tensor in seen.params.items()}
    with pytest.raises(InputError, match="must be finite"):
        MEASURED["llc"](Snapshot(1, ADDITION, params, seen.splits))


def test_stacks_on_the_loss_of_their_task():
    assert Stable.loss is Loss.STABLEMAX
    members = [Stable().initial(seed, 1.0, torch.float64) for seed in (0,)]
    seen = Snapshot(1, Stable(), stack_members(members), [Stable().split(0)])
    assert MEASURED["llc"](seen)["llc"].isfinite().all()
