"""Measures are tried before they can cost anything, and cannot cost a run afterwards."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from grokfast import ModularAddition, RunConfig, train_stack
from grokfast.errors import ConfigError, InputError
from grokfast.measures import Column, Kind
from grokfast.observe import MEASURES, Dated, FunctionMeasure, Need, Observer, find_measure, measure, register_measure

TASK = ModularAddition(P=5, hidden=(6,))


def _configs(members: int = 2, **fields):
    return [RunConfig(task=TASK, seed=seed, epochs=6, batch_size=8, **fields) for seed in range(members)]


def _train(function, schedule: str = "every:2", **fields):
    return train_stack(_configs(**fields), observers=[Observer(function, schedule)])


@measure(columns=[Column("first_norm", "norm of the first matrix", "1", "|W|", headline=True)])
def first_norm(snapshot):
    return {"first_norm": snapshot.params["0.weight"].flatten(1).norm(dim=1)}


def test_a_declared_measure_is_a_column_of_history_summary_and_record():
    for result in _train(first_norm):
        values = result.history["first_norm"]
        assert np.flatnonzero(np.isfinite(values)).tolist() == [1, 3, 5]
        norm = np.linalg.norm(result.tensors["checkpoints"]["6/0.weight"])
        assert values[-1] == result.record["summary"]["first_norm"] == pytest.approx(norm)
        (column,) = [found for found in result.record["columns"] if found["name"] == "first_norm"]
        assert (column["measure"], column["meaning"], column["label"]) == (
            "first_norm",
            "norm of the first matrix",
            "|W|",
        )
        assert result.record["problems"] == {}


def _given(value):
    return lambda snapshot: value(snapshot)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda s: {"x": torch.zeros(3)}, r"one number a member, \[2\], as 'x', got \[3\]"),
        (lambda s: {"x": torch.zeros(2, 1)}, r"got \[2, 1\]"),
        (lambda s: {"x": torch.zeros(())}, r"got \[\]"),
        (lambda s: {"x": torch.zeros(2, dtype=torch.complex64)}, "real numbers as 'x', got torch.complex64"),
        (
            lambda s: {"x": torch.zeros(2, device="meta")},
            "a dense tensor .* got torch.strided on meta",
        ),
        (lambda s: {"x": torch.ones(2).to_sparse()}, "a dense tensor with values as 'x', got torch.sparse_coo"),
        (lambda s: {"x": [1.0, 2.0]}, r"a tensor \[2\] as 'x', got list"),
        (lambda s: {"x": 1.0}, "got float"),
        (lambda s: {3: torch.zeros(2)}, "name its columns by text, got 3"),
        (lambda s: {"a b": torch.zeros(2)}, "letters, digits and underscores"),
        (lambda s: {"test_loss": torch.zeros(2)}, "'test_loss', which every run has already"),
        (lambda s: {"T_Grok": torch.zeros(2)}, "'T_Grok', which every run has already"),
        (lambda s: {"p": torch.zeros(2)}, "'p', which every run has already"),
        (lambda s: {"W0": torch.zeros(2)}, "'W0', which every run has already"),
        (lambda s: {"Config": torch.zeros(2)}, "'Config', which every run has already"),
        (lambda s: {"Status": torch.zeros(2)}, "'Status', which every run has already"),
        (lambda s: {"Compressibility": torch.zeros(2)}, "compressibility gives 'compressibility'"),
        (lambda s: {"Ipr_Output": torch.zeros(2)}, "SQL cannot tell them apart"),
        (lambda s: torch.zeros(2), "a mapping of columns to tensors, got Tensor"),
        (lambda s: None, "got NoneType"),
        (lambda s: s.params["none"], "KeyError: 'none'"),
        (lambda s: {"x": Dated(1, torch.zeros(3))}, r"got \[3\]"),
    ],
)
def test_what_is_wrong_is_refused_before_the_first_epoch(value, words):
    epochs = []
    with pytest.raises(ConfigError, match=words) as refused:
        train_stack(_configs(), observers=[Observer(_given(value), "last")], on_epoch=lambda s: epochs.append(s.epoch))
    assert epochs == []
    assert "test_watch" in str(refused.value) or "begin with a letter" in str(refused.value)


def test_two_measures_must_not_give_one_column():
    with pytest.raises(ConfigError, match="rename one"):
        train_stack(_configs(), observers=[Observer(first_norm, "last"), Observer(first_norm, "every:2")])


def test_undeclared_columns_are_refused():
    @measure(columns=[Column("one", "a number")])
    def two(snapshot):
        return {"one": torch.zeros(2), "other": torch.zeros(2)}

    with pytest.raises(ConfigError, match=r"two gives 'other', but declares \['one'\]"):
        _train(two)


@pytest.mark.parametrize("declared", [True, False])
def test_one_that_raises_later_ends_its_column_and_nothing_else(declared):
    def late(snapshot):
        if snapshot.epoch >= 4:
            raise ValueError("too late")
        return {"late": torch.full((2,), float(snapshot.epoch), dtype=torch.float64)}

    chosen = measure(columns=[Column("late", "an epoch")])(late) if declared else late
    with pytest.warns(RuntimeWarning, match="raised in epoch 4: ValueError: too late; training goes on"):
        results = _train(chosen)
    untouched = train_stack(_configs())
    for result, other in zip(results, untouched, strict=True):
        assert result.record["status"] == "finished"
        assert result.record["problems"] == {"late": "raised in epoch 4: ValueError: too late"}
        assert np.flatnonzero(np.isfinite(result.history["late"])).tolist() == [1]
        assert "late" not in result.record["summary"]
        for name, values in other.tensors["checkpoints"].items():
            assert np.array_equal(values, result.tensors["checkpoints"][name])


def test_another_shape_later_is_a_problem_too():
    def growing(snapshot):
        return {"x": torch.zeros(2 if snapshot.epoch < 4 else 3)}

    with pytest.warns(RuntimeWarning, match=r"raised in epoch 4: ConfigError: .*got \[3\]"):
        results = _train(growing)
    assert list(results[0].record["problems"]) == ["x"]


def test_the_trial_sees_epoch_0_and_every_look_a_copy():
    seen = []

    def probe(snapshot):
        seen.append((snapshot.epoch, snapshot.metrics["test_loss"].isnan().all().item()))
        if snapshot.epoch == 2:
            snapshot.params["0.weight"].zero_()
        return {}

    (result,) = _train(probe, members=1)
    assert seen == [(0, True), (2, False), (4, False), (6, False)]
    (other,) = train_stack(_configs(members=1))
    assert np.array_equal(result.tensors["checkpoints"]["6/0.weight"], other.tensors["checkpoints"]["6/0.weight"])


def test_a_configuration_asks_for_measures_by_reference():
    results = train_stack(_configs(observe=("norms@every:3", "gini@at:1")))
    for result in results:
        assert np.flatnonzero(np.isfinite(result.history["norm_0_weight"])).tolist() == [2, 5]
        assert np.flatnonzero(np.isfinite(result.history["gini_weights"])).tolist() == [0, 5]
        assert result.record["summary"]["gini_weights"] == result.history["gini_weights"][-1]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nomrs", "did you mean 'norms'"),
        ("no_such_module:x", "no module no_such_module on the import path"),
        ("math:sqrrt", "math has no 'sqrrt'; did you mean 'sqrt'"),
        ("math:sqrt", "plain function without declared columns"),
        ("math:pi", "is no measure"),
        ("pathlib:Path", "is a class"),
    ],
)
def test_references_that_lead_nowhere(reference, words):
    with pytest.raises(ConfigError, match=words):
        find_measure(reference)


def test_registering():
    @measure(columns=[Column("registered_for_a_test", "zero")])
    def registered_for_a_test(snapshot):
        return {"registered_for_a_test": torch.zeros(snapshot.members)}

    register_measure(registered_for_a_test)
    assert find_measure("registered_for_a_test") is registered_for_a_test
    again = measure(columns=[Column("other", "zero")], name="Registered_For_A_Test")(lambda snapshot: {})
    with pytest.raises(ConfigError, match="already"):
        register_measure(again)
    with pytest.raises(ConfigError, match="plain function"):
        register_measure(lambda snapshot: {})


def test_declarations_are_checked():
    with pytest.raises(ConfigError, match="must declare its columns"):
        measure(columns=[])(lambda snapshot: {})
    with pytest.raises(ConfigError, match=r"must be Column\(...\)"):
        measure(columns=["x"])(lambda snapshot: {})
    with pytest.raises(ConfigError, match="needs must be one of"):
        measure(columns=[Column("x", "y")], needs=["everything"])(lambda snapshot: {})
    with pytest.raises(ConfigError, match="one line of text"):
        Column("x", "")
    with pytest.raises(ConfigError, match="begin with a letter"):
        Column("0.weight", "a matrix")
    with pytest.raises(ConfigError, match="kind must be one of"):
        Column("x", "y", kind="number")


def test_every_registered_measure_gives_what_it_declares():
    from grokfast.observe import Snapshot
    from grokfast.training import initial_stack

    state = initial_stack(_configs())
    snapshot = Snapshot(6, TASK, state.params, state.splits, state.configs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, found in MEASURES.items():
            if not type(found).__module__.startswith("grokfast.observe") or isinstance(found, FunctionMeasure):
                continue
            if found.cost >= 1000:
                continue  # learning coefficients, which have a test of their own with short chains
            declared = [column for column in found.columns(TASK) if column.kind is not Kind.ARRAY]
            seen = found.end(snapshot)[0] if hasattr(found, "end") else found(snapshot)
            if declared and name != "features":
                assert set(seen) == {column.name for column in declared}, name
            for column in declared:
                assert column.meaning


def test_what_writes_is_refused():
    def scales(snapshot):
        snapshot.params["0.weight"].mul_(2)
        return {}

    def relabels(snapshot):
        snapshot.splits[0].train_labels.zero_()
        return {}

    def relabels_late(snapshot):
        return relabels(snapshot) if snapshot.epoch == 4 else {}

    for function, words in ((scales, "changes parameter 0.weight"), (relabels, "changes the data")):
        with pytest.raises(ConfigError if function is scales else InputError, match=words):
            _train(function)
    with pytest.raises(InputError, match="relabels_late changes the data"):
        _train(relabels_late)


def test_autograd_may_be_used():
    def gradient_norm(snapshot):
        found = []
        for e, split in enumerate(snapshot.splits):
            model = snapshot.model(e)
            inputs = snapshot.task.encode(split.test_inputs, torch.float32)
            torch.nn.functional.cross_entropy(model(inputs), split.test_labels).backward()
            found.append(sum(p.grad.square().sum() for p in model.parameters()).sqrt())
        return {"gradient_norm": torch.stack(found)}

    for result in _train(gradient_norm, "every:3"):
        assert result.history["gradient_norm"][2] > 0


class _Spectrum:
    """Numbers, one of the end alone, and arrays."""

    name = "spectrum"
    needs = frozenset({Need.PARAMETERS})
    cost = 1.0

    def __init__(self, arrays=None):
        self._arrays = arrays or (lambda s: {"singulars": torch.linalg.svdvals(s.params["0.weight"])})

    def columns(self, task):
        return [
            Column("largest", "largest singular value"),
            Column("smallest_at_the_end", "smallest singular value", kind=Kind.END),
            Column("singulars", "singular values", kind=Kind.ARRAY),
        ]

    def __call__(self, snapshot):
        values = torch.linalg.svdvals(snapshot.params["0.weight"])
        return {"largest": values[:, 0], "smallest_at_the_end": values[:, -1]}

    def arrays(self, snapshot):
        return self._arrays(snapshot)


def test_numbers_of_the_end_and_arrays():
    for result in _train(_Spectrum(), "every:4"):
        wanted = np.linalg.svd(result.tensors["checkpoints"]["6/0.weight"], compute_uv=False)
        np.testing.assert_allclose(result.tensors["arrays"]["singulars"], wanted, rtol=1e-5)
        assert np.flatnonzero(np.isfinite(result.history["largest"])).tolist() == [3, 5]
        assert "smallest_at_the_end" not in result.history
        assert result.record["summary"]["smallest_at_the_end"] == pytest.approx(wanted[-1], rel=1e-4)
        kinds = {column["name"]: column["kind"] for column in result.record["columns"]}
        assert (kinds["singulars"], kinds["smallest_at_the_end"]) == ("array", "end")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (lambda s: {"singulars": torch.zeros(3, 4)}, r"one array a member, \[2, ...\], as 'singulars', got \[3, 4\]"),
        (lambda s: {"singulars": torch.zeros(())}, r"got \[\]"),
        (lambda s: {"singulars": np.zeros((2, 3))}, "got ndarray"),
        (lambda s: {"singulars": torch.zeros(2, 1, dtype=torch.complex64)}, "real numbers"),
        (lambda s: {"others": torch.zeros(2, 1)}, "the array 'others', but declares no such column"),
        (lambda s: {"largest": torch.zeros(2, 1)}, "the array 'largest', but declares no such column"),
        (lambda s: None, "mapping of columns"),
    ],
)
def test_wrong_arrays_are_refused_before_the_first_epoch(arrays, words):
    with pytest.raises(ConfigError, match=words):
        _train(_Spectrum(arrays))


def test_arrays_that_fail_at_the_end_do_not_end_the_run():
    def late(snapshot):
        if snapshot.epoch == 6:
            raise ValueError("too late")
        return {"singulars": torch.zeros(2, 1)}

    with pytest.warns(RuntimeWarning, match="too late"):
        results = _train(_Spectrum(late))
    assert "singulars" not in results[0].tensors["arrays"]
    assert results[0].record["problems"]["singulars"] == "raised in epoch 6: ValueError: too late"
    # The numbers of that look are there: what failed were the arrays.
    assert np.isfinite(results[0].history["largest"][-1])


class _Steps:
    """How far the first matrix has moved since the look before: a memory."""

    def __init__(self, wrong=False):
        self._before, self._wrong = None, wrong

    def __call__(self, snapshot):
        now = snapshot.params["0.weight"].clone()
        moved = torch.zeros(len(now)) if self._before is None else (now - self._before).flatten(1).norm(dim=1)
        self._before = now
        return {"moved": moved[:1] if self._wrong else moved}

    def state_dict(self):
        return {} if self._before is None else {"before": self._before}

    def load_state_dict(self, state):
        self._before = state.get("before")


def test_a_memory_is_tried_on_a_copy():
    first, _ = _train(_Steps(), "every:2")
    assert first.history["moved"][1] == 0  # the trial has left no trace
    assert (first.history["moved"][[3, 5]] > 0).all()
    with pytest.raises(ConfigError, match=r"_Steps.*got \[1\]"):
        _train(_Steps(wrong=True), "last")


@pytest.mark.parametrize("name", ["a b", "../escape", "x@last", "1st", "x:y", "é", 3])
def test_names_of_measures_are_plain(name):
    with pytest.raises(ConfigError, match="letters, digits and underscores"):
        measure(columns=[Column("x", "a number")], name=name)(lambda snapshot: {})
    wrong = _Spectrum()
    wrong.name = name
    with pytest.raises(ConfigError, match="letters, digits and underscores"):
        register_measure(wrong)


def test_the_version_of_a_function_is_its_text():
    def made(k):
        @measure(columns=[Column("x", "a number")])
        def power(snapshot):
            return {"x": snapshot.params["0.weight"].abs().pow(k).sum((1, 2))}

        return power

    assert made(1).version == made(1).version != made(2).version
    other = measure(columns=[Column("x", "a number")], name="power")(lambda snapshot: {})
    assert other.version != made(1).version
    assert measure(columns=[Column("x", "a number")], name="power", version="7")(lambda s: {}).version == "7"


def test_what_failed_stays_so_when_training_goes_on():
    def once(snapshot):
        if snapshot.epoch == 3:
            raise ValueError("once")
        return {"x": torch.ones(2)}

    from threading import Event

    from grokfast.training import Interrupted, initial_stack, run_epochs

    state, stop = initial_stack(_configs()), Event()
    with pytest.warns(RuntimeWarning, match="once"), pytest.raises(Interrupted):
        run_epochs(state, [Observer(once, "every:1")], lambda s: stop.set() if s.epoch == 4 else None, stop)
    run_epochs(state, [Observer(once, "every:1")])
    assert [epoch for epoch, _ in state.observed["x"]] == [1, 2]
    assert state.problems == {"x": "raised in epoch 3: ValueError: once"}


@pytest.mark.parametrize("declared", [True, False])
def test_a_column_that_comes_late_takes_no_other_name(declared):
    def late(snapshot):
        return {"x": torch.ones(2), **({"weight_norm": torch.zeros(2)} if snapshot.epoch == 4 else {})}

    chosen = measure(columns=[Column("x", "one")])(late) if declared else late
    with pytest.warns(RuntimeWarning, match="declare every column" if declared else "rename one"):
        results = _train(chosen, feature_schedule="every:1")
    assert results[0].history["weight_norm"].all()
    assert list(results[0].record["problems"]) == ["x"]
