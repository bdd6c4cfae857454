"""The rule of verdicts, on intervals put in by hand."""

from __future__ import annotations

import math

import pytest

from grokfast.errors import InputError
from grokfast.measures import Estimate
from grokfast.report.claims import Reference, Verdict, expected_of, find_margin, judge, margins, region
from grokfast.report.claims.expected import reference
from grokfast.report.claims.verdict import together

RATIO, ONSET = find_margin("ratio"), find_margin("onset")
GRID = (0.1, 0.2, 0.4, 0.7, 1, 2, 4, 10)


def _value(low, high, count=5):
    return Estimate((low + high) / 2, low, high, count)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (9.5, 10.5, "agrees"),
        (9.0, 11.0, "agrees"),
        (8.9, 10.5, "open"),
        (8.0, 12.0, "open"),
        (11.01, 12.0, "differs"),
        (7.0, 8.99, "differs"),
    ],
)
def test_a_ratio_of_ten_percent(low, high, verdict):
    assert judge(_value(low, high), Reference(10, 10, ""), RATIO) == verdict


def test_the_margin_stands_around_the_paper_s_own_interval():
    """Of both signs: the margin of a negative value is as wide as that of a positive one."""
    assert region(Reference(2215, 2753, ""), RATIO) == pytest.approx((1993.5, 3028.3))
    assert region(Reference(-10, -10, ""), RATIO) == pytest.approx((-11, -9))
    assert region(Reference(0.5, 0.5, ""), find_margin("cosine")) == pytest.approx((0.45, 0.55))
    assert region(Reference(0.02, 0.02, ""), find_margin("parameters")) == pytest.approx((0.01, 0.03))


def test_signs_have_no_margin():
    rises = Reference(0, math.inf, "rises", exact=True)
    assert judge(_value(0.001, 0.2), rises, RATIO) is Verdict.AGREES
    assert judge(_value(-0.001, 0.2), rises, RATIO) is Verdict.OPEN
    assert judge(_value(-0.3, -0.1), rises, RATIO) is Verdict.DIFFERS
    assert judge(_value(0, 0), rises, RATIO) is Verdict.DIFFERS
    assert judge(_value(0, 1), rises, RATIO) is Verdict.OPEN


def test_without_interval_or_value_nothing_is_said():
    assert judge(Estimate(10, math.nan, math.nan, 1), Reference(10, 10, ""), RATIO) is Verdict.OPEN
    assert judge(None, Reference(10, 10, ""), RATIO) is Verdict.OPEN
    assert judge(_value(9, 11), None, RATIO) is Verdict.NONE


def test_onsets_count_in_steps_of_the_grid():
    """0.4 lies in (0.2, 0.4]: one step around is 0.2 to 0.7. (1, 2] meets the bracket of 2 alone: 1 to 4."""
    assert region(Reference(0.4, 0.4, ""), ONSET, GRID) == (0.2, 0.7)
    assert region(Reference(1, 2, ""), ONSET, GRID) == (1, 4)
    assert region(Reference(3, 4, ""), ONSET, GRID) == (2, 10)
    assert region(Reference(0.05, 0.05, ""), ONSET, GRID) == (-math.inf, 0.2)
    assert region(Reference(20, 20, ""), ONSET, GRID) == (math.inf, math.inf)
    paper = Reference(1, 2, "")
    assert judge(_value(2, 2), paper, ONSET, GRID) is Verdict.AGREES
    assert judge(_value(1, 4), paper, ONSET, GRID) is Verdict.AGREES
    assert judge(_value(0.7, 2), paper, ONSET, GRID) is Verdict.OPEN
    assert judge(_value(10, math.inf), paper, ONSET, GRID) is Verdict.DIFFERS
    # At an end of the grid there are no scales around it.
    assert judge(_value(1, 1), Reference(0.9, 0.9, ""), ONSET, (1, 2, 4)) is Verdict.OPEN
    assert judge(_value(math.inf, math.inf), Reference(20, 20, ""), ONSET, GRID) is Verdict.OPEN
    assert judge(_value(10, 10), Reference(8, 8, ""), ONSET, GRID) is Verdict.AGREES
    with pytest.raises(InputError, match="grid"):
        region(paper, ONSET)


def test_a_claim_of_several_parts():
    agrees, differs, opens, none = Verdict.AGREES, Verdict.DIFFERS, Verdict.OPEN, Verdict.NONE
    assert together([agrees, none, agrees]) is agrees
    assert together([agrees, opens]) is opens
    assert together([opens, differs, agrees]) is differs
    assert together([none]) is none
    assert together([]) is none


def test_every_margin_has_a_meaning_and_a_width():
    for kind, margin in margins().items():
        assert margin.meaning
        assert margin.text
        assert margin.steps or margin.relative or margin.absolute, kind


def test_values_of_the_paper_are_read_as_written():
    assert reference("", 0.4) == Reference(0.4, 0.4, "0.4")
    assert reference("", {"above": 0, "says": "rises"}) == Reference(0, math.inf, "rises", True)
    assert reference("", {"low": 1, "high": 2, "source": "fig10d"}) == Reference(1, 2, "(1, 2]", source="fig10d")
    peak = reference("", {"curve": "fig08b", "series": "learning", "take": "peak"})
    assert (peak.low, peak.high, peak.source) == (pytest.approx(0.972, abs=2e-3),) * 2 + ("fig08b",)
    with pytest.raises(InputError, match="expected value"):
        reference("here", {"more": 1})
    with pytest.raises(InputError, match="a reduction must be"):
        reference("here", {"curve": "fig08b", "series": "learning", "take": "peek"})
    assert expected_of("a-task-of-mine") == {}


def test_the_line_of_figure_5c():
    """Slope 2,484 ± 130 a nat and R² 0.941 over 25 points; c per decade −1.13 ± 0.09 and 0.15 ± 0.09."""
    c1 = expected_of("modular-addition")["C1"]
    slope = c1["slope of c, below the onset"].figure
    assert (slope.low + slope.high) / 2 == pytest.approx(2484, abs=2)
    assert (slope.high - slope.low) / 2 == pytest.approx(2.069 * 130, rel=0.02)
    below, above = (c1[f"c per decade of w0, {side} the onset"].figure for side in ("below", "above"))
    assert (below.low + below.high) / 2 == pytest.approx(-1.13, abs=0.01)
    assert (above.low + above.high) / 2 == pytest.approx(0.15, abs=0.01)
