"""Who is told how a run goes."""

from __future__ import annotations

from typing import Protocol

from cl_analyze.quoting import printable


class Listener(Protocol):
    """Who is told how a run goes; the command line prints it, the default is silence."""

    def note(self, text: str) -> None:
        """Something was chosen or found that the user should know."""
        ...

    def warn(self, text: str) -> None:
        """Something about the inputs may make the numbers mean less than they seem to."""
        ...

    def stage(self, text: str) -> None:
        """A new pass begins."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Pairs done, of pairs in all, in this pass."""
        ...

    def resumed(self, done: int, total: int) -> None:
        """Pairs of this pass that an earlier run has done already."""
        ...


class Silent:
    """A listener that keeps quiet."""

    def note(self, text: str) -> None:
        """Keep quiet."""

    def warn(self, text: str) -> None:
        """Keep quiet."""

    def stage(self, text: str) -> None:
        """Keep quiet."""

    def progress(self, done: int, total: int) -> None:
        """Keep quiet."""

    def resumed(self, done: int, total: int) -> None:
        """Keep quiet."""


class Recorder:
    """Passes everything on to a listener and remembers the warnings.

    Attributes:
        warnings: each text once, in order.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """Pass on."""
        self._listener.note(printable(text))

    def warn(self, text: str) -> None:
        """Pass on what is new, and remember it."""
        text = printable(text)
        if text not in self.warnings:
            self.warnings.append(text)
            self._listener.warn(text)

    def stage(self, text: str) -> None:
        """Pass on."""
        self._listener.stage(text)

    def progress(self, done: int, total: int) -> None:
        """Pass on."""
        self._listener.progress(done, total)

    def resumed(self, done: int, total: int) -> None:
        """Pass on."""
        self._listener.resumed(done, total)
