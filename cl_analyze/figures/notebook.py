"""A Matplotlib figure that a notebook shows, whether pyplot is loaded there or not.

The module loads Matplotlib: import it inside the function that draws.
"""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure that pyplot knows nothing of: it needs no closing, and no window opens."""

    def _repr_png_(self) -> bytes:
        """The picture, for IPython, which knows Matplotlib's own figures only beside pyplot."""
        stream = io.BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()
