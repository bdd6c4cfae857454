"""Decision rules on constructed stores whose answers were put in by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_runs import Made, numbers

from grokfast import load
from grokfast.errors import MissingRunsError
from grokfast.figures import FIGURES, draw
from grokfast.figures.alignment import Alignment
from grokfast.figures.regimes import Cell, Regime
from grokfast.report import REPORTS
from grokfast.report.beyond import EXPERIMENTS, decide, decide_all, ledger_rows
from grokfast.report.beyond.control import control
from grokfast.report.beyond.phases import refined
from grokfast.report.page.chapter import read_chapter
from grokfast.reproduce import write_beyond
from grokfast.store import Store, derived, pack
from grokfast.studies import STUDIES, find_study, stored_runs
from grokfast.tasks.modular import powers_of_a_primitive_root


def _publish(folder, study, of, size="laptop", keep=lambda config: True):
    """Runs of a study with what ``of(config, rng)`` gives: scalars of the summary, kept measures, history."""
    for config in filter(keep, find_study(study).sweep(size).configs):
        summary, kept, history = of(config, numbers(config))
        made = Made(config, summary, history, {})
        made.publish(Store(folder))
        for measure, values in kept.items():
            stored = {name: np.float64(value) for name, value in values.items()}
            derived(Store(folder), config.key, f"measure-{measure}", "1", lambda stored=stored: stored)
    return load(folder)


def _decided(number, table):
    found = decide(EXPERIMENTS[number], table)
    assert found.outcome is not None, found.problem
    return found.outcome.answer, {quantity.name: quantity for quantity in found.outcome.quantities}


@pytest.mark.parametrize(
    ("cause", "answer"), [("features", "superposition"), ("sparsity", "sparsity explains it"), ("chance", "no")]
)
def test_superposition(tmp_path, cause, answer):
    def of(config, rng):
        gini, neurons = rng.uniform(0.3, 0.8), rng.uniform(100, 256)
        frequencies, interference = rng.uniform(1, 3), rng.uniform(0, 1)
        if cause == "sparsity":
            frequencies, interference = gini + rng.normal(0, 0.02), 2 * gini + rng.normal(0, 0.02)
        size = {
            "features": 0.5 * frequencies + 0.9 * interference,
            "sparsity": 3 * gini,
            "chance": rng.uniform(0, 0.2),
        }[cause] + rng.normal(0, 0.02)
        superposition = {
            "frequencies_per_neuron": frequencies,
            "feature_interference": interference,
            "feature_packing": rng.uniform(),
            "activation_rank_per_neuron": rng.uniform(),
            "live_neurons": neurons,
        }
        return {"compressibility": math.exp(size)}, {"superposition": superposition, "gini": {"gini_weights": gini}}, {}

    table = _publish(tmp_path, "beyond-ends", of, keep=lambda c: c.weight_decay == 3e-5 and c.w0 < 1 and c.seed < 4)
    found, quantities = _decided(2, table)
    assert found == f"weight decay 3e-05: {answer}"
    assert len(quantities) == 8
    draw("beyond_superposition", table)


@pytest.mark.parametrize(
    ("power", "answer"),
    [
        ({"every": -0.5}, "flatter"),
        ({"every": 0.5}, "no"),
        ({"hessian_trace": -0.5}, "it depends on the measure (flatter by trace of the Hessian)"),
    ],
)
def test_flatness(tmp_path, power, answer):
    names = ("fisher_trace", "fisher_largest", "logit_fisher_trace")
    names += ("logit_fisher_largest", "hessian_trace", "hessian_largest")

    def of(config, rng):
        size = rng.uniform(1, 2)
        strong = {name: power.get(name, power.get("every", 0)) for name in names}
        flat = {n: math.exp(2 + (size / strong[n] if strong[n] else 0.001 * rng.normal())) for n in names}
        if "every" not in power:  # the others rise with c: sharper
            flat |= {n: math.exp(size) for n in names if n not in power}
        return {"compressibility": math.exp(size)}, {"flatness": flat}, {}

    table = _publish(tmp_path, "beyond-ends", of, keep=lambda c: c.weight_decay == 3e-5 and c.seed < 3)
    found, quantities = _decided(8, table)
    assert found == f"weight decay 3e-05: {answer}"
    one = quantities["ln c on ln trace of the Hessian, weight decay 3e-05, compressive scales"].estimate
    assert one.mean == pytest.approx(power.get("every", -0.5))
    draw("beyond_flatness", table)


@pytest.mark.parametrize(
    ("origin", "straight", "answer"),
    [(-0.3, 0.5, "decay's doing"), (0.3, 0.5, "not decay's alone"), (-0.3, 0.99, "not decay's alone")],
)
def test_motion(tmp_path, origin, straight, answer):
    def of(config, rng):
        epochs = config.epochs
        history = {}
        for metric in ("logit_16", "softmax_all"):
            # Outside of the plateau everything is 0.999: only what lies in it counts.
            for what, value in (("origin", origin), ("cosine", straight)):
                values = np.full(epochs, np.nan)
                looks = np.arange(config.geometry_step, epochs, config.geometry_step) - 1
                values[looks] = 0.999
                inside = looks[(looks + 1 >= 0.2 * epochs) & (looks + 1 <= 0.6 * epochs)]
                free = config.weight_decay == 0
                values[inside] = (value if free else 0.9) + rng.uniform(-0.01, 0.0)
                history[f"geometry_{metric}_{what}"] = values
        times = {"t_train": int(0.2 * epochs), "t_test": int(0.6 * epochs)}
        return {**times, "compressibility": 4.0}, {"logit_scale": {"logit_scale": 2.0, "logit_margin": 1.0}}, history

    table = _publish(tmp_path, "beyond-motion", of, keep=lambda c: c.w0 == 10 and c.task.name == "modular-addition")
    found, quantities = _decided(6, table)
    assert found.count(f": {answer}") == 2
    name = "origin similarity in the twin's plateau, modular-addition, w0 10, no decay, float64, softmax Fisher"
    assert quantities[name].estimate.mean == pytest.approx(origin, abs=0.01)
    figure = draw("beyond_motion", table)
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    assert named == {label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]}


@pytest.mark.parametrize(
    ("slope", "answer"),
    [
        (lambda batch, rate: -2 if rate / batch > 4e-5 else 0, "the noise scale sets it"),
        (lambda batch, rate: -2 if batch <= 64 else 0, "the batch itself"),
        (lambda batch, rate: -2, "no border"),
        (lambda batch, rate: 0, "undecided (no compressive regime at batch 64)"),
    ],
)
def test_borders(tmp_path, slope, answer):
    def of(config, rng):
        c = 5 + slope(config.batch_size, config.learning_rate) * math.log10(config.w0) + 0.02 * (config.seed - 1)
        return {"compressibility": c, "end_test_accuracy": 1.0}, {}, {}

    table = _publish(tmp_path, "beyond-batch", of, keep=lambda c: c.batch_size in (64, 200))
    found, quantities = _decided(4, table)
    assert found == f"weight decay 0.0003: {answer}"
    one = quantities["c per decade of w0, batch 64, weight decay 0.0003, learning rate ∝ √B, equal epochs"]
    assert one.estimate.mean == pytest.approx(slope(64, 5e-3), abs=1e-9)
    if answer == "the noise scale sets it":
        # From -2 at 64 to 0 at 200: half way on a logarithmic axis.
        assert quantities["B*, weight decay 0.0003, fixed rate"].estimate.mean == pytest.approx(math.sqrt(64 * 200))
    draw("beyond_borders", table)


def test_borders_of_other_tasks(tmp_path):
    def of(config, rng):
        # a*b: compressive at the smallest batch alone; MNIST learns to 85 % with cross entropy, to 70 % otherwise.
        first = config.batch_size == min(batches) and config.task.name == "modular"
        accuracy = {"mnist": 0.85 if config.task.loss == "cross-entropy" else 0.7}.get(config.task.name, 1.0)
        c = 5 + (-2 if first else 0.0) * math.log10(config.w0) + 0.02 * (config.seed - 1)
        return {"compressibility": c, "end_test_accuracy": accuracy}, {}, {}

    configs = find_study("beyond-batch-tasks").sweep("laptop").configs
    batches = {config.batch_size for config in configs if config.task.name == "modular"}
    _publish(tmp_path, "beyond-batch", lambda c, rng: ({"compressibility": 4.0, "end_test_accuracy": 1.0}, {}, {}))
    table = _publish(tmp_path, "beyond-batch-tasks", of)
    found = _decided(4, table)[0].split("; ")[1:]
    assert found == [
        f"a*b mod 59: compressive regime at batch {min(batches)}",
        "mnist, cross-entropy: no compressive regime",
        "mnist, mean-squared-error: undecided",
        "sparse-parity: no compressive regime",
    ]
    draw("beyond_borders", table)


def test_batches_that_do_not_learn_have_no_slope(tmp_path):
    def of(config, rng):
        learned = config.batch_size <= 64 or config.seed == 0
        return {"compressibility": 5 - config.w0, "end_test_accuracy": 1.0 if learned else 0.9}, {}, {}

    some = _publish(tmp_path, "beyond-batch", of, keep=lambda c: c.learning_rate == 5e-3 and c.batch_size in (64, 400))
    found, quantities = _decided(4, some)
    assert found == "weight decay 0.0003: undecided"
    one = quantities["c per decade of w0, batch 400, weight decay 0.0003, learning rate fixed, equal epochs"]
    assert one.estimate is None
    assert one.note == "3 of 9 runs learned"


def test_phases(tmp_path):
    def of(config, rng):
        small = config.w0 < 1 and config.weight_decay == 3e-4
        summary = {
            "compressibility": 9.0 if small else 4.0,
            "end_test_accuracy": 0.2 if config.weight_decay in (0, 3e-3) else 1.0,
            "end_train_accuracy": 0.1 if config.weight_decay == 3e-3 else 1.0,
            "groks": config.w0 > 1,
            "t_grok": 30,
        }
        return summary, {}, {}

    table = _publish(tmp_path, "beyond-phases", of, keep=lambda c: c.batch_size == 64 and c.seed < 2)
    found, quantities = _decided(7, table)
    assert found == "bounded in weight decay on both sides: yes"
    counts = {name.split(",")[0]: q.estimate.mean for name, q in quantities.items() if q.estimate}
    assert counts["cells that are compressive"] == 1
    assert counts["cells that are collapsed"] == counts["cells that are not generalised"] == 3
    assert counts["cells that are groks"] == 2
    assert counts["cells whose seeds differ"] == 0
    draw("beyond_phases", table)


def test_refinement_goes_between_cells_that_differ():
    def cell(place, regime):
        return Cell(place, (), {regime: 1}, regime, 4.0, 1.0)

    groks, learns = Regime.GROKS, Regime.LEARNS
    regimes = {
        (1.0, 0.0, 16, 0.7): groks,
        (1.0, 1e-4, 16, 0.7): learns,
        (100.0, 1e-4, 16, 0.7): groks,
        (1.0, 1e-4, 64, 0.7): learns,
        (1.0, 1e-2, 64, 0.7): groks,
        (1.0, 1e-2, 64, 0.3): learns,
    }
    found = refined({place: cell(place, regime) for place, regime in regimes.items()})
    assert found == [(1.0, 5e-5, 16, 0.7), (1.0, 1e-3, 64, 0.7), (1.0, 1e-2, 64, 0.458), (10.0, 1e-4, 16, 0.7)]
    assert refined({(1.0, 0.0, 16, 0.7): cell((1.0, 0.0, 16, 0.7), groks)}) == []


def test_only(tmp_path):
    def of(config, rng):
        fraction = config.task.train_fraction
        rising = np.linspace(0, 0.5, config.epochs)
        history = {"test_accuracy": rising if fraction == 0.25 else rising[::-1].copy()}
        accuracy = 0.5 if fraction <= 0.3 else 1.0
        return {"end_test_accuracy": accuracy, "groks": fraction < 0.8, "compressibility": 4.0}, {}, history

    def some(*tasks):
        fractions = (0.25, 0.3, 0.5, 0.85)
        return lambda c: c.w0 in (0.1, 10) and c.task.train_fraction in fractions and c.task.name in tasks

    table = _publish(tmp_path / "one", "beyond-only", of, "paper", some("modular-addition"))
    found, quantities = _decided(1, table)
    assert found == "modular-addition alone: only grokkable, only learnable"
    low = quantities["P(generalises and learns), modular-addition, train fraction 0.25"]
    assert low.note == "20 of 20 runs censored"
    assert quantities["P(generalises and learns), modular-addition, train fraction 0.3"].note == "0 of 20 runs censored"
    middle = quantities["P(generalises and groks), modular-addition, train fraction 0.5"]
    # Ten of ten at two w0: Clopper and Pearson at 5 % / 2, two-sided.
    assert middle.estimate.low == pytest.approx((0.05 / 4) ** (1 / 10))
    assert middle.note == "only grokkable"
    draw("beyond_only", table)

    def product(config, rng):
        summary, kept, history = of(config, rng)
        learns = config.task.name == "modular" and config.task.train_fraction == 0.85
        return {**summary, "groks": summary["groks"] or learns}, kept, history

    table = _publish(tmp_path / "two", "beyond-only", product, "paper", some("modular-addition", "modular"))
    found, quantities = _decided(1, table)
    assert found == "only grokkable"  # only learnable in one task alone
    assert quantities["P(generalises and learns), modular-addition, train fraction 0.85"].estimate.low > 0.5
    assert quantities["P(generalises and groks), a*b mod 59, train fraction 0.85"].note == "only grokkable"


@pytest.mark.parametrize(("grok", "answer"), [(7, "only grokkable"), (6, "none")])
def test_seven_seeds_decide_only_if_they_agree(tmp_path, grok, answer):
    def of(config, rng):
        history = {"test_accuracy": np.linspace(1, 0.5, config.epochs)}
        return {"end_test_accuracy": 1.0 if config.seed < grok else 0.1, "groks": True}, {}, history

    table = _publish(tmp_path, "beyond-only", of, keep=lambda c: c.task.train_fraction == 0.3)
    assert _decided(1, table)[0] == answer


def _alignment(within, between, seeds=6, noise=0.01):
    rng = np.random.default_rng(0)
    values = np.full((2, seeds, 2, seeds), np.nan)
    for i in range(seeds):
        for j in range(seeds):
            for a in (0, 1):
                for b in (0, 1):
                    if i != j:
                        values[a, i, b, j] = values[b, j, a, i] = (within if a == b else between) + noise * rng.normal()
    return Alignment((1.0, 10.0), tuple(range(seeds)), values)


def test_alignment_of_different_and_of_same_features():
    different = _alignment(0.9, 0.4)
    assert different.difference() == pytest.approx(0.5, abs=0.02)
    assert different.permutation_p() == pytest.approx(1 / 32)  # only what was found is that large
    assert different.interval().low > 0.4
    same = _alignment(0.7, 0.7)
    narrow = same.interval(0.9)
    assert -0.05 < narrow.low < narrow.high < 0.05
    assert same.permutation_p() > 0.05
    assert same.pairs(0, 0).size == 15
    assert same.pairs(0, 1).size == 30


def test_features_of_networks(tmp_path):
    for config in find_study("beyond-ends").sweep("quick").configs:
        rng = numbers(config)
        made = Made(config, {"compressibility": 4.0}, {}, {})
        shapes = config.task.module().state_dict()
        made.checkpoint = {name: rng.normal(size=tuple(t.shape)).astype("float32") for name, t in shapes.items()}
        made.publish(Store(tmp_path))
    table = load(tmp_path)
    found, quantities = _decided(5, table)
    assert found == "modular addition: undecided"  # two seeds: half of the resamples have no pairs
    assert -0.2 < quantities["CKA within less between, modular addition, 95 %"].estimate.mean < 0.2
    draw("beyond_features", table)


def _weights(config, after):
    """Output weights that are one wave a neuron over the powers of a primitive root, or over the numbers."""
    rng = numbers(config)
    P, hidden = config.task.P, config.task.hidden[0]
    order = powers_of_a_primitive_root(P).numpy() if after else np.arange(1, P)
    waves = np.zeros((P, hidden))
    modes, phases = rng.integers(1, P // 2, hidden), rng.uniform(0, 2 * np.pi, hidden)
    waves[order] = np.cos(2 * np.pi * np.arange(P - 1)[:, None] * modes / (P - 1) + phases)
    first = np.concatenate([waves, waves]).T
    return {"0.weight": first, "0.bias": np.zeros(hidden), "2.weight": waves, "2.bias": np.zeros(P)}


@pytest.mark.parametrize(
    ("product", "answer"), [(True, "passed"), (False, "no control (the known features are not there)")]
)
def test_control(tmp_path, product, answer):
    runs = {"beyond-control": [], "beyond-ends": []}
    for study, members in runs.items():
        for config in find_study(study).sweep("laptop").configs:
            if config.w0 in (0.1, 10) and config.weight_decay == 3e-5:
                made = Made(config, {"compressibility": 4.0}, {}, {})
                weights = _weights(config, product and study == "beyond-control")
                made.checkpoint = {name: value.astype("float32") for name, value in weights.items()}
                made.publish(Store(tmp_path))
                members.append(config.key)
    table = load(tmp_path)
    products, sums = ([run for run in table if run.key in members] for members in runs.values())
    found, quantities = control(products, sums)
    assert found == answer
    gain = next(one for one in quantities if one.name == "the first less the second, w0 0.1")
    assert (gain.estimate.low > 0.2) == product
    if product:
        apart = [one for one in quantities if one.name.startswith("CKA within tasks")]
        assert len(apart) == 2
        assert all(one.estimate.low > 0 and one.note.startswith("different") for one in apart)
        draw("beyond_features", table)
        # What was taken is kept: the same comes out of the runs without their end models.
        every = [key for members in runs.values() for key in members]
        pack(Store(tmp_path), every, tmp_path / "packed" / "runs.parquet", {})
        small = load(tmp_path / "packed")
        again = control(*([run for run in small if run.key in members] for members in runs.values()))
        assert again == (found, quantities)


def test_a_few_runs_of_a_study_decide_nothing(tmp_path):
    """Other studies have some of its runs too, such as the main text those of experiment 7 at size paper."""
    store = Store(tmp_path / "runs")
    for config in STUDIES["beyond-phases"].sweep("quick").configs[:1]:
        Made(config, {"compressibility": 4.0}, {}, {}).publish(store)
    found = decide(EXPERIMENTS[7], load(store.root), least=0.2)
    assert found.outcome is None
    assert "fewer than 20% of the cells" in found.problem
    assert "1 runs, 5 missing, 1 of 6 cells" in found.problem
    some = decide(EXPERIMENTS[7], load(store.root), least=0.1)
    assert some.answer.startswith("most runs are missing (1 of 6 cells of beyond-phases are there); on the others: ")
    assert some.answer in "\n".join(ledger_rows([some]))


def test_a_minority_of_a_cells_seeds_decides_nothing(tmp_path):
    """Three of seven seeds everywhere look like a whole study; four do decide."""

    def of(config, rng):
        return {"compressibility": 4.0, "end_test_accuracy": 1.0, "groks": True}, {}, {}

    few = decide(EXPERIMENTS[1], _publish(tmp_path, "beyond-only", of, keep=lambda config: config.seed < 3))
    assert few.outcome is None
    assert "none of the cells of a study have half of their seeds: beyond-only (laptop): 54 runs, 72" in few.problem
    more = _publish(tmp_path, "beyond-only", of, keep=lambda config: config.seed == 3 and config.w0 < 4)
    some = decide(EXPERIMENTS[1], more)
    assert some.outcome is not None
    assert some.sizes == (
        "beyond-only (laptop): 66 runs, 60 missing, 12 of 18 cells (18 runs in cells with fewer than half left out)",
    )
    assert some.answer == some.outcome.answer
    grok = next(one for one in some.outcome.quantities if one.name.startswith("P(generalises and groks)"))
    assert grok.estimate.count == 4


def test_the_larger_size_counts_though_a_smaller_one_is_complete(tmp_path):
    def of(config, rng):
        return {"compressibility": 4.0, "end_test_accuracy": 1.0, "groks": True}, {}, {}

    table = _publish(tmp_path, "beyond-only", of, "quick")
    _publish(tmp_path, "beyond-only", of, keep=lambda config: config.w0 < 1)
    assert stored_runs(load(tmp_path), "beyond-only").size == "quick"  # a third of the cells: most are missing
    _publish(tmp_path, "beyond-only", of, keep=lambda config: config.w0 == 1)
    found = stored_runs(load(tmp_path), "beyond-only")
    assert (found.size, len(found.runs), found.missing) == ("laptop", 84, 42)
    assert (found.cells, found.all_cells) == (12, 18)
    assert stored_runs(table, "beyond-only").missing == 0


def test_what_is_missing_is_said_with_its_command(tmp_path):
    def of(config, rng):
        return {"compressibility": 4.0, "end_test_accuracy": 1.0, "groks": True}, {}, {}

    table = _publish(tmp_path, "beyond-only", of, "quick")
    assert stored_runs(table, "beyond-only").size == "quick"
    missing = {found.experiment.number for found in decide_all(table) if found.outcome is None}
    assert {2, 4, 5, 6, 7, 8} <= missing
    text = REPORTS["beyond"].write(table)
    assert "grokfast sweep beyond-motion --size laptop" in text
    assert text.startswith("# Past the paper\n\nWritten by `grokfast report beyond`.")
    assert "nan" not in text
    ledger = "\n".join(ledger_rows(decide_all(table)))
    assert "| [1](beyond/1-only-grokked.md) | Are there tasks" in ledger
    assert "Not decided on these runs: 2, 3, 4, 5, 6, 7, 8." in ledger
    assert ledger_rows(decide_all(table.where("w0 < 0"))) == []
    with pytest.raises(MissingRunsError, match="grokfast sweep beyond-only --size laptop"):
        REPORTS["beyond"].write(table.where("w0 < 0"))


def test_a_reproduction_keeps_its_answers_and_figures(tmp_path):
    def of(config, rng):
        return {"compressibility": 4.0, "end_test_accuracy": 1.0, "groks": True}, {}, {}

    _publish(tmp_path / "runs", "beyond-only", of, "quick")
    files = write_beyond(tmp_path / "runs", tmp_path / "summaries")
    assert files[0].read_text().startswith("# Past the paper")
    assert {file.name for file in files} >= {"beyond.md", "beyond.json", "beyond_only.svg"}
    assert all(file.is_file() for file in files)
    first, *others = read_chapter(tmp_path / "summaries")
    assert (first["number"], first["answer"]) == (1, "none")
    assert first["svg"].startswith("<svg")
    assert {one["number"] for one in others} == {2, 3, 4, 5, 6, 7, 8}
    assert all(one["missing"].startswith("there are no runs of the study ") for one in others)
    assert str(tmp_path) not in (tmp_path / "summaries" / "beyond.json").read_text()


def test_every_experiment_has_its_page_study_and_figure():
    for found in EXPERIMENTS.values():
        assert found.figure in FIGURES
        assert all(name in STUDIES for name in (*found.studies, *found.optional))
        assert found.page.startswith(f"{found.number}-")
