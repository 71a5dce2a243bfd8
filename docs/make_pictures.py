"""Make the pictures that README.md and the pages of docs/ show.

python docs/make_pictures.py                # all of them, in docs/pictures
python docs/make_pictures.py trade-off      # those with a name that begins so

The README's pictures are photographs of the HTML pages that `cl-analyze` writes about the sample
data, with light and with dark colours.  They need Chromium (Debian's package `chromium`) and
playwright, of the extra `dev`.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = Path(__file__).parent / "pictures"
SAMPLES = Path(__file__).parent.parent / "sample_data"
THEMES = ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_COLOURS = 64
"""Of a picture of a page, in place of 16 million: a third of the size, and it looks the same."""
_PAGE = (1340, 1010)
"""Width and height of the window in which a whole page is seen."""
_FIGURE = (560, 1600)
"""Of the window in which one figure is seen: the least width with two panels side by side."""
_SHOWN = {_PAGE[0]: 830, _FIGURE[0]: 410}
"""Width of a window -> how wide the README shows the picture; the file has twice as many dots."""
_HIDDEN = ".bar, .skip, .anchor, figcaption { display: none !important; }"
"""What the picture of a figure goes without."""


def of_few_colours(image: Image.Image, colours: int = _COLOURS) -> bytes:
    """A picture as a PNG file with a palette."""
    stream = io.BytesIO()
    few = image.convert("RGB").quantize(
        colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
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
    window.add_style_tag(content=_HIDDEN)
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
    from playwright.sync_api import sync_playwright

    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        sys.exit("No Chromium: install Debian's package chromium.")
    files = sorted(SAMPLES.glob("fashion-mnist-*.npz"))
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        report = compare = None
        for name in filter(wanted, ("page", "differences", "trade-off")):
            if name == "page":
                report = report or run("report", files, Path(scratch, "report"))
            else:
                compare = compare or run(
                    "compare --x tau --metrics uniformity tolerance knn_accuracy probe_accuracy",
                    files,
                    Path(scratch, "compare"),
                )
            for theme in THEMES:
                image = (
                    first_screen(browser, report, theme)
                    if name == "page"
                    else one_figure(browser, compare, theme, name.replace("-", "_"))
                )
                (folder / f"{name}-{theme}.png").write_bytes(of_few_colours(image))
        browser.close()


def main() -> None:
    """Make the pictures that are asked for."""
    starts = tuple(sys.argv[1:]) or ("",)
    FOLDER.mkdir(exist_ok=True)
    readme_pictures(lambda name: name.startswith(starts), FOLDER)


if __name__ == "__main__":
    main()
