"""The page as text: whole, alone, and saying what the summaries hold."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import made_runs
import pytest
from matplotlib.figure import Figure

from grokfast import ModularAddition, RunConfig, load
from grokfast.errors import StoreError
from grokfast.measures import Estimate
from grokfast.paper import paper_curves
from grokfast.report.beyond import EXPERIMENTS, Decided, Outcome, Quantity
from grokfast.report.claims import CLAIMS
from grokfast.report.page import library, read_made, write_chapter
from grokfast.report.page.build import render
from grokfast.report.page.chapter import read_chapter
from grokfast.report.page.content import PAPERS
from grokfast.report.page.summaries import Made, Summaries
from grokfast.runs import RunTable
from grokfast.store import Store

VOID = {"meta", "br", "img", "input", "link", "hr"}


class Parsed(HTMLParser):
    """Ids, elements, and what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if "id" in values:
            self.ids.append(str(values["id"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if "id" in values:
            self.ids.append(str(values["id"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


@pytest.fixture(scope="module")
def parsed(page) -> Parsed:
    return Parsed(page[0].read_text())


def test_claims_have_further_seeds_of_other_studies(tmp_path):
    rows = [{"key": "of batch-200"}, {"key": "of batch-sizes"}]
    table = RunTable(Store(tmp_path), rows, [])
    summaries = Summaries(Made("quick", ""), table, {"batch-200": ("of batch-200",)})
    assert summaries.told(["batch-200", "main-text"]).rows == rows
    assert summaries.told(["main-text"]).rows == []
    assert summaries.of(["batch-200"]).rows == rows[:1]


def test_it_is_one_whole_document_without_clashing_ids(parsed):
    assert parsed.open == []
    doubled = {name for name in parsed.ids if parsed.ids.count(name) > 1}
    assert not doubled


def test_it_asks_for_nothing(page, parsed):
    text = page[0].read_text()
    assert page[0].stat().st_size < 15e6
    for tag, values in parsed.elements:
        for name in ("src", "href", "data", "xlink:href", "action"):
            value = values.get(name) or "#"
            assert value.startswith(("#", "data:")), f"{tag} {name}={value[:60]}"
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))


def test_every_link_has_its_target(parsed):
    targets = {str(values["href"])[1:] for tag, values in parsed.elements if tag == "a"}
    assert targets <= set(parsed.ids)


def test_every_claim_and_figure_has_its_place(page, parsed):
    assert {*CLAIMS, *PAPERS} <= set(parsed.ids)
    drawn = [figure for figure in page[1]["figures"] if not figure.missing]
    missing = {figure.name: figure.missing for figure in page[1]["figures"] if figure.missing}
    # Batch 200 and strong decay are not among these runs.
    assert set(missing) == {"fig05a", "fig14", "fig16", "fig18", "fig19"}
    for figure in drawn:
        assert figure.svg.startswith("<svg")
        assert 'role="img"' in figure.svg
        assert figure.text.startswith(figure.title[:1].upper() + figure.title[1:])
        if figure.name not in ("fig01", "fig04", "fig11"):  # pictures and histograms
            assert figure.numbers, f"{figure.name} has no table"
    papers = {figure.name for figure in drawn if figure.papers}
    assert {"fig05c", "fig06", "fig07", "fig08", "fig10", "fig20", "fig34"} <= papers


def test_the_headline_counts_the_ledger(page):
    values = page[1]
    verdicts = [claim["verdict_figures"] for claim in values["claims"]]
    for verdict in ("agrees", "differs", "open"):
        assert values["counts"]["figures"][verdict] == verdicts.count(verdict)
    found = values["counts"]["figures"]
    assert f"<b>{found['agrees']} of {found['all']}</b> claims agree" in page[0].read_text()


def test_what_it_quotes_is_escaped(page, summaries):
    text = page[0].read_text()
    assert "a &lt;fast&gt; one" in text
    assert "<fast>" not in text
    assert read_made(summaries).versions == {"grokfast": "1.2.3"}
    assert "63 min" in text  # 75 s and 3,720 s


def test_charts_are_json_with_every_run(page):
    text = page[0].read_text()
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.DOTALL)
    charts = json.loads(found[1])
    assert {"fig02a", "fig02b", "fig05c", "fig05d", "fig06", "fig07", "fig09", "fig10", "fig15", "fig17"} == set(charts)
    for figure in page[1]["figures"]:
        if figure.chart:
            rows = figure.chart["data"]["values"].splitlines()
            keys = {row.split(",")[0] for row in rows[1:]}
            # Dynamics are those of the smallest and the largest of three w0.
            shown = figure.runs * 2 // 3 if figure.name == "fig06" else figure.runs
            assert len(keys) == shown, figure.name


def test_runs_that_failed_are_named_with_the_reason(page):
    assert "<dt>01234567</dt><dd>MemoryError: no room for &lt;it&gt;</dd>" in page[0].read_text()


@pytest.mark.parametrize(
    ("name", "quantity", "panel"), [("fig05c", "end_train_loss", "fig14c"), ("fig15", "ipr_input", "fig15h")]
)
def test_points_of_the_paper_lie_under_ours_of_the_same_quantity(page, name, quantity, panel):
    (figure,) = [figure for figure in page[1]["figures"] if figure.name == name]
    layers = figure.chart["vconcat"][0]["layer"]
    assert [layer.get("name") for layer in layers] == [None, "points"]
    assert layers[0]["encoding"] == {axis: layers[1]["encoding"][axis] for axis in ("x", "y")}
    rows = [row.split(",") for row in layers[0]["data"]["values"].splitlines()[1:]]
    wanted = [pair for x, c in paper_curves(panel).values() for pair in zip(x, c, strict=True)]
    there = [(float(x), float(c)) for shown, x, c in rows if shown == quantity]
    assert there == [pytest.approx(pair, rel=1e-5) for pair in wanted]


def test_charts_are_what_the_library_takes(page):
    vl_convert = pytest.importorskip("vl_convert", reason="NO CHART LIBRARY (pip install '.[page]')")
    for figure in page[1]["figures"]:
        if figure.chart:
            spec = json.loads(re.sub(r'"@\w+"', "3", json.dumps(figure.chart)))
            compiled = vl_convert.vegalite_to_vega(spec)
            assert compiled["marks"], figure.name
            signals = {signal["name"] for signal in compiled["signals"]}
            assert {"w0_", "seed_", "picked"} <= signals


def test_without_the_library_it_says_so(page, monkeypatch):
    monkeypatch.setattr("grokfast.report.page.build.chart_library", lambda: "")
    text = render(page[1])
    assert library.INSTALL.replace("'", "&#39;") in text
    assert '<details class="chart"' not in text


def test_the_chapter_past_the_paper(page, tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 2], [3, 4], label="a")
    estimate = Estimate(2.0, 1.0, 3.0, 5)
    answered = Outcome("it <does>", (Quantity("a slope", estimate, "with a note"), Quantity("another", None)))
    results = [
        Decided(EXPERIMENTS[1], answered, ("beyond-only (laptop): 3 runs",)),
        Decided(EXPERIMENTS[2], None, problem="there are no runs of the study beyond-ends"),
        Decided(EXPERIMENTS[5], None, ("beyond-ends (quick): 2 runs",), "two seeds\n  or more"),
    ]
    assert read_chapter(tmp_path) == []
    assert 'id="beyond' not in page[0].read_text()
    write_chapter(tmp_path, results, {EXPERIMENTS[1].figure: figure})
    text = render({**page[1], "beyond": read_chapter(tmp_path)})
    parsed = Parsed(text)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {"beyond", "beyond-1", "beyond-2"} <= set(parsed.ids)
    assert "<b>it &lt;does&gt;</b> (beyond-only (laptop): 3 runs)" in text
    assert "<td>a slope</td><td>2 [1, 3]</td><td>with a note</td>" in text
    assert "Not decided: there are no runs of the study beyond-ends<" in text
    assert "Not decided: two seeds or more<" in text
    assert text.count('<svg viewBox="') == page[0].read_text().count('<svg viewBox="') + 1
    (tmp_path / "beyond.json").write_text('[{"number": 1}]')
    with pytest.raises(StoreError, match="is no chapter"):
        read_chapter(tmp_path)


def test_figures_have_further_seeds_but_no_other_runs(tmp_path):
    task = ModularAddition(P=5, hidden=(4,), train_fraction=0.8)
    configs = {
        "study": RunConfig(task=task, w0=1.0, seed=0, epochs=2),
        "seed": RunConfig(task=task, w0=1.0, seed=1, epochs=2),
        "scale": RunConfig(task=task, w0=2.0, seed=1, epochs=2),
        "longer": RunConfig(task=task, w0=1.0, seed=1, epochs=3),
        "decay": RunConfig(task=task, w0=1.0, seed=1, epochs=2, weight_decay=1e-2),
    }
    for config in configs.values():
        made_runs.Made(config, {}, {}, {}).publish(Store(tmp_path))
    summaries = Summaries(Made("quick", ""), load(tmp_path), {"batch-200": (configs["study"].key,)})
    keys = {row["key"] for row in summaries.seeds_of(["batch-200"]).rows}
    assert keys == {configs["study"].key, configs["seed"].key}
