"""Numbers in words, pictures as text and tables: what readers are told."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from grokfast._words import duration
from grokfast.figures import new_figure
from grokfast.figures.overlay import PAPER, Digitised, lay_over
from grokfast.figures.style import style
from grokfast.measures import Estimate
from grokfast.report.page.describe import numbers_of, plain, text_of
from grokfast.report.page.svg import inline_svg
from grokfast.report.wording import digits, interval


@pytest.mark.parametrize(
    ("value", "half", "shown"),
    [
        (4.2137, 0.13, "4.21"),
        (2423.4, 255.0, "2,420"),
        (0.96832, 0.0021, "0.9683"),
        (11.0, 0.0, "11"),
        (-1.0123, 0.09, "-1.012"),
        (math.inf, 1.0, "never"),
        (math.nan, 1.0, "-"),
        (120_345.0, math.inf, "1.203e+05"),
    ],
)
def test_digits_follow_the_interval(value, half, shown):
    assert digits(value, half) == shown


def test_intervals():
    assert interval(Estimate(4.2137, 4.08, 4.35, 5)) == "4.21 [4.08, 4.35]"
    assert interval(Estimate(2.0, math.nan, math.nan, 1)) == "2 (one value)"
    assert interval(Estimate(12.0, 11.0, math.inf, 5)) == "12.00 [11.00, never]"
    assert interval(Estimate(0.96832, 0.9662, 0.9704, 5), ".2f") == "0.97 [0.97, 0.97]"


def test_durations():
    shown = {3.2: "3 s", 89: "89 s", 95: "2 min", 5340: "89 min", 5400: "1 h 30 min", 200_000: "2.3 days"}
    assert {seconds: duration(seconds) for seconds in shown} == shown


@pytest.fixture
def figure():
    with style():
        found = new_figure(1, 2)
        first, second = found.axes
        first.plot([1, 2, 3], [4.0, 9.0, 2.0], color="#112233", label="$w_0$ = 1")
        first.axvline(2)
        first.legend()
        first.set(title="c of $\\tilde{r}$\nhere", xlabel="epoch")
        second.plot([1, 2, 60], [0.5, 0.6, 0.25], color="#112233")
        second.scatter([1, 2, 3], [5, 6, np.nan], label="seeds")
        second.set_label("c")
        lay_over(found, {"c": (Digitised("fig06c"),)})
    return found


def test_curves_are_told_with_their_extremes(figure):
    rows = [row.cells for row in numbers_of(figure)]
    assert rows[0] == ("c of r~ here", "w0 = 1", "4 at 1", "2 at 3", "9 at 2", "2 at 3")
    # A curve without a legend of its own goes by that of its colour.
    assert rows[1] == ("panel 2", "w0 = 1", "0.5 at 1", "0.25 at 60", "0.6 at 2", "0.25 at 60")
    assert rows[2][:2] == ("panel 2", PAPER)
    assert rows[3] == ("panel 2", "seeds (2 points)", "from 1", "5", "6", "to 2")
    assert len(rows) == 4  # lines that mark a place are none


def test_the_text_names_curves_and_numbers(figure):
    text = text_of(figure, "what it shows")
    assert text.startswith("What it shows. 2 panels, 4 curves. c of r~ here: w0 = 1 from 4 at 1 to 2 at 3, largest 9")
    assert "panel 2: seeds (2 points) between 5 and 6, from 1 to 2." in text
    assert PAPER not in text


def test_plain():
    assert plain("$|s|$, $t_{train}$\n[nats]") == "|s|, t_train [nats]"


def test_the_picture_stands_inline(figure):
    figure.axes[0].set_title("decay 0.00031234")
    svg = inline_svg(figure, "fig99", 'says "a < b"')
    assert svg == inline_svg(figure, "fig99", 'says "a < b"')
    assert svg.startswith("<svg viewBox=")
    assert "says &quot;a &lt; b&quot;</title>" in svg
    assert "decay 0.00031234" in svg, "text is no coordinate"
    numbers = [float(number) for path in re.findall(r' d="([^"]*)"', svg) for number in re.findall(r"-?\d+\.\d+", path)]
    assert numbers
    assert all(round(number, 1) == number for number in numbers if abs(number) >= 1)
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert all(name.startswith("fig99-") for name in ids)
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg)) <= set(ids)
    assert "<?xml" not in svg
    assert "metadata" not in svg
