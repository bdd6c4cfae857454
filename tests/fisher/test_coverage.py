"""The coverage table of the documentation, layer by kind, with the other libraries' column; and whether it is current.

``pytest -m slow tests/fisher/test_coverage.py`` writes it anew.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from torch import nn

from grokfast.fisher import fisher_diag, fisher_diag_reference

TABLE = Path(__file__).resolve().parents[2] / "docs" / "fisher-coverage.md"
HEAD = """# Coverage of the Fisher diagonal

Written by `pytest -m slow tests/fisher/test_coverage.py`. Every cell compares with per-sample autograd in float64
(relative error under 1e-12 on entries above 1e-6 of the largest). The way is that of `fisher_plan`. The others:
NNGeometry 0.4 and BackPACK 1.7.1 on the exact categorical diagonal, in float32; *wrong* is an answer that is off by
more than 1e-3 or lacks parameters, without an error; *raises* is an error.

| layer | way | exact | gaussian | Monte Carlo | empirical | NNGeometry | BackPACK |
|---|---|---|---|---|---|---|---|
"""


def _worst(found, expected):
    top = max(float(value.max()) for value in expected.values())
    worst = 0.0
    for name, value in expected.items():
        big = value > 1e-6 * top
        if bool(big.any()):
            worst = max(worst, float(((found[name] - value).abs() / value)[big].max()))
    return worst


def _setup(case):
    torch.manual_seed(3)
    model = case.make().double()
    inputs = case.inputs()
    return model, inputs if isinstance(inputs, tuple) else (inputs,)


def _ours(model, inputs):
    cells = []
    outputs = model(*inputs).detach()
    labels = torch.zeros(outputs.shape[:-1], dtype=torch.long)
    for how, targets in (
        ({}, None),
        ({"likelihood": "gaussian"}, None),
        ({"kind": "mc"}, None),
        ({"kind": "empirical"}, labels),
    ):
        if how.get("kind") == "mc":
            draw = fisher_diag(model, inputs, samples=3000, generator=torch.Generator().manual_seed(0), **how).flat()
            exact = fisher_diag(model, inputs).flat()
            good = float((draw - exact).norm() / exact.norm()) < 0.1
        else:
            good = (
                _worst(fisher_diag(model, inputs, targets, **how), fisher_diag_reference(model, inputs, targets, **how))
                < 1e-12
            )
        cells.append("right" if good else "WRONG")
    return cells


def _judge(run, expected):
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            found = run()
    except Exception:
        return "raises"
    if found.shape != expected.shape:
        return "wrong"
    return "right" if float((found.double() - expected).abs().max() / expected.max()) < 1e-3 else "wrong"


def _nngeometry(model, inputs, expected):
    from nngeometry.metrics import FIM
    from nngeometry.object.pspace import PMatDiag
    from torch.utils.data import DataLoader, TensorDataset

    def run():
        loader = DataLoader(TensorDataset(*inputs), batch_size=inputs[0].shape[0])
        return FIM(copy.deepcopy(model), loader, PMatDiag, "classif_logits", function=None).get_diag()

    return _judge(run, expected)


def _backpack(model, inputs, expected):
    import backpack
    from backpack.extensions import DiagGGNExact

    def run():
        net, loss = backpack.extend(copy.deepcopy(model)), backpack.extend(nn.CrossEntropyLoss())
        outputs = net(*inputs)
        with backpack.backpack(DiagGGNExact()):
            loss(outputs, outputs.argmax(-1)).backward()
        return torch.cat([p.diag_ggn_exact.flatten() for p in net.parameters()])

    return _judge(run, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_write_the_table(cases):
    rivals = [
        find if importlib.util.find_spec(name) else None
        for name, find in (("nngeometry", _nngeometry), ("backpack", _backpack))
    ]
    if None in rivals:
        pytest.skip("needs nngeometry and backpack-for-pytorch (pip install '.[bench]') for their columns")
    rows = []
    for case in cases:
        model, inputs = _setup(case)
        ways = sorted({str(route.way) for route in fisher_diag(model, inputs).plan.routes.values()})
        expected = torch.cat([value.flatten() for value in fisher_diag_reference(model, inputs).values()])
        single = tuple(a.float() if a.is_floating_point() else a for a in inputs)
        others = [rival(copy.deepcopy(model).float(), single, expected) for rival in rivals]
        rows.append(f"| {' | '.join([case.name, ', '.join(ways), *_ours(model, inputs), *others])} |")
    TABLE.write_text(HEAD + "\n".join(rows) + "\n")
    assert "WRONG" not in TABLE.read_text()


def test_the_table_is_current(cases):
    rows = [line.split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    assert [row[0].removeprefix("| ") for row in rows] == [case.name for case in cases]
    for row, case in zip(rows, cases, strict=True):
        model, inputs = _setup(case)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plan = fisher_diag(model, inputs).plan
        assert row[1] == ", ".join(sorted({str(route.way) for route in plan.routes.values()}))
        assert row[2:6] == ["right"] * 4
