"""Every column of the reports, and each fit, on made-up runs whose answers were put in by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from made_runs import EPOCHS, FRACTIONS, ISING, QUANTITIES, RunConfig, ising, modular
from scipy import stats

from grokfast import load
from grokfast.errors import InputError, MissingRunsError
from grokfast.report import REPORTS, listing
from grokfast.store import Store
from grokfast.tasks import ModularAddition, register_task

IPR = ("", "_no_constant", "_complex", "_complex_no_constant", "_separate", "_separate_complex")
SCALES = (0.1, 0.4, 1.0, 4.0)
SEEDS = (0, 1, 2)
BATCH = {"batch_size": 64, "epochs": EPOCHS}


def _table(page, heading):
    """The rows of the table whose first heading is this, cells without bars."""
    lines = page.splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def _claims(page):
    return {row[1]: row for row in _table(page, "claim")}


def _interval(values, spec):
    """Mean and Student's 95 % interval as the pages write it."""
    values = np.asarray(values, float)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return "{:{s}} [{:{s}}, {:{s}}]".format(values.mean(), values.mean() - half, values.mean() + half, s=spec)


def _slope(x, y, spec):
    """Slope with Student's 95 % interval."""
    fit = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2) * fit.stderr
    text = "{:{s}} [{:{s}}, {:{s}}]".format(fit.slope, fit.slope - half, fit.slope + half, s=spec)
    return text, fit


WIDE = ModularAddition(P=11, hidden=(6,))  # 84 samples to train on: a batch of 64 is no whole split


def _modular_runs(folder):
    """Groks from w0 = 1 on, seed 2 at no w0; below that c = 2 + 100 loss, above it c = 4."""
    runs = {}
    for w0 in SCALES:
        for seed in SEEDS:
            run = modular(RunConfig(task=WIDE, w0=w0, seed=seed, **BATCH))
            loss = 0.02 + 0.003 * seed - 0.01 * w0
            low = w0 < 1
            run.summary |= {
                "groks": not low and seed != 2,
                "t_train": 5 + seed,
                "t_test": 9 + seed + int(10 * w0),
                "t_grok": 4 + int(10 * w0),
                "end_train_loss": loss,
                "compressibility": 2 + 100 * loss + (0.02 * (seed - 1) if low else 0) if low else 4 + 0.1 * (seed - 1),
                "end_train_accuracy": 1.0,
                "end_test_accuracy": 1 - 0.001 * seed,
                "dead_output": seed,
            }
            run.summary |= {f"ipr_output{r}": 0.5 + 0.01 * seed + 0.02 * k for k, r in enumerate(IPR)}
            run.summary |= {f"ipr_input{r}": 0.3 + 0.01 * seed + 0.02 * k for k, r in enumerate(IPR)}
            run.publish(Store(folder))
            runs[w0, seed] = run
    return runs


def test_modular_addition(tmp_path):
    runs = _modular_runs(tmp_path / "runs")
    page = REPORTS["modular-addition"](load(tmp_path / "runs"))
    claims = _claims(page)

    def values(name, *scales):
        return [run.summary[name] for (w0, _), run in runs.items() if not scales or w0 in scales]

    onset = claims["onset of grokking (smallest w0 from which all larger grok)"]
    assert onset[3] == "median between 0.4 and 1, mean 1.00 [1.00, 1.00]; by seed 1, 1, none"
    assert onset[4] == "no"
    delay = claims["t_grok in epochs, smallest to largest w0"]
    assert delay[3:] == [
        "5.0 [5.0, 5.0] at 0.1, 44.0 [44.0, 44.0] at 4; rises throughout: yes; from w0 = 1 on: yes",
        "yes",
    ]
    accuracy = claims["test accuracy at the end"]
    assert accuracy[3:] == ["lowest 99.80%, exactly 100 % in 4 of 12, at least 99.5 % in 12", "yes"]

    # Seed 2 grokks at no w0, but two of three do: below the onset are 0.1 and 0.4.
    low = (0.1, 0.4)
    for quantity, chosen, verdict in (
        ("c against end train loss, below the onset", low, "yes"),
        ("c against end train loss, all runs", (), "-"),
    ):
        text, fit = _slope(values("end_train_loss", *chosen), values("compressibility", *chosen), ".0f")
        wanted = f"slope {text} per nat, R² = {fit.rvalue**2:.2f}, p = {fit.pvalue:.1g}, n = {6 if chosen else 12}"
        assert claims[quantity][3:] == [wanted, verdict]
    for quantity, chosen, verdict in (
        ("c below the onset, per decade of w0", low, "no"),
        ("c above the onset, per decade of w0", (1.0, 4.0), "yes"),
    ):
        x = np.log10([w0 for (w0, _) in runs if w0 in chosen])
        text, fit = _slope(x, values("compressibility", *chosen), ".2f")
        assert claims[quantity][3:] == [f"{text}, p = {fit.pvalue:.1g}", verdict]

    for matrix, reading, name in (
        ("output", "", "default: real, constant included"),
        ("output", "_no_constant", "without constant"),
        ("input", "_separate_complex", "separate, complex"),
    ):
        column = f"ipr_{matrix}{reading}"
        row = claims[f"mean IPR, {matrix} ({name})"]
        assert row[3] == (
            f"{_interval(values(column, 0.1), '.3f')} learned (w0 0.1), "
            f"{_interval(values(column, 4.0), '.3f')} grokked (w0 4)"
        )
        assert row[4] == ("yes" if abs(np.mean(values(column, 0.1)) - 0.5) < 0.1 else "no")

    for row, w0 in zip(_table(page, "w0 | t_train"), SCALES, strict=True):
        ratios = np.array(values("t_grok", w0)) / np.array(values("t_train", w0))
        assert row == [
            f"{w0:g}",
            _interval(values("t_train", w0), ".1f"),
            _interval(values("t_test", w0), ".1f"),
            _interval(ratios, ".2f"),
            f"{0 if w0 < 1 else 2} of 3",
            _interval(values("end_train_loss", w0), ".5f"),
            "99.80% or more",
            *[_interval(values(name, w0), ".3f") for name in ("compressibility", "ipr_output", "ipr_input")],
            "1",
        ]
    for row, w0 in zip(_table(page, "w0 | epoch 1"), SCALES, strict=True):
        looks = np.mean([run.seen("compressibility")[1] for (scale, _), run in runs.items() if scale == w0], axis=0)
        assert row == [f"{w0:g}", *[f"{value:.2f}" for value in looks]]


def test_a_report_does_not_take_another_task(tmp_path):
    """Neither runs of Ising nor of a task of one's own that is in all other respects as the main text."""
    folder = tmp_path / "runs"
    for w0 in (0.5, 2, 8):
        for seed in (0, 1):
            ising(RunConfig(task=ISING, w0=w0, seed=seed, epochs=EPOCHS)).publish(Store(folder))
            modular(RunConfig(task=Another(P=11, hidden=(6,)), w0=w0, seed=seed, **BATCH)).publish(Store(folder))
    table = load(folder)
    for name in ("modular-addition", "dynamics"):
        with pytest.raises(MissingRunsError, match=r"needs runs of modular addition .* holds none"):
            REPORTS[name](table)
    page = REPORTS["pruning"](table)
    ours = ising(RunConfig(task=ISING, w0=2, seed=7, epochs=EPOCHS))
    del ours.scalars["gini_parameters"]
    ours.publish(Store(folder))
    with pytest.raises(MissingRunsError, match="grokfast measure"):
        REPORTS["pruning"](load(folder))
    assert [row[0] for row in _table(page, "claim")].count("C1") == 0
    assert "- main text: `grokfast sweep main-text --size laptop`" in page


@register_task
@dataclass(frozen=True)
class Another(ModularAddition):
    """A task that is like modular addition and is not it."""

    name: ClassVar[str] = "another-addition"
    title: ClassVar[str] = "another addition"


def test_geometry_of_another_task_has_numbers_and_no_verdicts(tmp_path):
    looks = {"geometry": "logit-16+softmax-all", "geometry_stiff": 0.1, "geometry_schedule": "every:2"}
    for task, folder in ((Another(P=11, hidden=(6,)), "other"), (WIDE, "ours")):
        for w0 in (0.5, 8.0):
            for seed in (0, 1):
                run = modular(RunConfig(task=task, w0=w0, seed=seed, **BATCH, **looks))
                run.publish(Store(tmp_path / folder))
    ours, other = (_table(REPORTS["geometry"](load(tmp_path / folder)), "claim") for folder in ("ours", "other"))
    assert [row[:2] for row in ours] == [row[:2] for row in other]
    assert {row[2] for row in other} == {"-"}
    assert not any(cell.endswith((": yes", ": no")) for row in other for cell in row)
    assert any(cell.endswith((": yes", ": no")) for row in ours for cell in row)
    assert "19-20 and 46-47" in " ".join(row[2] for row in ours)


def test_geometry_by_hand(tmp_path):
    """Cosines, origins and lengths of known shape; learning and grokking differ in each number."""
    looks = {"geometry": "softmax-all", "geometry_stiff": 0.1, "geometry_schedule": "every:2"}
    at = np.arange(1, EPOCHS + 1)
    peaks = {(0.5, 0): 0.5, (0.5, 1): 0.7, (8.0, 0): 0.8, (8.0, 1): 0.9}
    for (w0, seed), peak in peaks.items():
        run = modular(RunConfig(task=WIDE, w0=w0, seed=seed, **BATCH, **looks))
        run.summary |= {"t_train": 4, "t_test": 12}
        cosine = np.where(at == 9, peak, np.where(at >= 21, -0.25 if w0 < 1 else 0.05, 0.0))
        for name, values in (
            ("cosine", cosine),
            ("origin", np.where(at <= 12, peak / 2, 0.0)),
            ("length", 1.5 - np.cos((at - 5) * np.pi / 12)),
            ("stiff_length", np.where(at < 10, 2.0, 1.0)),
            ("sloppy_length", np.full(EPOCHS, 1.5)),
            ("stiff_cosine", np.sin(at) + 0.1),
            ("sloppy_cosine", np.sin(at) * (1 if w0 > 1 else -1)),
        ):
            run.history[f"geometry_softmax_all_{name}"] = values
        run.publish(Store(tmp_path / "runs"))
    page = REPORTS["geometry"](load(tmp_path / "runs"))
    cells = {row[1]: row[4] for row in _table(page, "claim")}  # the metric put in by hand stands second
    low, high = _interval([0.5, 0.7], ".2f"), _interval([0.8, 0.9], ".2f")
    assert cells["peak of S(s, s'), learning and grokking"] == (
        f"{low} and {high}, the latter at epoch {_interval([9, 9], '.0f')}: yes"
    )
    # The last tenth of 24 looks are 2: epochs 23 and 24.
    assert cells["S at the end, learning and grokking"] == "-0.25 [-0.25, -0.25] and 0.05 [0.05, 0.05]: no"
    origin = cells["origin similarity, mean up to t_test, learning and grokking; largest in grokking"]
    assert origin == (
        f"{_interval([0.25, 0.35], '.2f')} and {_interval([0.4, 0.45], '.2f')}; {_interval([0.4, 0.45], '.2f')}: yes"
    )
    bump = cells["start and end of the largest bump of the length, learning; grokking"]
    assert bump == "5 [5, 5] to 17 [17, 17] (2 of 2 seeds); 5 [5, 5] to 17 [17, 17] (2 of 2 seeds): yes"
    assert cells["grokking: times that stiff and sloppy lengths cross"] == "1.0 [1.0, 1.0]: yes"
    alike = "correlation of stiff and sloppy cosines; mean of stiff minus sloppy"
    assert cells[f"grokking: {alike}"] == "1.00 [1.00, 1.00]; 0.100 [0.100, 0.100]: yes"
    assert cells[f"learning: {alike}"].startswith("-1.00 [-1.00, -1.00]; ")
    assert not cells[f"learning: {alike}"].endswith(("yes", "no"))


def _pruned(c):
    """An accuracy curve of compressibility c on FRACTIONS: constant 1 - 1/c."""
    return {"fractions": FRACTIONS, "accuracy": np.full(6, 1 - 1 / c), "loss": np.ones(6)}


def test_pruning_by_hand(tmp_path):
    """Differences of schemes, Gini coefficients and sizes that were put in, at three settings."""
    folder = tmp_path / "runs"
    big = ModularAddition(P=31, hidden=(6,))
    mine = []
    for setting, decay in (({"batch_size": 64}, 3e-5), ({"batch_size": 200}, 3e-5), ({"batch_size": 64}, 3e-4)):
        for w0 in (1.0, 2.0, 8.0):
            for seed in (0, 1):
                run = modular(RunConfig(task=big, w0=w0, seed=seed, epochs=EPOCHS, weight_decay=decay, **setting))
                noise = 0.1 * (-1) ** seed
                c = 4.0 + noise
                run.summary |= {"compressibility": c, "groks": True, "end_train_loss": 0.01 + 0.001 * w0 + 0.01 * seed}
                run.summary |= {"size_at_5_percent_drop": {1.0: 0.05, 2.0: 0.40, 8.0: 0.5}[w0] + 0.001 * noise}
                if decay == 3e-4:
                    run.summary |= {"compressibility": {1.0: 25.0, 2.0: 9.0, 8.0: 4.0}[w0] + noise}
                    run.summary |= {"ipr_output": 0.05 if w0 == 1.0 else 0.4}
                shift = 0.5 + noise
                run.curves["global"], run.curves["global-by-norm"] = _pruned(c - shift), _pruned(c + 0.2)
                run.curves["random"], run.curves["layerwise"] = _pruned(c / 2), _pruned(c)
                for fisher, less in (("softmax", 1.0), ("logit", -1.0)):
                    run.curves[f"fisher-global-{fisher}"] = _pruned(c - shift - less - noise / 2)
                    run.curves[f"fisher-layerwise-{fisher}"] = _pruned(c - less - noise / 2)
                run.scalars |= {"gini_weights": 0.5, "gini_parameters": 0.55 + noise / 10}
                run.scalars |= {"gini_fisher": 0.8, "gini_fisher_weights": 0.45 + noise / 10}
                run.scalars |= {"gini_fisher_logit": 0.9, "gini_fisher_logit_weights": 0.7}
                run.publish(Store(folder))
                mine += [run] if not mine or (run.config.batch_size == 64 and decay == 3e-5) else []
    page = REPORTS["pruning"](load(folder))
    claims = _claims(page)
    signs = [(-1) ** seed for _ in range(3) for seed in (0, 1)]
    gap = _interval([-0.5 - 0.1 * sign for sign in signs], ".2f")
    assert claims["c of global less that of layerwise pruning"][2:] == [
        "not better",
        f"3.50 against 4.00; difference {gap}",
        "yes",
    ]
    gap = _interval([-1 - 0.05 * sign for sign in signs], ".2f")
    row = claims["c of fisher-layerwise pruning (softmax) less that of layerwise magnitude pruning"]
    assert row[2:] == ["worse", f"3.00 against 4.00; difference {gap}", "yes"]
    assert claims["c of fisher-layerwise pruning (logit) less that of layerwise magnitude pruning"][4] == "no"
    row = claims["c of fisher-global pruning (softmax) less that of global magnitude pruning"]
    assert row[2:] == ["worse", f"2.50 against 3.50; difference {gap}", "yes"]
    gap = _interval([0.25 - 0.01 * sign for sign in signs], ".3f")
    name = "Gini of the Fisher diagonal less that of the weights"
    row = claims[f"{name} (softmax Fisher, all parameters)"]
    assert row[2:] == ["greater", f"0.800 against 0.550; difference {gap}", "yes"]
    assert claims[f"{name} (softmax Fisher, weights alone)"][4] == "no"
    assert claims[f"{name} (logit Fisher, weights alone)"][3].startswith("0.700 against 0.500; difference 0.200")

    text, fit = _slope(np.log10([1, 1, 2, 2, 8, 8]), [4.1, 3.9] * 3, ".3g")
    wanted = f"slope {text}, R² = {fit.rvalue**2:.2f}, p = {fit.pvalue:.1g}, n = 6"
    assert claims["batch 200: c per decade of w0, all"][3:] == [wanted, "yes"]
    assert claims["batch 200: c per decade of w0, below"][3:] == ["0 runs: too few", "-"]

    strong = "weight decay 3e-4: "
    size = f"{strong}share of the weights that keeps 95 % of the accuracy, w0 = "
    assert claims[f"{size}1"][2:] == ["5%", _interval([0.0501, 0.0499], ".1%"), "yes"]
    assert claims[f"{size}2"][2:] == ["32%", _interval([0.4001, 0.3999], ".1%"), "no"]
    assert claims[f"{strong}largest mean c, at w0 = 1"][2:] == ["about 25", _interval([25.1, 24.9], ".1f"), "yes"]
    assert claims[f"{strong}output IPR at w0 = 8 over that at 1"][2:] == ["almost 10", "8.00", "yes"]


def test_ising_by_hand(tmp_path):
    """Groks from w0 = 3 on; |r| with E 0.95 and more; c of no relation to anything."""
    runs = {}
    for w0 in (1.0, 3.0, 10.0):
        for seed in SEEDS:
            run = ising(RunConfig(task=ISING, w0=w0, seed=seed, epochs=EPOCHS))
            run.summary |= {"groks": w0 >= 3, "t_train": 6 + seed, "t_grok": int(w0), "t_test": 6 + seed + int(w0)}
            run.summary |= {"end_train_accuracy": 1.0, "end_test_accuracy": 0.94 + 0.001 * seed * w0}
            run.summary |= {"compressibility": 5 + 0.1 * ((seed + int(w0)) % 3), "end_train_loss": 0.1 + 0.01 * seed}
            run.summary |= {"end_test_loss": 0.2 + 0.02 * seed, "hidden_constant": 1}
            run.summary |= {f"hidden_mean_{name}": 0.95 - 0.1 * k + 0.01 * seed for k, name in enumerate(QUANTITIES)}
            run.summary |= {"conv1_mean_energy": 0.1, "channels1_mean_energy": 0.3}
            run.publish(Store(tmp_path / "runs"))
            runs[w0, seed] = run

    def values(name, w0=None):
        return [run.summary[name] for (scale, _), run in runs.items() if w0 in (None, scale)]

    page = REPORTS["ising"](load(tmp_path / "runs"))
    claims = _claims(page)
    onset = claims["onset of grokking (smallest w0 from which all larger grok)"]
    assert onset[2:] == ["about 3", "median between 1 and 3, mean 3.00 [3.00, 3.00]; by seed 3, 3, 3", "yes"]
    gap = _interval([0.0, 0.009, 0.018], ".2%")
    low, high = (_interval(values("end_test_accuracy", w0), ".2%") for w0 in (1.0, 10.0))
    row = claims["test accuracy at the end"]
    assert row[3:] == [f"{low} learning, {high} grokking; difference by seed {gap}", "yes"]
    for symbol, name, verdict in (
        ("E", "energy", "yes"),
        ("|M|", "abs_magnetization", "no"),
        ("M", "magnetization", "-"),
    ):
        row = claims[f"mean |r| of the last hidden layer with {symbol}"]
        assert row[3].startswith(f"{_interval(values(f'hidden_mean_{name}', 1.0), '.3f')} learning, ")
        assert row[4] == verdict
    assert claims["mean |r(E)| of convolution 1 (every unit)"][4] == "yes"
    assert claims["mean |r(E)| of convolution 1 (spatial means)"][4] == "no"
    for quantity, x in (
        ("c against w0", np.log10([w0 for w0, _ in runs])),
        ("c against end train loss", values("end_train_loss")),
        ("c against end test loss", values("end_test_loss")),
    ):
        text, fit = _slope(x, values("compressibility"), ".3g")
        assert claims[quantity][3].startswith(f"slope {text} per ")
        assert claims[quantity][3].endswith(f"R² = {fit.rvalue**2:.2f}, p = {fit.pvalue:.1g}, n = 9")
        assert claims[quantity][4] == "yes"
    assert claims["c of all runs"][3] == f"{_interval(values('compressibility'), '.2f')}, from 5.00 to 5.20"
    row = _table(page, "w0 | t_train")[2]
    assert row[:5] == ["10", _interval([6, 7, 8], ".0f"), _interval([16, 17, 18], ".0f"), row[3], "3 of 3"]
    assert row[7:9] == [_interval(values("compressibility", 10.0), ".2f"), _interval([0.95, 0.96, 0.97], ".3f")]
    assert row[10] == "1"


def test_two_settings_are_listed_not_mixed(tmp_path):
    for P in (11, 13):
        for w0 in (0.5, 2, 8):
            for seed in (0, 1):
                config = RunConfig(task=ModularAddition(P=P, hidden=(6,)), w0=w0, seed=seed, **BATCH)
                modular(config).publish(Store(tmp_path / "runs"))
    with pytest.raises(InputError, match='--where "P = 11"   \\(6 runs\\)'):
        REPORTS["modular-addition"](load(tmp_path / "runs"))


def test_the_list_says_what_each_measures():
    lines = listing().splitlines()
    assert [line.split()[0] for line in lines] == list(REPORTS)
    assert "Claims G1, G2, F2 and C1" in next(line for line in lines if line.startswith("modular-addition"))
