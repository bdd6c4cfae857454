"""The page in a browser: silent console, nothing fetched, nothing that overflows, filter, hover and isolation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (360, 800, 1600)

FIRST_POINT = """() => {
    const view = grokfastViews.fig05c.view, found = [];
    const seek = (item, x, y) => {
        for (const each of item.items || []) {
            if (item.marktype === "symbol" && each.datum?.run)
                found.push({ x: x + each.x, y: y + each.y, run: each.datum.run });
            const inside = item.marktype === "group";
            seek(each, x + (inside ? each.x || 0 : 0), y + (inside ? each.y || 0 : 0));
        }
    };
    const [x, y] = view.origin(), { left, top } = view.padding();
    seek(view.scenegraph().root, x + left, y + top);
    return found[0];
}"""

playwright = pytest.importorskip(
    "playwright.sync_api", reason="NO PLAYWRIGHT (pip install '.[browser]'): the page was not opened in a browser"
)
pytest.importorskip("vl_convert", reason="NO CHART LIBRARY (pip install '.[page]'): charts were not tried")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: the page was not opened in a browser"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, page: tuple[Path, dict], request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page at a width; whatever the console says or the page asks for fails the test."""
    width, scheme = getattr(request, "param", (1600, "light"))
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    tab.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: said.append(f"error: {error}"))
    tab.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    tab.goto(page[0].as_uri())
    yield tab
    assert said == []
    tab.close()


def show_chart(tab: Any, name: str) -> None:
    tab.locator(f"#{name} details.chart summary").click()
    tab.wait_for_function(f"window.grokfastViews['{name}']")


@pytest.mark.parametrize("opened", [(width, scheme) for width in WIDTHS for scheme in ("light", "dark")], indirect=True)
def test_nothing_overflows_and_the_console_is_silent(opened):
    opened.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    count = opened.locator("details.chart").count()
    opened.wait_for_function(f"Object.keys(window.grokfastViews).length === {count}")
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = opened.evaluate(
        """[...document.querySelectorAll("body *")].filter(each => !each.closest("svg, .scroll, .skip, thead, .vega")
            && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    wide = "[...document.querySelectorAll('.vega canvas')].filter(c => c.getBoundingClientRect().right > innerWidth)"
    assert opened.evaluate(f"{wide}.length") == 0


def test_the_ledger_filters(opened, page):
    claims = page[1]["claims"]
    shown = opened.locator("tbody.claim:visible")
    assert shown.count() == len(claims)
    for verdict in {claim["verdict_figures"] for claim in claims}:
        opened.select_option("select[name=figures]", verdict)
        expected = sum(claim["verdict_figures"] == verdict for claim in claims)
        assert shown.count() == expected
        assert opened.locator("#shown").inner_text() == f"{expected} of {len(claims)} claims"
    opened.select_option("select[name=figures]", "")
    topic = claims[0]["topic"]
    opened.select_option("select[name=topic]", topic)
    assert shown.count() == sum(claim["topic"] == topic for claim in claims)
    opened.fill("input[name=words]", "no claim has these words")
    assert shown.count() == 0


def test_hovering_tells_the_run_and_a_click_isolates_it(opened, page):
    show_chart(opened, "fig05c")
    place = opened.evaluate(FIRST_POINT)
    canvas = opened.locator("#fig05c .vega canvas")
    canvas.scroll_into_view_if_needed()
    canvas.hover(position={"x": place["x"], "y": place["y"]})
    tooltip = opened.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    assert place["run"] in tooltip.inner_text()
    canvas.click(position={"x": place["x"], "y": place["y"]})
    opened.wait_for_timeout(200)
    picked = opened.evaluate("grokfastViews.fig05c.view.data('picked_store').map(each => each.values[0])")
    assert picked == [place["run"]]


def test_the_keyboard_isolates_a_scale_and_a_seed(opened):
    show_chart(opened, "fig02b")
    fields = opened.locator("#fig02b .vega-bindings select")
    assert fields.count() == 2
    fields.nth(0).focus()
    opened.keyboard.press("ArrowDown")
    opened.wait_for_timeout(200)
    assert opened.evaluate("grokfastViews.fig02b.view.signal('w0_')") == "0.5"


def test_links_to_runs_open_what_they_lie_in(opened):
    opened.evaluate("location.hash = document.querySelector('tr[id^=run-]').id")
    opened.wait_for_timeout(200)
    assert opened.locator("tr[id^=run-]").first.is_visible()


def test_every_picture_has_its_text_and_every_field_its_label(opened):
    texts = opened.evaluate(
        "[...document.querySelectorAll('figure .picture > svg')].map(each => each.querySelector('title').textContent)"
    )
    assert texts
    assert all(len(text) > 40 for text in texts)
    assert opened.evaluate("[...document.querySelectorAll('select, input')].every(each => each.labels.length)")


def test_it_prints_without_what_is_to_be_clicked(opened, tmp_path):
    made = "[...document.querySelectorAll('.made p')].every(each => each.checkVisibility())"
    assert not opened.evaluate(made)
    opened.emulate_media(media="print")
    # What no reader of paper can open stands open: how each number was made.
    assert opened.evaluate(made)
    assert opened.locator(".made").count() > 26
    assert not opened.locator("#filter").is_visible()
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(opened.pdf(path=tmp_path / "page.pdf", format="A4")) > 10_000
    # On the width of A4 the ledger is a table, not a phone's cards, and no table is cut off.
    opened.set_viewport_size({"width": 703, "height": 1000})
    assert opened.evaluate("getComputedStyle(document.querySelector('.claim td')).display") == "table-cell"
    assert opened.evaluate("[...document.querySelectorAll('.scroll')].every(e => e.scrollHeight <= e.clientHeight + 1)")


@pytest.mark.parametrize("opened", [(360, "light")], indirect=True)
def test_a_phone_s_cards_leave_out_what_the_paper_does_not_have(opened):
    shown = """[...document.querySelectorAll(".claim td")].filter(cell => cell.getClientRects().length)"""
    assert opened.evaluate(f"{shown}.length") > 0
    assert opened.evaluate(f"{shown}.every(cell => cell.textContent.trim() && cell.textContent.trim() !== 'no value')")
