"""What the page says, from summaries: claims evaluated, figures drawn, runs listed; plain values for the template."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grokfast.errors import InputError, MissingRunsError, StoreError
from grokfast.figures import FIGURES, FigureSpec, choose, draw
from grokfast.figures.listing import is_papers
from grokfast.figures.overlay import panels_of
from grokfast.paper import panels
from grokfast.report.claims import CLAIMS, ClaimResult, Finding, Verdict, evaluate, find_margin
from grokfast.report.page.charts import chart_of
from grokfast.report.page.describe import numbers_of, text_of
from grokfast.report.page.summaries import Summaries
from grokfast.report.page.svg import inline_svg
from grokfast.report.wording import measured
from grokfast.runs import Run, RunTable
from grokfast.studies import STUDIES, find_study, setting_of

PAPERS = tuple(name for name in FIGURES if name.startswith("fig"))
"""The paper's figures."""

Tell = Callable[[str], None]
"""Told the name of each figure and claim before it is made."""


@dataclass(frozen=True)
class Drawn:
    """One figure of the page.

    Attributes:
        name: ``fig05c``.
        title: What it shows.
        svg: The picture; empty where it could not be drawn.
        text: What it shows, in words with numbers.
        numbers: Rows of its table.
        chart: Vega-Lite specification of its interactive twin, if it has one.
        studies: Names of the studies of its runs.
        runs: How many runs it shows.
        function: That draws it: ``module:function``.
        papers: What the paper's curves on it are: panel, what it shows, how exactly it was read.
        missing: Why it is not there.
    """

    name: str
    title: str
    svg: str = ""
    text: str = ""
    numbers: tuple[tuple[str, ...], ...] = ()
    chart: dict[str, Any] | None = None
    studies: tuple[str, ...] = ()
    runs: int = 0
    function: str = ""
    papers: tuple[str, ...] = ()
    missing: str = ""


def drawn(name: str, summaries: Summaries) -> Drawn:
    """One of the paper's figures, from the runs of its studies.

    Args:
        name: Of the figure.
        summaries: The runs.
    """
    spec = FIGURES[name]
    function = f"{spec.draw.__module__}:{spec.draw.__qualname__}"
    there = tuple(study for study in spec.studies if study in summaries.studies)
    if spec.needs_runs and not there:
        return Drawn(
            name, spec.title, studies=spec.studies[:1], function=function, missing="its runs are not there yet"
        )
    table = summaries.seeds_of(there)
    try:
        figure = draw(name, table)
        runs = choose(spec, table).runs if spec.needs_runs else []
    except (InputError, MissingRunsError, StoreError) as error:
        return Drawn(name, spec.title, studies=there, function=function, missing=str(error).splitlines()[0])
    text = text_of(figure, spec.title)
    return Drawn(
        name,
        spec.title,
        inline_svg(figure, name, text),
        text,
        tuple(row.cells for row in numbers_of(figure)),
        chart_of(spec, runs) if runs else None,
        there,
        len(runs),
        function,
        _papers(spec, runs),
    )


def _papers(spec: FigureSpec, runs: Sequence[Run]) -> tuple[str, ...]:
    if not (spec.paper and is_papers(spec, runs)):
        return ()
    found = [panels()[name] for name in panels_of(spec.paper)]
    return tuple(
        f"{panel.name.removeprefix('fig').lstrip('0')}: {panel.shows} (mean of: {panel.of}; read to {panel.error})"
        for panel in found
    )


def page_values(summaries: Summaries, tell: Tell = lambda name: None) -> dict[str, Any]:
    """Everything that the template shows.

    Args:
        summaries: The runs.
        tell: Told what is made.
    """
    claims = []
    for name, claim in CLAIMS.items():
        tell(name)
        claims.append(evaluate(claim, summaries.told(claim.studies)))
    figures = []
    for name in PAPERS:
        tell(name)
        figures.append(drawn(name, summaries))
    return {
        "made": summaries.made,
        "total": sum(summaries.made.seconds.values()),
        "claims": [_claim_values(result, summaries) for result in claims],
        "topics": list(dict.fromkeys(result.claim.topic for result in claims)),
        "counts": counts(claims),
        "margins": [find_margin(kind) for kind in _kinds(claims)],
        "figures": figures,
        "studies": list(_studies(summaries)),
        "columns": RUN_COLUMNS,
        "runs": list(_run_rows(summaries.table)),
    }


def counts(results: Sequence[ClaimResult]) -> dict[str, dict[str, int]]:
    """How many claims agree, differ and are open, against the paper's figures and its text; and how many values.

    A claim counts where the paper has a value and something was measured; values are those that its figures have.
    """
    found = {}
    for against in ("figures", "prose"):
        verdicts = Counter(str(getattr(result, f"against_{against}")) for result in results if result.findings)
        verdicts.pop(Verdict.NONE, None)
        found[against] = {str(verdict): verdicts[verdict] for verdict in Verdict if verdict is not Verdict.NONE}
        found[against]["all"] = sum(verdicts.values())
    values = Counter(str(finding.against_figure) for result in results for finding in result.findings)
    values.pop(Verdict.NONE, None)
    found["values"] = {str(verdict): values[verdict] for verdict in Verdict if verdict is not Verdict.NONE}
    found["values"]["all"] = sum(values.values())
    return found


def _kinds(results: Sequence[ClaimResult]) -> list[str]:
    return list(dict.fromkeys(finding.kind for result in results for finding in result.findings))


def _claim_values(result: ClaimResult, summaries: Summaries) -> dict[str, Any]:
    claim = result.claim
    return {
        "name": claim.name,
        "title": claim.title,
        "topic": claim.topic,
        # A claim may name a figure of several that we draw apart: figure 2 is 2a and 2b.
        "figures": [name for name in PAPERS if name.startswith(claim.figures)],
        "function": claim.function,
        "command": f"grokfast reproduce --size {summaries.made.size} --only {claim.name}",
        "verdict_figures": _verdict(result.against_figures, result),
        "verdict_prose": _verdict(result.against_prose, result),
        "missing": result.missing,
        "parts": [
            {
                "task": part.case.title,
                "study": part.case.study,
                "keys": [run.key[:8] for run in part.case.runs],
                "findings": [_finding_values(finding) for finding in part.findings],
            }
            for part in result.parts
        ],
    }


def _verdict(verdict: Verdict, result: ClaimResult) -> str:
    return str(verdict) if result.findings else "not measured"


def _finding_values(finding: Finding) -> dict[str, str]:
    expected = finding.expected
    return {
        "quantity": finding.quantity,
        "of": finding.of,
        "measured": measured(finding),
        "figure": expected.figure.text if expected.figure else "",
        "source": expected.figure.source if expected.figure else "",
        "prose": expected.prose.text if expected.prose else "",
        "verdict_figure": str(finding.against_figure),
        "verdict_prose": str(finding.against_prose),
        "margin": find_margin(finding.kind).text,
        "note": finding.note,
    }


def _studies(summaries: Summaries) -> Iterator[dict[str, Any]]:
    """What was trained: each study with its setting in words."""
    for name in STUDIES:
        if name not in summaries.studies:
            continue
        table = summaries.of([name])
        rows = table.rows
        settings = dict.fromkeys(setting_of(run.record["config"]) for run in table)
        yield {
            "name": name,
            "title": find_study(name).title,
            "runs": len(rows),
            "scales": ", ".join(f"{w0:g}" for w0 in sorted({row["w0"] for row in rows})),
            "seeds": len({row["seed"] for row in rows}),
            "settings": [
                "; ".join(f"{field} = {_plain(value)}" for field, value in sorted(setting.fields.items()))
                for setting in settings
            ],
        }


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


RUN_COLUMNS = ("run", "task", "w0", "seed", "t_train / t_test (+: at least)", "c, end test accuracy")
"""Headings of the table of runs."""


def _run_rows(table: RunTable) -> Iterator[tuple[str, ...]]:
    for row in table.rows:
        task = f"{row['task']}, batch {row['batch_size']}, decay {row['weight_decay']:g}, {row['epochs']:,} epochs"
        if row["status"] != "finished":
            yield row["key"][:8], task, f"{row['w0']:g}", str(row["seed"]), str(row["status"]), "-"
            continue
        found = " / ".join(_time(row, name) for name in ("t_train", "t_test"))
        times = f"{found}, {row['regime'] or 'no accuracy'}"
        end = f"{_number(row.get('compressibility'))}, {_percent(row.get('end_test_accuracy'))}"
        yield row["key"][:8], task, f"{row['w0']:g}", str(row["seed"]), times, end


def _time(row: Mapping[str, Any], name: str) -> str:
    """A learning time, marked where it is a lower bound."""
    found = _number(row.get(name))
    return f"{found}+" if found != "-" and row.get("settled") is False else found


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
