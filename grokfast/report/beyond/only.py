"""Question 1: are there tasks that can only be grokked, or only be learned?"""

from __future__ import annotations

from grokfast.figures.grouping import values_by
from grokfast.figures.shares import is_censored, largest_shares
from grokfast.report.beyond.experiment import Outcome, Quantity, RunsByStudy, experiment

_HALF = 0.5


@experiment(
    1,
    "Are there tasks that can only be grokked, or only be learned?",
    studies=("beyond-only",),
    figure="beyond_only",
    page="1-only-grokked.md",
)
def only(runs: RunsByStudy) -> Outcome:
    """By task and train fraction, the largest shares over w0 that learn and that grok."""
    verdicts: dict[str, set[str]] = {}
    quantities: list[Quantity] = []
    for task, mine in values_by(runs["beyond-only"], "task_words").items():
        verdicts[task] = set()
        for fraction, members in values_by(mine, "task_train_fraction").items():
            learn, grok = largest_shares(members)
            verdict = ""
            if learn.high < _HALF < grok.low:
                verdict = "only grokkable"
            elif grok.high < _HALF < learn.low:
                verdict = "only learnable"
            verdicts[task] |= {verdict} - {""}
            censored = sum(is_censored(run) for run in members)
            where = f"{task}, train fraction {fraction:g}"
            note = f"{censored} of {len(members)} runs censored"
            quantities.append(Quantity(f"P(generalises and learns), {where}", learn, note, ".2f"))
            quantities.append(Quantity(f"P(generalises and groks), {where}", grok, verdict, ".2f"))
    return Outcome(_answer(verdicts), tuple(quantities))


def _answer(verdicts: dict[str, set[str]]) -> str:
    if len(verdicts) == 1:
        ((task, found),) = verdicts.items()
        return f"{task} alone: {', '.join(sorted(found)) or 'none'}"
    said = [
        name for name in ("only grokkable", "only learnable") if sum(name in found for found in verdicts.values()) > 1
    ]
    return ", ".join(said) or "none"
