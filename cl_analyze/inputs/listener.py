"""Receivers of notes, warnings and progress of a run."""

from __future__ import annotations

from typing import Protocol

from cl_analyze.quoting import printable


class Listener(Protocol):
    """Receives notes, warnings and progress.  The command line prints them; `Silent` does not."""

    def note(self, text: str) -> None:
        """A choice or a finding that the user should know."""
        ...

    def warn(self, text: str) -> None:
        """A property of the inputs that can make the metrics misleading."""
        ...

    def checkpoint(self, done: int, total: int) -> None:
        """`done` of `total` checkpoints are measured; the next one begins, unless all are."""
        ...

    def expect(self, seconds: float, n_pairs: float) -> None:
        """A forecast: this checkpoint takes about so many seconds, for the pairs of all passes."""
        ...

    def source(self, name: str) -> None:
        """The stage that begins next is about this checkpoint; empty: about all of them."""
        ...

    def stage(self, text: str) -> None:
        """A new pass begins; the text begins with the checkpoint that it is about."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Progress of this pass: `done` of `total` pairs."""
        ...

    def resumed(self, done: int, total: int) -> None:
        """An earlier run has already computed `done` of the `total` pairs of this pass."""
        ...


class Silent:
    """A listener that ignores everything."""

    def note(self, text: str) -> None:
        """Ignore."""

    def warn(self, text: str) -> None:
        """Ignore."""

    def checkpoint(self, done: int, total: int) -> None:
        """Ignore."""

    def expect(self, seconds: float, n_pairs: float) -> None:
        """Ignore."""

    def source(self, name: str) -> None:
        """Ignore."""

    def stage(self, text: str) -> None:
        """Ignore."""

    def progress(self, done: int, total: int) -> None:
        """Ignore."""

    def resumed(self, done: int, total: int) -> None:
        """Ignore."""


class Recorder:
    """Forwards everything to a listener and records the warnings.

    Attributes:
        warnings: the different texts, in the order of their first appearance.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._stage = ""
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """Forward to the listener."""
        self._listener.note(printable(text))

    def warn(self, text: str) -> None:
        """Forward and record a warning that has not been recorded yet."""
        text = printable(text)
        if text not in self.warnings:
            self.warnings.append(text)
            self._listener.warn(text)

    def checkpoint(self, done: int, total: int) -> None:
        """Forward to the listener."""
        self._listener.checkpoint(done, total)

    def expect(self, seconds: float, n_pairs: float) -> None:
        """Forward to the listener."""
        self._listener.expect(seconds, n_pairs)

    def source(self, name: str) -> None:
        """Forward to the listener."""
        self._listener.source(name)

    def stage(self, text: str, source: str = "") -> None:
        """Forward to the listener what is done, and with which checkpoint."""
        self.source(source)
        self._stage = f"{source}: {text}" if source else text
        self._listener.stage(self._stage)

    def progress(self, done: int, total: int) -> None:
        """Forward to the listener."""
        self._listener.progress(done, total)

    def resumed(self, done: int, total: int) -> None:
        """Note that a pass goes on, and forward to the listener."""
        text = f"{self._stage}: goes on from {100 * done / total:.0f}%, which --resume has kept"
        self._listener.note(printable(text))
        self._listener.resumed(done, total)
