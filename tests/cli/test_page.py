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

from cl_analyze.figures.catalogue import draw
from cl_analyze.figures.matplotlib_renderer import PAGE, render
from cl_analyze.report.html import render_html
from cl_analyze.results.ordering import shortened
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
            few = {key: a[::16] for key, a in arrays.items() if key != "class_names"}
            names_of = np.array([*LABELS, *"56789"])
            few["labels"] = names_of[few["labels"]]
            np.savez(folder / "few.npz", **few)
        found[name] = folder / "few.npz"
        (folder / "few.npz").rename(folder / name.replace("/", "_"))
        found[name] = folder / name
    paths = [str(path) for path in found.values()]
    report = cla.analyze(paths, metrics="all", taus=[0.07, 0.2, 1.0])
    report.save(folder / "report")
    comparison = cla.compare(paths, x="tau-([0-9.]+)", taus=[0.07])
    comparison.save(folder / "compare")
    return SimpleNamespace(
        report=folder / "report" / "report.html",
        compare=folder / "compare" / "compare.html",
        documents={"report": report.document, "compare": comparison.document},
    )


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """Pages of eight checkpoints and of one, with few rows."""
    import cl_analyze as cla

    folder = tmp_path_factory.mktemp("eight")
    paths = []
    for path in sorted(SAMPLES.glob("fashion-mnist-*.npz")):
        with np.load(path) as arrays:
            few = {key: a if key == "class_names" else a[::20] for key, a in arrays.items()}
            np.savez(folder / path.name, **few)
        paths.append(str(folder / path.name))
    assert len(paths) == 8
    pages = {}
    for name, some in {"eight": paths, "one": paths[:1]}.items():
        document = cla.analyze(some, metrics="all", taus=[0.07, 0.2]).document
        figures = draw(document)
        images = [files[PAGE] for files in render(figures, [PAGE])]
        pages[name] = folder / f"{name}.html"
        pages[name].write_text(render_html(document, list(zip(figures, images, strict=True))))
    return pages


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
    row = page.locator("th.source", has_text="<img src=x")
    assert row.count() == 1
    assert row.get_attribute("title") == NASTY
    assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    titles = page.evaluate(
        "Array.from(document.querySelectorAll('.plot text')).map((t) => t.textContent)"
    )
    assert any("<img src=x" in title for title in titles)


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
            # as they are written, or cut in the middle where an axis or a legend has no room
            for forms in zip(*(shortened(LABELS, most) for most in (14, 16, 24, 40)), strict=True):
                assert any(form in said for form in forms), forms


LEVELS = """Object.fromEntries([...document.querySelectorAll("figure.drawn")].map((figure) => {
  const plot = figure.querySelector(".plot");
  const levels = plot.data.filter((trace) => trace.meta.level != null);
  const whole = plot.data.filter((trace) => trace.opacity === undefined || trace.opacity > 0.16);
  return [figure.id.replace("figure-", ""), [levels.length, plot.data.length - whole.length,
    [...new Set(whole.map((trace) => trace.meta.level).filter((level) => level != null))],
    plot.querySelectorAll(".legendtext").length]];
}))"""
"""Of each figure: marks with a temperature, faint marks, temperatures of the others, legend."""


def test_one_dial_moves_all_figures_with_temperatures(opened, pages):
    page = opened(pages.report).draw_all()
    dial = page.locator("#temperature input")
    assert page.locator("#temperature output").inner_text() == "τ = 0.2", "as in the pictures"
    started = page.evaluate(LEVELS)
    dial.focus()
    page.keyboard.press("Home")
    assert page.locator("#temperature output").inner_text() == "all"
    whole = page.draw_all().evaluate(LEVELS)
    assert all(faint == 0 for _, faint, _, _ in whole.values())
    several = {name for name, (levels, *_) in whole.items() if levels}
    assert {"penalty_curve", "penalty_mass", "loss_gradient", "loss_by_batch"} & set(
        whole
    ) <= several
    assert len(several) >= 2
    page.keyboard.press("ArrowRight")
    assert page.locator("#temperature output").inner_text() == "τ = 0.07"
    assert dial.get_attribute("aria-valuetext") == "τ = 0.07"
    picked = page.draw_all().evaluate(LEVELS)
    # where each checkpoint has a line at each temperature, those of the others go
    at_one = {name for name in several if started[name][2] == [0.2] and not started[name][1]}
    assert {"penalty_curve", "loss_gradient"} <= at_one
    for name, (levels, faint, left, legend) in picked.items():
        if name in at_one:
            assert (levels * 3, faint) == (whole[name][0], 0)
            assert legend == whole[name][3], "every checkpoint keeps its name"
        elif name in several:
            assert (levels - faint) * 3 == levels, f"{name}: one of three temperatures stays"
            assert legend == whole[name][3] - 2
        else:
            assert (faint, legend) == (0, whole[name][3])
        assert left == ([0.07] if name in several else [])
    page.keyboard.press("Home")
    assert page.draw_all().evaluate(LEVELS) == whole
    assert page.troubles == []


def test_of_one_checkpoint_the_other_temperatures_stay_faint(opened, eight):
    page = opened(eight["one"]).draw("penalty_curve")
    levels, faint, _, _ = page.evaluate(LEVELS)["penalty_curve"]
    assert levels > 1
    assert faint == 0
    page.locator("#temperature input").focus()
    page.page.keyboard.press("ArrowRight")
    again = page.draw("penalty_curve").evaluate(LEVELS)["penalty_curve"]
    assert (again[0], again[1]) == (levels, levels - 1)


def test_a_figure_without_the_temperature_stays_whole(opened, pages):
    page = opened(pages.report).draw("penalty_curve")
    page.evaluate(
        """() => { const dial = document.getElementById("temperature");
        const input = dial.querySelector("input"); input.max = 9; input.value = 9;
        input.dispatchEvent(new Event("input")); }"""
    )
    assert page.draw("penalty_curve").evaluate(LEVELS)["penalty_curve"][1] == 0


def test_the_matrix_shows_the_measure_that_is_chosen(opened, pages):
    page = opened(pages.compare).draw("compare_matrix")
    figure = page.locator("#figure-compare_matrix")
    choices = figure.locator("option").all_inner_texts()
    assert len(choices) == 4
    for choice in (choices[3], choices[0]):
        figure.locator("select").select_option(choice)
        page.draw("compare_matrix")
        assert choice == page.evaluate(
            """[...document.querySelectorAll("#figure-compare_matrix .annotation-text")]
            .map((t) => t.textContent).join()"""
        )
        images = "#figure-compare_matrix .heatmaplayer image"
        assert page.evaluate(f"document.querySelectorAll('{images}').length") == 1
    assert page.troubles == []


SAID = """(name) => Object.fromEntries([...document.querySelectorAll("figure.drawn:not(.emptied)")]
.map((figure) => {
  const plot = figure.querySelector(".plot"), found = [];
  const look = (text) => String(text).startsWith(name) && found.push(text);
  plot.data.forEach((trace) => {
    const meta = trace.meta;
    [trace.name, meta.source, ...meta.sources, ...(trace.hovertext || [])].forEach(look);
  });
  Object.entries(plot.layout).forEach(([key, axis]) => {
    if (key.includes("axis") && axis.visible !== false) (axis.ticktext || []).forEach(look);
  });
  plot.layout.annotations.forEach((note) => look(note.text.replace("<b>", "")));
  plot.querySelectorAll("text").forEach((text) => look(text.textContent));
  return [figure.id.replace("figure-", ""), found.length];
}))"""
"""How often the drawn figures say the name of a checkpoint: data, names, ticks, titles, legend."""


@pytest.mark.parametrize("name", ["report", "compare"])
def test_a_checkpoint_can_be_switched_off_everywhere(opened, pages, name):
    page = opened(getattr(pages, name)).draw_all()
    chip = page.locator(".chips button", has_text="tau-1.0")
    before = page.evaluate(SAID, "tau-1.0")
    assert sum(count > 0 for count in before.values()) == len(before), before
    chip.click()
    assert chip.get_attribute("aria-pressed") == "false"
    page.draw_all()
    after = page.evaluate(SAID, "tau-1.0")
    assert set(after) == set(before), "two checkpoints are left in every figure"
    assert set(after.values()) == {0}, after
    rows = page.locator("table.summary").first.locator("th.source").all()
    assert [row.is_visible() for row in rows].count(False) == 1
    chip.click()
    assert page.draw_all().evaluate(SAID, "tau-1.0") == before
    for chip in page.locator(".chips button").all():
        chip.click()
    page.draw_all()
    assert page.locator("figure.emptied").count() == len(before)
    assert page.locator("figure .said").first.inner_text().startswith("Every checkpoint")
    assert page.troubles == []


REFERENCES = re.compile(r"uniform sphere|chance|even |limit|no difference|k = 10|threshold|rate")


@pytest.mark.parametrize("name", ["report", "compare"])
def test_every_mark_has_a_checkpoint_or_is_a_reference(pages, name):
    """What has none stays where its checkpoint is switched off."""
    from cl_analyze.figures import catalogue
    from cl_analyze.figures.description import Cells, Rule
    from cl_analyze.figures.sources import short_names

    document = pages.documents[name]
    names = set(short_names(document).values())
    unowned = [
        (figure.name, mark)
        for figure in catalogue.draw(document)
        for panel in figure.panels
        for mark in panel.marks
        if not isinstance(mark, Cells | Rule)
        and not panel.source
        and panel.title not in names
        and not mark.source
        and mark.label not in names
        and not getattr(mark, "sources", ())
        and not REFERENCES.search(mark.label)
        and not (figure.name == "compare_matrix" and mark.label == "")  # the tree, see the script
        and getattr(mark, "style", "solid") != "dashed"
    ]
    assert unowned == []


def test_rows_and_panels_close_up(opened, pages):
    page = opened(pages.report).draw("uniformity").draw("spectrum").draw("similarity_histogram")

    def shape():
        return page.evaluate(
            """["uniformity", "spectrum", "similarity_histogram"].map((name) => {
            const plot = document.querySelector("#figure-" + name + " .plot");
            const tops = Object.entries(plot.layout).filter(([key, axis]) =>
              /^xaxis/.test(key) && axis.visible !== false).map(([, axis]) => axis.domain[1]);
            return [plot.layout.yaxis.tickvals || [], tops.length, Math.max(...tops),
              plot.querySelectorAll(".legendtext").length];})"""
        )

    rows, spectrum, curves = shape()
    page.locator(".chips button").nth(0).click()
    page.draw_all()
    fewer = shape()
    assert (rows[0], fewer[0][0]) == ([0, 1, 2], [0, 1])
    assert fewer[1][3] == spectrum[3] - 1, "one name less in the legend"
    assert (curves[1], fewer[2][1]) == (3, 2)
    assert fewer[2][2] == pytest.approx(curves[2]), "two panels take the width of three"
    assert fewer[2][3] == curves[3], "the legend was the first panel's: another lists it"


def test_only_figures_in_view_are_drawn_again(opened, pages):
    page = opened(pages.report).draw_all()
    page.evaluate(
        """() => { window.calls = []; const react = Plotly.react;
        Plotly.react = (plot, ...rest) => {
          calls.push(plot.closest("figure").id); return react(plot, ...rest); }; }"""
    )
    page.locator("#figure-spectrum").scroll_into_view_if_needed()
    page.evaluate("clAnalyze.settled()")
    for press in (
        "document.querySelector('.chips button').click()",
        "document.getElementById('theme').click()",
    ):
        page.evaluate(f"calls.length = 0; {press}")
        page.evaluate("clAnalyze.settled()")
        calls = page.evaluate("calls")
        assert "figure-spectrum" in calls
        assert len(calls) == len(set(calls)) < 8
        assert "figure-loss_gradient" not in calls
    page.locator("#figure-loss_gradient").scroll_into_view_if_needed()
    page.evaluate("clAnalyze.settled()")
    assert "figure-loss_gradient" in page.evaluate("calls")


def test_plotly_is_not_read_before_a_figure_is_near(opened, pages):
    page = opened(pages.report)
    assert page.evaluate("document.getElementById('figures').getBoundingClientRect().top") > 1200
    assert page.evaluate("window.Plotly === undefined")
    page.locator("figure").first.scroll_into_view_if_needed()
    page.evaluate("clAnalyze.settled()")
    assert page.evaluate("document.querySelector('figure').classList.contains('drawn')")
    assert page.evaluate("document.querySelectorAll('figure.drawn').length") < 6


@pytest.mark.parametrize(
    ("title", "orders"),
    [
        ("gap to uniform law", ("ascending", "descending")),
        ("kNN accuracy", ("descending", "ascending")),
        ("nearest negative", ("ascending", "descending")),
    ],
)
def test_a_click_on_a_head_sorts_the_best_first(opened, pages, title, orders):
    page = opened(pages.report)
    table = page.locator("table.summary")
    head = table.locator("thead th", has_text=title)
    column = head.evaluate("(th) => th.cellIndex") + 1
    for order in orders:
        head.locator(".sort").click()
        assert head.get_attribute("aria-sort") == order
        cells = table.locator(f"tbody tr > :nth-child({column})").all()
        values = [float(cell.get_attribute("data-v")) for cell in cells]
        assert values == sorted(values, reverse=order == "descending")
        assert len(set(values)) == 3
    assert table.locator("[aria-sort]").count() == 1


def test_the_reference_stays_above_its_differences(opened, pages):
    page = opened(pages.compare)
    table = page.locator("#differences ~ .scroll table").first
    assert table.locator("tbody tr").count() == 3
    marks = set(table.locator(".mark").all_inner_texts())
    assert marks <= {"▲", "▼", "•", "·"}
    for mark in table.locator(".mark").all():
        assert mark.get_attribute("aria-label") in ("better", "worse", "differs", "not established")
    for _ in range(2):
        table.locator(".sort").nth(1).click()
        assert table.locator("tbody tr").first.get_attribute("class") == "reference"


def test_a_filter_finds_numbers(opened, pages):
    page = opened(pages.report)
    field = page.locator(".filter input")
    boxes = page.locator("#number-tables details")
    assert not any(box.evaluate("(box) => box.open") for box in boxes.all())
    field.fill("PENALTY entropy 0.2")
    rows = page.locator("#number-tables tbody tr:visible")
    assert [row.locator("th").inner_text() for row in rows.all()] == ["penalty_entropy"]
    assert "τ 0.2" in rows.first.inner_text()
    assert page.locator(".filter output").inner_text() == "1 number"
    field.fill("no such number")
    assert page.locator("#number-tables details:visible").count() == 0
    field.fill("")
    assert boxes.count() == page.locator("#number-tables details:visible").count()
    assert not any(box.evaluate("(box) => box.open") for box in boxes.all())


@pytest.mark.parametrize("name", ["report", "compare"])
def test_nothing_on_the_page_leads_out(opened, pages, name):
    page = opened(getattr(pages, name)).draw_all()
    leading = page.evaluate(
        """[...document.querySelectorAll("*")].flatMap((e) => [...e.attributes]
        .filter((a) => /^(href|src|srcset|action|formaction|data|poster|ping|xlink:href)$/
          .test(a.name))
        .map((a) => a.value)).filter((v) => !/^(#|data:|blob:)/.test(v))"""
    )
    assert leading == []
    assert page.locator("form, iframe, object, embed, link[rel=stylesheet], base").count() == 0
    styles = page.evaluate(
        """[...document.querySelectorAll("[style]")].map((e) => e.getAttribute("style"))
        .concat([...document.querySelectorAll("style")].map((e) => e.textContent))
        .filter((text) => /url\\((?!["']?#)|@import/.test(text))"""
    )
    assert styles == []
    policy = page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content")
    assert policy.startswith("default-src 'none';")
    assert page.troubles == []


def test_the_navigation_names_every_figure(opened, pages):
    page = opened(pages.report, 1280)
    listed = page.evaluate(
        """[...document.querySelectorAll("nav a[href^='#figure-']")]
        .map((a) => a.getAttribute("href").slice(1))"""
    )
    assert listed == page.evaluate("[...document.querySelectorAll('figure')].map((f) => f.id)")
    assert page.locator("nav a[href='#figure-spectrum']").is_visible()
    page.page.set_viewport_size({"width": 390, "height": 800})
    assert not page.locator("nav a[href='#figure-spectrum']").is_visible()
    bar = page.locator("nav.bar").bounding_box()
    assert bar["height"] < 48, "one line"
    page.emulate_media(reduced_motion="reduce")
    page.locator("nav a[href='#meaning']").click()
    assert page.evaluate("scrollY") > 0
    heading = page.locator("#meaning").bounding_box()
    assert heading["y"] >= bar["height"], "not under the bar"


def test_the_theme_can_be_chosen(opened, pages):
    page = opened(pages.report).draw("uniformity")
    back = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(back) == "rgb(255, 255, 255)"
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert page.locator("#theme").inner_text() == "Theme: dark"
    assert page.evaluate(back) == "rgb(13, 17, 23)"
    ink = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    page.draw("uniformity")
    assert page.evaluate(ink) == "rgb(230, 237, 243)"


def test_hovering_shows_the_value(opened, pages):
    page = opened(pages.report).draw("uniformity")
    figure = page.locator("#figure-uniformity")
    figure.scroll_into_view_if_needed()
    point = figure.locator(".points path").first.bounding_box()
    page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    page.wait_for_selector("#figure-uniformity .hoverlayer .hovertext")
    assert re.search(r"−?\d\.\d+", figure.locator(".hoverlayer").text_content())


HOVER = """async ([name, curve, point]) => {
  const plot = document.querySelector("#figure-" + name + " .plot"), trace = plot.data[curve];
  Plotly.Fx.hover(plot, [{ curveNumber: curve, pointNumber: point }], trace.xaxis + trace.yaxis);
  for (let frame = 0; frame < 120; frame++) {
    const found = [...plot.querySelectorAll(".hoverlayer .hovertext")];
    if (found.length) return found.map((text) => text.textContent);
    await new Promise(requestAnimationFrame);
  }
  return [];
}"""


def test_hovering_says_name_true_position_and_standard_error(opened, pages):
    page = opened(pages.report).draw("knn_accuracy").draw("spectrum")
    document = pages.documents["report"]
    records = document.records("knn_accuracy", source="tau-0.07.npz")
    curve = "document.querySelector('#figure-knn_accuracy .plot').data[0]"
    assert page.evaluate(f"{curve}.x.some((x) => !Number.isInteger(x))"), "beside each other"
    last = page.evaluate(f"{curve}.y.length - 1")
    found = page.evaluate(HOVER, ["knn_accuracy", 0, last])
    record = sorted(records, key=lambda record: record.params["k"])[last]
    assert len(found) == 1
    shown = f"tau-0.07 · k {record.params['k']} · kNN accuracy "
    assert found[0].startswith(shown), "beside its place, with its true k"
    assert f"{record.value:.3f}"[:5] in found[0]
    assert record.error_text in found[0], "± as in the tables"
    assert re.search(r" · 95% 0\.\d+ to 0\.\d+$", found[0])
    (plain,) = page.evaluate(HOVER, ["spectrum", 0, 2])
    assert re.fullmatch(r"tau-0\.07 · rank of the direction 3 · variance [\d.]+", plain)


def test_axes_use_no_prefixes_and_one_size_of_ticks(opened, pages):
    page = opened(pages.report).draw_all()
    ticks = page.evaluate(
        """[...document.querySelectorAll(".xtick text, .ytick text, .cbaxis text")]
        .map((text) => [text.textContent, getComputedStyle(text).fontSize])"""
    )
    assert any("10⁻" in text for text, _ in ticks)
    assert not [text for text, _ in ticks if re.search(r"\d[a-zµ]$|\de|^-\d", text, re.IGNORECASE)]
    assert len({size for _, size in ticks}) <= 2, "axes, and colour bars"


def test_the_theme_is_remembered_where_the_browser_allows(opened, pages):
    page = opened(pages.report)
    page.locator("#theme").click()
    page.reload()
    assert page.locator("#theme").inner_text() == "Theme: light"
    page.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('refused'); } })"
    )
    page.reload()
    assert page.locator("#theme").inner_text() == "Theme: auto"
    page.locator("#theme").click()
    assert page.locator("#theme").inner_text() == "Theme: light"
    assert page.troubles == []


def test_lines_have_their_partners_on_a_dark_page(opened, pages):
    from cl_analyze.figures.colours import on_dark

    colours = """[...document.querySelectorAll(".plot")].flatMap((plot) => (plot.data || [])
    .filter((trace) => trace.line && trace.line.color).map((trace) => trace.line.color))"""
    light = opened(pages.report).draw_all().evaluate(colours)
    dark = opened(pages.report, theme="dark").draw_all().evaluate(colours)
    assert len(light) > 50
    assert dark == [on_dark(colour) for colour in light]


def test_the_tool_bar_is_no_tab_stop_and_uploads_nothing(opened, pages):
    page = opened(pages.report).draw("spectrum")
    bar = "document.querySelectorAll('#figure-spectrum .modebar-btn')"
    titles = page.evaluate(f"[...{bar}].map((button) => button.dataset.title)")
    assert len(titles) >= 4
    assert not [title for title in titles if re.search(r"share|cloud|studio|edit", title, re.I)]
    assert page.evaluate(f"[...{bar}].every((button) => button.tabIndex === -1)")
    page.locator(".chips button").first.click()
    page.draw("spectrum")
    assert page.evaluate(f"[...{bar}].every((button) => button.tabIndex === -1)")
    links = page.evaluate("[...document.querySelectorAll('a')].map((a) => a.getAttribute('href'))")
    assert all(link is None or link.startswith("#") for link in links)
    with page.page.expect_download() as saved:
        page.locator("#figure-spectrum .plot").hover()
        page.locator("#figure-spectrum .modebar-btn[data-title*=ownload]").click()
    assert saved.value.suggested_filename == "spectrum.svg"
    assert page.troubles == []


@pytest.fixture(scope="module")
def maps(pages, tmp_path_factory):
    """A page with a map of six rows in two panels, each row with its two nearest."""
    from cl_analyze.figures.description import Axis, Figure, Panel, Points
    from cl_analyze.figures.matplotlib_renderer import PAGE, render
    from cl_analyze.report.html import render_html

    rows, near = [3, 5, 7, 8, 11, 17], [[5, 7], [3, 7], [5, 8], [7, 11], [8, 17], [11, 8]]
    panels = [
        Panel(
            [
                Points(
                    [float(x) for x in range(6)],
                    [float((k * x) % 5) for x in range(6)],
                    "rows",
                    rows=rows,
                    neighbours=near,
                    hovers=[f"row {row} · id <b>{row}" for row in rows],
                )
            ],
            Axis("axis 1"),
            Axis("axis 2"),
            title,
            source=title,
        )
        for k, title in ((2, "tau-0.07"), (3, "tau-1.0"))
    ]
    figure = Figure("projection", "A map", "Of six rows.", panels, columns=2)
    path = tmp_path_factory.mktemp("maps") / "map.html"
    (files,) = render([figure], [PAGE])
    path.write_text(render_html(pages.documents["report"], [(figure, files[PAGE])]))
    return path


def test_a_point_of_a_map_shows_its_neighbours(opened, maps):
    page = opened(maps)
    figure = page.locator("#figure-projection")
    figure.scroll_into_view_if_needed()
    page.evaluate("clAnalyze.settled()")

    def rings():
        return page.evaluate(
            """document.querySelector("#figure-projection .plot").layout.shapes
            .filter((shape) => shape.name === "ring")
            .map((shape) => [shape.xref, shape.xanchor, shape.x1])"""
        )

    said = figure.locator(".said")
    assert said.get_attribute("aria-live") == "polite"
    point = figure.locator(".points path").nth(5).bounding_box()
    at = point["x"] + point["width"] / 2, point["y"] + point["height"] / 2
    page.mouse.move(*at)
    page.mouse.click(*at)
    text = "row 17 · id <b>17: nearest 2: row 11 · id <b>11; row 8 · id <b>8"
    assert said.inner_text() == text
    assert rings() == [
        [axis, x, size] for axis in ("x", "x2") for x, size in ((5, 8), (4, 5), (3, 5))
    ]
    page.locator(
        ".chips button", has_text="tau-1.0"
    ).click()  # scrolls up, out of the figure's view
    figure.scroll_into_view_if_needed()
    for _ in range(100):  # until the browser has told the page that the figure is in view again
        page.evaluate("clAnalyze.settled()")
        if len(rings()) == 3:
            break
    assert len(rings()) == 3, "the rings of a panel go with it"
    assert said.inner_text() == text
    page.keyboard.press("Escape")
    assert (rings(), said.inner_text()) == ([], "")
    figure.locator("input").fill("7")
    figure.locator("input").press("Enter")
    assert said.inner_text().startswith("row 7 · id <b>7: nearest 2: row 5")
    figure.locator("input").fill("4")
    figure.locator("input").press("Enter")
    assert (rings(), said.inner_text()) == (
        [],
        "Row 4 is not among the rows that this figure shows.",
    )
    assert page.troubles == []


def test_a_second_click_on_a_point_clears_it(opened, maps):
    page = opened(maps).draw("projection")
    page.locator("#figure-projection").scroll_into_view_if_needed()
    page.evaluate("clAnalyze.settled()")
    click = """(row) => { const plot = document.querySelector("#figure-projection .plot");
    plot.emit("plotly_click", { points: [{ data: plot.data[0], pointNumber: row }] }); }"""
    said = page.locator("#figure-projection .said")
    for row, start in ((0, "row 3"), (1, "row 5"), (1, "")):
        page.evaluate(click, row)
        assert said.inner_text()[:5] == start


def test_a_phone_shows_one_panel_and_no_name_on_another(opened, pages):
    page = opened(pages.report, 390).draw_all()
    panels = """(name) => {
      const { layout } = document.querySelector("#figure-" + name + " .plot");
      return Object.entries(layout)
        .filter(([key, axis]) => /^xaxis/.test(key) && axis.visible !== false).length; }"""
    assert page.evaluate(panels, "similarity_histogram") == 1
    select = page.locator("#figure-similarity_histogram select")
    options = select.locator("option").all_inner_texts()
    assert options[-1] == "all panels"
    assert len(options) == 4
    select.select_option("tau-1.0")
    page.draw("similarity_histogram")
    title = page.locator("#figure-similarity_histogram .annotation-text")
    assert title.all_text_contents() == ["tau-1.0"]
    page.locator(".chips button", has_text="tau-1.0").click()
    page.draw("similarity_histogram")
    assert "tau-1.0" not in title.all_text_contents()
    assert title.count() == 1
    select.select_option("all panels")
    assert page.draw("similarity_histogram").evaluate(panels, "similarity_histogram") == 2
    bars = page.evaluate("""[...document.querySelectorAll(".plot .cbbg, .plot .cbfills")]
    .map((bar) => bar.getBoundingClientRect().height)""")
    assert bars
    assert max(bars) < 300
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


OVERLAPS = """() => [...document.querySelectorAll("figure.drawn .plot")].flatMap((plot) => {
  const box = (node) => node.getBoundingClientRect();
  const names = [...plot.querySelectorAll(".textpoint text")]
    .filter((text) => text.style.visibility !== "hidden").map(box);
  const ticks = [...plot.querySelectorAll(".xtick text, .xtitle, .x2title")].map(box);
  const legend = [...plot.querySelectorAll(".legend")].map(box);
  const meets = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 &&
    a.top < b.bottom - 1 && b.top < a.bottom - 1;
  const found = names.flatMap((a, i) => names.slice(i + 1).filter((b) => meets(a, b)));
  return [...found, ...ticks.flatMap((a) => legend.filter((b) => meets(a, b)))]
    .map(() => plot.closest("figure").id);
})"""


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("name", ["report", "compare"])
def test_no_name_or_legend_lies_on_another(opened, pages, name, width):
    page = opened(getattr(pages, name), width).draw_all()
    assert page.evaluate("document.querySelectorAll('.plot .legend').length") > 2
    assert page.evaluate(OVERLAPS) == []
    hidden = "[...document.querySelectorAll('.textpoint text')].map((t) => t.style.visibility)"
    assert "" in page.evaluate(hidden), "some name is shown"


def test_every_number_leads_to_its_definition(opened, pages):
    page = opened(pages.report)
    missing = page.evaluate(
        """Array.from(document.querySelectorAll("a[href^='#']"))
        .filter((a) => !document.getElementById(a.getAttribute("href").slice(1)))
        .map((a) => a.getAttribute("href"))"""
    )
    assert missing == []
    assert page.evaluate("document.querySelectorAll('th a.to').length") > 300


@pytest.mark.parametrize("name", ["report", "compare"])
def test_nothing_is_lost_without_scripts(opened, pages, name):
    page = opened(getattr(pages, name), scripts=False)
    images = page.locator("figure img").all()
    assert len(images) >= (14 if name == "report" else 4)
    for image in images:
        assert image.is_visible()
        assert image.bounding_box()["width"] > 300
    assert not page.locator(".chips").is_visible() if page.locator(".chips").count() else True
    assert page.locator("table.summary").first.locator("th.source").count() == 3


def test_print_has_the_static_figures(opened, pages):
    page = opened(pages.report, theme="dark").draw("uniformity")
    page.emulate_media(media="print")
    assert all(image.is_visible() for image in page.locator("figure img").all())
    assert not page.locator(".plot").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_tables_have_captions_and_scopes(opened, pages):
    page = opened(pages.report)
    assert page.evaluate(
        "[...document.querySelectorAll('table')].every((t) => t.caption && t.caption.textContent)"
    )
    assert page.locator("thead th:not([scope=col]), tbody th:not([scope=row])").count() == 0
    page.page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


PAPER_PIXELS = 186 / 25.4 * 96
"""Between the margins of A4."""


@pytest.mark.parametrize(("which", "most"), [("eight", 15), ("one", 8), ("compare", 8)])
def test_a_print_is_short_and_has_every_column(opened, pages, eight, which, most):
    page = opened(eight.get(which, pages.compare))
    printed = page.page.pdf(prefer_css_page_size=True)
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", printed)) <= most
    page.page.set_viewport_size({"width": round(PAPER_PIXELS), "height": 1000})
    page.emulate_media(media="print")
    widest = "Math.max(...[...document.querySelectorAll('main table, main img, main pre')]"
    assert (
        page.evaluate(f"{widest}.map((e) => e.getBoundingClientRect().right))") <= PAPER_PIXELS + 1
    )
    assert not page.locator("#number-tables").is_visible()
    assert page.locator(".on-paper").is_visible()
    hashes = page.locator("table.inputs code").all()
    assert hashes
    assert all(len(text.inner_text()) == 64 for text in hashes)


def test_the_page_has_every_figure_that_is_drawn(pages):
    for which, document in pages.documents.items():
        page = getattr(pages, which).read_text()
        on_page = re.findall(r'<figure id="figure-([a-z_]+)"', page)
        assert sorted(on_page) == sorted(figure.name for figure in draw(document))
