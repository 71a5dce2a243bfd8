"""The figures of a report, drawn one by one when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from cl_analyze.errors import ConfigError
from cl_analyze.figures.catalogue import figures_of
from cl_analyze.figures.description import Figure as Description
from cl_analyze.figures.description import Panel
from cl_analyze.quoting import nearest, printable, quoted, some
from cl_analyze.results.document import Document

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Function = Callable[[Document], Description | None]


class Figures(Mapping[str, "Figure"]):
    """The figures of a report by name, in the order of the report; each is drawn when looked up.

    >>> import numpy as np
    >>> from cl_analyze import analyze
    >>> figures = analyze(np.eye(5), metrics="uniformity").figures
    >>> list(figures), type(figures["uniformity"]).__mro__[1].__name__
    (['uniformity'], 'Figure')
    """

    def __init__(self, document: Document) -> None:
        self._document = document

    @cached_property
    def _functions(self) -> dict[str, tuple[Description, Function]]:
        """Each figure with the function that describes it."""
        described = [(each(self._document), each) for each in figures_of(self._document).values()]
        return {
            figure.name: (figure, function)
            for figure, function in described
            if figure is not None and figure.panels
        }

    @cached_property
    def descriptions(self) -> dict[str, Description]:
        """The figures before they are drawn: title, caption, panels with their marks."""
        return {name: figure for name, (figure, _) in self._functions.items()}

    def __getitem__(self, name: str) -> Figure:
        if name not in self.descriptions:
            raise KeyError(self._unknown(name))
        from cl_analyze.figures.matplotlib_renderer import as_matplotlib

        figure: Figure = as_matplotlib(self.descriptions[name])
        return figure

    def __iter__(self) -> Iterator[str]:
        return iter(self.descriptions)

    def __len__(self) -> int:
        return len(self.descriptions)

    def __contains__(self, name: object) -> bool:
        return name in self.descriptions  # the one of Mapping would draw the figure

    def __repr__(self) -> str:
        return "\n".join(
            f"{name}: {printable(figure.title)}" for name, figure in self.descriptions.items()
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><code>{escape(name)}</code></td><td>{escape(printable(figure.title))}</td>"
            "</tr>"
            for name, figure in self.descriptions.items()
        )
        return f"<table><tr><th>name</th><th>title</th></tr>{rows}</table>"

    def plot(
        self, name: str, source: str | None, ax: Axes | None, panel: str | int | None
    ) -> Figure:
        """See `Report.plot`."""
        from cl_analyze.figures.matplotlib_renderer import as_matplotlib, draw_into

        described = self._described(name, source)
        if panel is not None:
            described = replace(described, panels=(_panel(described, panel),), columns=1)
        if ax is None:
            figure: Figure = as_matplotlib(described)
            return figure
        if not (hasattr(ax, "plot") and hasattr(ax, "figure")):
            raise ConfigError(f"ax must be Axes of Matplotlib, found {type(ax).__name__}")
        if len(described.panels) > 1:
            raise ConfigError(
                f"{name} has {len(described.panels)} panels, which do not fit into one Axes: leave "
                f"ax out, or choose one of them: panel={_panels(described)}"
            )
        draw_into(ax, described.panels[0], described.title)
        drawn: Any = ax.figure
        return drawn.figure  # type: ignore[no-any-return]  # of a part, the whole figure

    def _described(self, name: str, source: str | None) -> Description:
        if source is None:
            if name not in self.descriptions:
                raise ConfigError(self._unknown(name))
            return self.descriptions[name]
        sources = self._document.sources
        if source not in sources:
            raise ConfigError(
                f"no source {quoted(source)}{nearest(str(source), sources)}; there are "
                f"{some(map(quoted, sources), 20)}"
            )
        if name not in self.descriptions:
            raise ConfigError(self._unknown(name))
        _, function = self._functions[name]
        described = function(self._document.of_sources({source, *self._beside(source)}))
        if described is None or not described.panels:
            raise ConfigError(
                f"{name} shows several checkpoints together, or nothing of {quoted(source)}: leave "
                "source out"
            )
        return described

    def _beside(self, source: str) -> list[str]:
        """In a comparison, the reference, and the checkpoint that the source is held against."""
        rows = self._document.rows("checkpoints")
        against = [row.get("against") for row in rows if row["source"] == source]
        references = [row["source"] for row in rows if row["reference"]]
        return [str(name) for name in (*references, *against) if name is not None]

    def _unknown(self, name: object) -> str:
        known = list(self.descriptions)
        if name in figures_of(self._document):
            return f"figure {name}: the report has no numbers for it; it has {', '.join(known)}"
        return f"no figure {quoted(name)}{nearest(str(name), known)}; there are {', '.join(known)}"


def _panels(figure: Description) -> str:
    """The panels as a caller may name them: titles where they differ, else numbers from 0."""
    titles = [panel.title for panel in figure.panels]
    if all(titles) and len(set(titles)) == len(titles):
        return some(map(quoted, titles), 20)
    return f"0 to {len(titles) - 1}"


def _panel(figure: Description, chosen: str | int) -> Panel:
    """A panel by its title, or by its number from 0.

    Raises:
        ConfigError: there is none of that title or number, or several.
    """
    if isinstance(chosen, int) and 0 <= chosen < len(figure.panels):
        return figure.panels[chosen]
    found = [panel for panel in figure.panels if panel.title == chosen]
    if len(found) == 1:
        return found[0]
    raise ConfigError(
        f"{figure.name} has no panel {quoted(chosen)}"
        f"{nearest(str(chosen), [panel.title for panel in figure.panels])}; there are "
        f"{_panels(figure)}"
        if not found
        else f"{figure.name} has {len(found)} panels {quoted(chosen)}: choose by number, 0 to "
        f"{len(figure.panels) - 1}"
    )
