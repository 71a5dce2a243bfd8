"""Parts of the documentation's site that Sphinx does not have, as an extension of it.

- Docstrings are plain text with `code`; what reStructuredText would read as markup is escaped.
- Descriptions that are declared with the options are added to the classes that declare them.
- The functions of the losses refer to their modules instead of repeating their texts.
- A picture that has a dark version (`page-light.png`, `page-dark.png`) follows the theme.
- A sample report and a sample comparison are made while the pages are read.
- The site's own address leads to its first page, which is in the folder docs/.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "docs/*.md",
    "docs/api/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "sample_data/README.md",
)
"""Patterns of the site's pages, below the repository."""
_SWEEP = tuple(f"fashion-mnist-tau-{tau}.npz" for tau in ("0.07", "0.2", "0.5", "1.0"))
SAMPLES = {
    "report": (*_SWEEP[1::2], "--projection", "pca"),
    "compare": (*_SWEEP, "--metrics", "uniformity", "tolerance", "penalty", "knn_accuracy"),
}
"""Commands whose pages the site has, with the files of `sample_data/` that they measure."""
_TO_THE_FIRST_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>cl_analyze</title>
<meta http-equiv="refresh" content="0; url=docs/index.html">
<a href="docs/index.html">cl_analyze</a>
</html>
"""
_LIGHT = re.compile(r"^!\[(.*)\]\((.*)-light\.png\)$", re.MULTILINE)
_MARKUP = re.compile(r"(`[^`]*`)|([*|\\]|(?<=\w)_(?!\w))")


def escaped(line: str) -> str:
    r"""A docstring's line whose stars, bars and ends in `_` stand for themselves.

    >>> escaped("log mean |x_i - x_j|^2 of `x_ *`, labels_ and **options")
    'log mean \\|x_i - x_j\\|^2 of `x_ *`, labels\\_ and \\*\\*options'
    """
    if line.lstrip().startswith((">>>", "...")):
        return line
    return _MARKUP.sub(lambda match: match[1] or f"\\{match[2]}", line)


def without_markup(lines: list[str]) -> list[str]:
    """The lines of a docstring, escaped but for its examples and what they print."""
    is_example, done = False, []
    for line in lines:
        is_example = bool(line.strip()) and (is_example or line.lstrip().startswith(">>>"))
        done.append(line if is_example else escaped(line))
    return done


def declared_lines(item: Any) -> list[str]:
    """An `Args:` section with the options that a dataclass declares; empty for other objects."""
    from cl_analyze.options.declaration import options_of

    if not (inspect.isclass(item) and dataclasses.is_dataclass(item)):
        return []
    texts = {name: option.about or option.help for name, option in options_of(item).items()}
    lines = [f"    {name}: {text.rstrip('.')}." for name, text in texts.items()]
    return ["Args:", *lines, ""] if lines else []


def module_of(function: Any) -> str | None:
    """The name of the loss whose function this is, where the function is derived from it."""
    from cl_analyze import losses

    if not inspect.isfunction(function) or function.__qualname__ == "contrastive":
        return None
    wanted = function.__qualname__.replace("_", "")
    for name in losses.__all__:
        item = getattr(losses, name)
        is_loss = inspect.isclass(item) and issubclass(item, losses.PairLoss)
        if is_loss and name.lower() == wanted and item.__module__ == function.__module__:
            return str(name)
    return None


def on_docstring(
    app: Sphinx, kind: str, name: str, item: Any, options: Any, lines: list[str]
) -> None:
    """Change a docstring before napoleon reads its sections."""
    loss = module_of(item)
    if loss is not None:
        link = f":class:`{loss} <cl_analyze.losses.{loss}>`"
        lines[:] = [f"The function of {link}, with the same parameters.", ""]
        return
    text = without_markup(lines)
    at = next((i for i, line in enumerate(text) if line.startswith(">>>")), len(text))
    if isinstance(item, type):
        text[at:at] = without_markup(declared_lines(item))
    lines[:] = text


def with_dark_pictures(text: str) -> str:
    """A page whose pictures NAME-light.png, alone in a line, are NAME-dark.png in the dark theme.

    >>> print(with_dark_pictures("![A page](pictures/page-light.png)"))
    ![A page](pictures/page-light.png){.only-light}
    ![A page](pictures/page-dark.png){.only-dark}
    """
    both = r"![\1](\2-light.png){.only-light}\n![\1](\2-dark.png){.only-dark}"
    return _LIGHT.sub(both, text)


def on_source(app: Sphinx, name: str, source: list[str]) -> None:
    """Change a page before it is read."""
    source[0] = with_dark_pictures(source[0])


def start_samples(app: Sphinx) -> None:
    """Start the sample commands beside the reading of the pages."""
    app.samples = {}  # type: ignore[attr-defined]
    if app.builder.name != "html":
        return
    for command, arguments in SAMPLES.items():
        folder = Path(app.outdir) / "sample" / command
        app.samples[command] = subprocess.Popen(  # type: ignore[attr-defined]
            [sys.executable, "-m", "cl_analyze", command, *arguments, "--out", str(folder)],
            cwd=ROOT / "sample_data",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


def finish(app: Sphinx, error: Exception | None) -> None:
    """Wait for the sample commands, the build fails where one of them fails; write index.html."""
    for command, process in app.samples.items():  # type: ignore[attr-defined]
        _, told = process.communicate()
        if error is None and process.returncode:
            raise RuntimeError(f"cl-analyze {command} on the sample data failed: {told}")
    if error is None and app.builder.name == "html":
        (Path(app.outdir) / "index.html").write_text(_TO_THE_FIRST_PAGE, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", on_docstring, priority=100)
    app.connect("source-read", on_source)
    app.connect("builder-inited", start_samples)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
