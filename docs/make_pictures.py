"""Make the pictures that README.md and the pages of docs/ show.

python docs/make_pictures.py                # all of them, in docs/pictures
python docs/make_pictures.py trade-off      # those with a name that begins so

The README's pictures are photographs of the HTML pages that `cl-analyze` writes about the sample
data, with light and with dark colours.  They need Chromium (Debian's package `chromium`) and
playwright, of the extra `dev`.  The pictures of reading-the-report.md are the tool's own PNG files,
of sample encoders and of the sick ones in sick_encoders.py.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sick_encoders as sick
from PIL import Image

import cl_analyze as cla
from cl_analyze.figures.catalogue import FIGURES
from cl_analyze.figures.matplotlib_renderer import PAGE, render
from cl_analyze.results.document import Document

FOLDER = Path(__file__).parent / "pictures"
SAMPLES = Path(__file__).parent.parent / "sample_data"
THEMES = ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_COLOURS = 128
"""Of a picture, in place of 16 million: a third of the size, and it looks the same."""
_PAGE = (1340, 1120)
"""Width and height of the window in which a whole page is seen."""
_FIGURE = (560, 1600)
"""Of the window in which one figure is seen: the least width with two panels side by side."""
_SHOWN = {_PAGE[0]: 830, _FIGURE[0]: 410}
"""Width of a window -> how wide the README shows the picture; the file has twice as many dots."""
_HIDDEN = (
    ".bar, .skip, .anchor, figcaption, figure:not(#figure-{name}) {{ display: none !important; }}"
)
"""What the picture of a figure goes without; other figures would move it while they are drawn."""


_COMPARE = "compare --x tau --metrics uniformity tolerance knn_accuracy probe_accuracy"
COMMANDS = {"page": "report", "differences": _COMPARE, "trade-off": _COMPARE}
"""Picture of the README -> what writes its page about the sample data."""


def of_few_colours(image: Image.Image, colours: int = _COLOURS) -> bytes:
    """A picture as a PNG file with a palette."""
    stream = io.BytesIO()
    few = image.convert("RGB").quantize(
        colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    few.save(stream, "png", optimize=True)
    return stream.getvalue()


def run(command: str, files: list[Path], folder: Path) -> Path:
    """Run `cl-analyze` and return the page that it writes."""
    name, *options = command.split()
    subprocess.run(
        [
            *(sys.executable, "-m", "cl_analyze", name, *map(str, files), *options),
            *("--quiet", "--out", str(folder), "--defaults", "none"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1767225600"},  # the page says when it was made
    )
    return folder / f"{name}.html"


def opened(browser: Any, page: Path, size: tuple[int, int], theme: str) -> Any:
    """A page in a window of a browser."""
    window = browser.new_page(
        viewport=dict(zip(("width", "height"), size, strict=True)),
        color_scheme=theme,
        device_scale_factor=2 * _SHOWN[size[0]] / size[0],
        reduced_motion="reduce",
    )
    window.goto(page.as_uri())
    return window


def first_screen(browser: Any, page: Path, theme: str) -> Image.Image:
    """The upper end of a page."""
    window = opened(browser, page, _PAGE, theme)
    image = Image.open(io.BytesIO(window.screenshot()))
    window.close()
    return image


def one_figure(browser: Any, page: Path, theme: str, name: str) -> Image.Image:
    """A figure of a page with its title and its finding."""
    window = opened(browser, page, _FIGURE, theme)
    window.add_style_tag(content=_HIDDEN.format(name=name))
    window.evaluate(f"clAnalyze.draw('{name}')")
    figure = window.locator(f"#figure-{name}")
    figure.locator(".main-svg").first.wait_for()
    figure.evaluate("figure => figure.scrollIntoView({ block: 'center', behavior: 'instant' })")
    window.wait_for_function("document.fonts.status === 'loaded'")
    box = figure.bounding_box()
    edge = 12
    clip = {
        "x": max(box["x"] - edge, 0),
        "y": max(box["y"] - edge, 0),
        "width": min(box["width"] + 2 * edge, _FIGURE[0]),
        "height": box["height"] + 2 * edge,
    }
    image = Image.open(io.BytesIO(window.screenshot(clip=clip)))
    window.close()
    return image


def readme_pictures(wanted: Callable[[str], bool], folder: Path) -> None:
    """The first screen of a report, and two figures of a comparison."""
    names = [name for name in COMMANDS if wanted(name)]
    if not names:
        return
    from playwright.sync_api import sync_playwright

    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        sys.exit("No Chromium: install Debian's package chromium.")
    files = sorted(SAMPLES.glob("fashion-mnist-*.npz"))
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        pages = {
            command: run(command, files, Path(scratch, command.split()[0]))
            for command in dict.fromkeys(COMMANDS[name] for name in names)
        }
        for name in names:
            page = pages[COMMANDS[name]]
            for theme in THEMES:
                image = (
                    first_screen(browser, page, theme)
                    if name == "page"
                    else one_figure(browser, page, theme, name.replace("-", "_"))
                )
                (folder / f"{name}-{theme}.png").write_bytes(of_few_colours(image))
        browser.close()


# ---- how to read the report: healthy beside sick


@dataclass(frozen=True)
class Reading:
    """Checkpoints that figures show side by side.

    Attributes:
        figures: names, in the catalogue.
        checkpoints: name -> arrays of the file.
        options: of `analyze`, or of `compare` where there is `x`.
        is_apart: whether each checkpoint has a picture of its own, and these are joined.
        train: rows that the probe learns from.
    """

    figures: tuple[str, ...]
    checkpoints: Mapping[str, sick.Arrays]
    options: Mapping[str, Any] = field(default_factory=dict)
    is_apart: bool = False
    train: sick.Arrays | None = None


def readings() -> list[Reading]:
    """All of them."""
    healthy = sick.sample("0.2")
    run = {f"step-{100 * at}": sick.noisy(healthy, size) for at, size in enumerate(_NOISE, 1)}
    run["step-600"] = sick.few_directions(healthy)
    spaces = {
        "healthy": healthy,
        "few-directions": sick.few_directions(healthy),
        "cone": sick.cone(healthy),
        "point": sick.point(healthy),
    }
    noise = {"healthy": healthy, "cone": sick.cone(healthy), "noisy": sick.noisy(healthy, 2.0)}
    partners = {
        "healthy": healthy,
        "views-apart": sick.views_apart(healthy),
        "mixed-up": sick.partners_mixed_up(healthy),
    }
    classes = {"healthy": healthy, "merged": sick.two_classes_merged(healthy)}
    neighbours = {"healthy": healthy, "hubs": sick.hubs(healthy), "copies": sick.copies(healthy)}
    unseen = {"healthy": healthy, "noisy": sick.noisy(healthy)}
    alone = {"healthy": healthy}
    taus = {f"tau-{tau}": sick.sample(tau) for tau in ("0.07", "0.2", "1.0")}
    return [
        Reading(("trade_off", "alignment_uniformity", "uniformity", "spectrum"), spaces),
        Reading(("projection", "nearest_negatives"), spaces),
        Reading(_OF_A_RUN, run, {"x": "step"}),
        Reading(("knn_accuracy", "similarity_histogram", "class_histogram"), noise),
        Reading(("recall_curve", "separation", "thresholds"), partners),
        Reading(("class_accuracy", "confused_pairs"), classes),
        Reading(("confusion", "class_similarity"), classes, is_apart=True),
        Reading(("hubness",), neighbours),
        Reading(("reliability",), unseen, train=sick.sample("0.2", first=1)),
        Reading(_OF_TAUS, taus),
        Reading(("penalty_curve", "penalty_curve_hard"), alone, _PENALTY),
        Reading(("loss_gradient", "loss_by_batch"), alone, _LOSSES),
    ]


_NOISE = (4.0, 2.0, 1.0, 0.5, 0.0)
"""Noise of the steps of the run that reading-the-report.md shows, before it collapses."""
_OF_A_RUN = ("along_the_run", "metric_correlation", "differences", "movement", "compare_matrix")
_OF_TAUS = ("against_temperature", "penalty_summary", "penalty_entropy", "loss_by_temperature")
_TAUS = (0.07, 0.2, 1.0)
_PENALTY = {"metrics": ["penalty"], "taus": _TAUS, "penalty_alpha": 0.1}
_LOSSES = {"metrics": ["losses"], "taus": _TAUS, "batch_sizes": [8, 32, 128, 500]}
_DOTS = 670
"""Width of a picture of one figure, in dots: a page shows it as wide as it is."""


def documents(reading: Reading, folder: Path) -> list[Document]:
    """What the tool says of the checkpoints, together or each alone."""
    paths = [
        str(sick.save(arrays, folder / f"{name}.npz"))
        for name, arrays in reading.checkpoints.items()
    ]
    if "x" in reading.options:
        return [cla.compare(paths, against=paths[-2], **reading.options).document]
    options = {"metrics": "all", **reading.options}
    if reading.train is not None:
        train = str(sick.save(reading.train, folder / "train.npz"))
        options |= {"train": [train] * len(paths)}
    if reading.is_apart:
        return [cla.analyze(path, **options).document for path in paths]
    return [cla.analyze(paths, **options).document]


def figure_picture(name: str, found: list[Document]) -> Image.Image:
    """A figure of each document, side by side."""
    figures = [figure for document in found if (figure := FIGURES[name](document)) is not None]
    if len(figures) < len(found):
        sys.exit(f"{name}: nothing to draw")
    files = [Image.open(io.BytesIO(files[PAGE])) for files in render(figures, [PAGE])]
    return side_by_side([file.convert("RGB") for file in files])


def side_by_side(images: list[Image.Image]) -> Image.Image:
    """Images in a row, on white."""
    whole = Image.new("RGB", (sum(i.width for i in images), max(i.height for i in images)), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width
    return whole


def reading_pictures(wanted: Callable[[str], bool], folder: Path) -> None:
    """A picture for each figure of the report."""
    for reading in readings():
        names = [name for name in reading.figures if wanted(name)]
        if not names:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            found = documents(reading, Path(scratch))
        for name in names:
            image = figure_picture(name, found)
            width = _DOTS if len(found) == 1 else round(1.5 * _DOTS)
            size = (width, round(image.height * width / image.width))
            image = image.resize(size, Image.Resampling.LANCZOS)
            (folder / f"{name}.png").write_bytes(of_few_colours(image))


def main() -> None:
    """Make the pictures that are asked for."""
    starts = tuple(sys.argv[1:]) or ("",)
    FOLDER.mkdir(exist_ok=True)
    readme_pictures(lambda name: name.startswith(starts), FOLDER)
    reading_pictures(lambda name: name.startswith(starts), FOLDER)


if __name__ == "__main__":
    main()
