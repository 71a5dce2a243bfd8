"""The HTML pages in a real browser: every figure drawn, nothing asked of the network, no errors.

Needs Chromium (Debian's package `chromium`); without one these tests are skipped, unless
CL_ANALYZE_BROWSER=required.
"""

from __future__ import annotations

import os
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import SAMPLES

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
LABELS = (
    "</script><script>window.hit = 1</script>",
    '"><svg onload=window.hit=1>',
    "{{ 7 * 7 }}",
    "<!--<script>",
    "$\\frac{1}{2}$",
)
"""What class labels of a file say, in place of the digits 0 to 4."""
NASTY = "<img src=x onerror=alert(1)>&amp;tau-0.3.npz"


@pytest.fixture(scope="module")
def browser():
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("CL_ANALYZE_BROWSER") == "required":
            pytest.fail("no Chromium: install Debian's package chromium")
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report of three checkpoints, one with a hostile name, and their comparison."""
    import cl_analyze as cla

    folder = tmp_path_factory.mktemp("pages")
    names = {"tau-0.07.npz": "0.07", NASTY: "0.3", "tau-1.0.npz": "1.0"}
    found = {}
    for name, tau in names.items():
        with np.load(SAMPLES / f"fashion-mnist-tau-{tau}.npz") as arrays:
            few = {key: a[::16] for key, a in arrays.items()}
            names_of = np.array([*LABELS, *"56789"])
            few["labels"] = names_of[few["labels"]]
            np.savez(folder / "few.npz", **few)
        found[name] = folder / "few.npz"
        (folder / "few.npz").rename(folder / name.replace("/", "_"))
        found[name] = folder / name
    paths = [str(path) for path in found.values()]
    report = cla.analyze(paths, metrics="all", taus=[0.07, 0.2, 1.0])
    report.save(folder / "report")
    cla.compare(paths, x="tau-([0-9.]+)", taus=[0.07]).save(folder / "compare")
    return SimpleNamespace(
        report=folder / "report" / "report.html", compare=folder / "compare" / "compare.html"
    )


class Page:
    """A page that remembers what a user would not want to see."""

    def __init__(self, browser, path, width=1200, theme="light", scripts=True):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            java_script_enabled=scripts,
        )
        self.context.set_default_timeout(100_000)  # milliseconds: machines can be busy
        self.page = self.context.new_page()
        self.troubles = []
        self.page.on("console", lambda m: self.troubles.append(f"{m.type}: {m.text}"))
        self.page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.troubles.append(f"dialog: {dialog.message}"))
        self.page.on("request", self._asked)
        self.page.goto(f"file://{path}")

    def _asked(self, request):
        if not request.url.startswith(("data:", "blob:")) and not request.url.endswith(".html"):
            self.troubles.append(f"network: {request.url}")

    def draw_all(self):
        self.page.evaluate("clAnalyze.drawAll()")
        return self

    def draw(self, name):
        self.page.evaluate(f"clAnalyze.draw('{name}')")
        return self

    def __getattr__(self, name):
        return getattr(self.page, name)


@pytest.fixture
def opened(browser):
    pages = []

    def start(*given, **more):
        pages.append(Page(browser, *given, **more))
        return pages[-1]

    yield start
    for page in pages:
        page.context.close()


@pytest.mark.parametrize(
    ("name", "width", "theme"),
    [
        ("report", 1200, "light"),
        ("report", 390, "dark"),
        ("compare", 1200, "dark"),
        ("compare", 390, "light"),
    ],
)
def test_every_figure_is_drawn_without_trouble(opened, pages, name, width, theme):
    page = opened(getattr(pages, name), width, theme).draw_all()
    assert page.troubles == []
    marks = page.evaluate(
        """Object.fromEntries(Array.from(document.querySelectorAll("figure[id]")).map((f) => [f.id,
        f.querySelectorAll(".plot .scatterlayer .trace, .plot .heatmaplayer image").length]))"""
    )
    assert len(marks) >= (16 if name == "report" else 4)
    assert all(count > 0 for count in marks.values()), marks
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (shown == "rgb(255, 255, 255)") == (theme == "light")
    assert page.evaluate("document.querySelectorAll('figure.drawn img').length") == len(marks)
    assert not page.locator("figure.drawn img").first.is_visible()


def test_names_are_text_wherever_they_stand(opened, pages):
    page = opened(pages.report).draw_all()
    assert page.locator("td.source", has_text="onerror").count() == 1
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    titles = page.evaluate(
        "Array.from(document.querySelectorAll('.plot text')).map((t) => t.textContent)"
    )
    assert any("onerror=alert(1)" in title for title in titles)


@pytest.mark.parametrize("name", ["report", "compare"])
@pytest.mark.parametrize("scripts", [True, False])
def test_labels_of_a_file_are_text_wherever_they_stand(opened, pages, name, scripts):
    page = opened(getattr(pages, name), scripts=scripts)
    text = page.page.content()
    assert "<svg onload" not in text
    assert "<script>window" not in text
    if scripts:
        assert page.evaluate("window.hit") is None
        handlers = "[...document.querySelectorAll('*')].filter(e => e.onload || e.onerror).length"
        assert page.evaluate(handlers) == 0
        page.draw_all()
        assert page.evaluate("window.hit") is None
        said = page.evaluate("document.body.textContent")
        if name == "report":
            for label in LABELS:
                assert label[:12] in said, f"{label} is shown as it is written"


def test_the_temperature_slider_picks_one_curve(opened, pages):
    page = opened(pages.report).draw("penalty_curve")
    figure = page.locator("#figure-penalty_curve")

    def faint():
        return page.evaluate(
            """Array.from(document.querySelectorAll("#figure-penalty_curve .scatterlayer .trace"))
            .filter((t) => Number(getComputedStyle(t).opacity) < 0.5
              || Number(t.style.opacity || 1) < 0.5).length"""
        )

    # of several checkpoints one temperature is shown, that of the pictures
    assert figure.locator("output").inner_text() == "τ = 0.2"
    curves = page.evaluate("document.querySelectorAll('#figure-penalty_curve .trace').length")
    assert faint() == curves - 3, "a line of each of three checkpoints"
    figure.locator("input").fill("1")
    assert figure.locator("output").inner_text() == "τ = 0.07"
    page.wait_for_function("document.querySelectorAll('#figure-penalty_curve .trace').length > 0")
    assert faint() == curves - 3
    figure.locator("input").fill("0")
    assert figure.locator("output").inner_text() == "all"
    assert faint() == 0


def test_the_matrix_shows_the_measure_that_is_chosen(opened, pages):
    page = opened(pages.compare).draw("compare_matrix")
    figure = page.locator("#figure-compare_matrix")
    choices = figure.locator("option").all_inner_texts()
    assert len(choices) == 4
    for choice in (choices[3], choices[0]):
        figure.locator("select").select_option(choice)
        page.wait_for_function(
            f"""[...document.querySelectorAll("#figure-compare_matrix .annotation-text")]
            .map((t) => t.textContent).join() === {choice!r}"""
        )
        images = "#figure-compare_matrix .heatmaplayer image"
        assert page.evaluate(f"document.querySelectorAll('{images}').length") == 1
    assert page.troubles == []


def test_a_checkpoint_can_be_switched_off_everywhere(opened, pages):
    page = opened(pages.report).draw("spectrum")
    chip = page.locator(".chips button", has_text="tau-1.0")
    before = page.evaluate("document.querySelectorAll('#figure-spectrum .trace').length")
    chip.click()
    assert chip.get_attribute("aria-pressed") == "false"
    page.wait_for_function(
        f"document.querySelectorAll('#figure-spectrum .trace').length === {before} - 2"
    )
    rows = page.locator("#summary ~ .scroll").first.locator("tbody tr")
    assert [row.is_visible() for row in rows.all()].count(False) == 1
    chip.click()
    page.wait_for_function(
        f"document.querySelectorAll('#figure-spectrum .trace').length === {before}"
    )


def test_tables_sort_by_their_numbers(opened, pages):
    page = opened(pages.report)
    table = page.locator("#summary ~ .scroll table").first
    head = table.locator("thead th").nth(1)
    for direction, reverse in (("ascending", False), ("descending", True)):
        head.locator(".sort").click()
        assert head.get_attribute("aria-sort") == direction
        cells = table.locator("tbody td:nth-child(2)").all()
        values = [float(cell.get_attribute("data-v")) for cell in cells]
        assert values == sorted(values, reverse=reverse)
        assert len(set(values)) == 3


def test_the_theme_can_be_chosen(opened, pages):
    page = opened(pages.report).draw("uniformity")
    back = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(back) == "rgb(255, 255, 255)"
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert page.locator("#theme").inner_text() == "Theme: dark"
    assert page.evaluate(back) == "rgb(13, 17, 23)"
    ink = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    page.wait_for_function(f"{ink} === 'rgb(230, 237, 243)'")


def test_hovering_shows_the_value(opened, pages):
    page = opened(pages.report).draw("uniformity")
    figure = page.locator("#figure-uniformity")
    figure.scroll_into_view_if_needed()
    point = figure.locator(".points path").first.bounding_box()
    page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    page.wait_for_selector("#figure-uniformity .hoverlayer .hovertext")
    assert re.search(r"−?\d\.\d+", figure.locator(".hoverlayer").text_content())


def test_every_number_leads_to_its_definition(opened, pages):
    page = opened(pages.report)
    missing = page.evaluate(
        """Array.from(document.querySelectorAll("a[href^='#']"))
        .filter((a) => !document.getElementById(a.getAttribute("href").slice(1)))
        .map((a) => a.getAttribute("href"))"""
    )
    assert missing == []
    assert page.evaluate("document.querySelectorAll('td a.to').length") > 300


@pytest.mark.parametrize("name", ["report", "compare"])
def test_nothing_is_lost_without_scripts(opened, pages, name):
    page = opened(getattr(pages, name), scripts=False)
    images = page.locator("figure img").all()
    assert len(images) >= (14 if name == "report" else 4)
    for image in images:
        assert image.is_visible()
        assert image.bounding_box()["width"] > 300
    assert not page.locator(".chips").is_visible() if page.locator(".chips").count() else True
    assert page.locator("td.source").count() == 3


def test_print_has_the_static_figures(opened, pages):
    page = opened(pages.report, theme="dark").draw("uniformity")
    page.emulate_media(media="print")
    assert all(image.is_visible() for image in page.locator("figure img").all())
    assert not page.locator(".plot").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
