"""Standard output and standard error: stdout is data, stderr is talk."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterable
from typing import TextIO

from cl_analyze.errors import ConfigError
from cl_analyze.quoting import printable, without_secrets


class ReaderGoneError(Exception):
    """The reader has closed standard output, as `| head` does."""


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout, with control characters in names escaped; see `write_text`."""
    write_text("\n".join(map(printable, lines)) + "\n")


def write_text(text: str) -> None:
    """Write text to stdout; headings are bold on a terminal, and ± is +- if it cannot be encoded.

    Raises:
        ReaderGoneError: the reader has closed the pipe.
        ConfigError: stdout cannot be written (a full disk).
    """
    stream = sys.stdout
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("±", "+-").encode(encoding, "backslashreplace").decode(encoding)
    try:
        if stream.isatty() and "NO_COLOR" not in os.environ:
            from rich.console import Console
            from rich.text import Text

            console = Console(soft_wrap=True, highlight=False)
            for line in text.rstrip("\n").split("\n"):
                console.print(Text(line, style="" if line.startswith(" ") else "bold"))
        else:
            stream.write(text)
        stream.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    except OSError as error:
        raise ConfigError(f"cannot write standard output: {error.strerror or error}") from error


_LONGEST = 4_000
"""The longest message, in characters; messages list names, and files can have many names."""


def shown(message: str) -> str:
    """A message on one line, shortened, without control characters and passwords.

    >>> shown("a" * 5000)[1990:2010]
    'aaaaaaaaaa [...] aaa'
    """
    text = printable(without_secrets(message))
    if len(text) > _LONGEST:
        return f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"
    return text


class Talk:
    """Notes, warnings and progress on stderr.

    Progress is shown for passes of more than one second: a terminal shows one line that is
    overwritten, a log gets one line every ten seconds.

    Args:
        quiet: write no notes, warnings and progress.
        verbose: also write the time of each pass.
        stream: the stream to write to; None: stderr.
    """

    def __init__(
        self, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None
    ) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty() and not os.environ.get("CI")
        self._stage, self._said, self._before = "", False, 0
        self._started = self._last = time.monotonic()
        self._shown = 0

    def say(self, text: str) -> None:
        """Write one line."""
        if not self._quiet:
            self._write(f"{shown(text)}\n", clear=True)

    def command(self, text: str) -> None:
        """Write a line for the calling program; --quiet does not suppress it."""
        self._write(f"{printable(text)}\n", clear=True)

    def note(self, text: str) -> None:
        """Write a note."""
        self.say(f"note: {text}")

    def warn(self, text: str) -> None:
        """Write a warning."""
        self.say(f"warning: {text}")

    def stage(self, text: str) -> None:
        """Begin a new pass."""
        now = time.monotonic()
        if self._verbose and self._stage:
            self.say(f"{self._stage}: {now - self._started:.2f} s")
        self._clear()
        self._stage, self._said, self._before = shown(text), False, 0
        self._started = self._last = now

    def progress(self, done: int, total: int) -> None:
        """Show the progress of this pass: `done` of `total` pairs."""
        now = time.monotonic()
        elapsed = now - self._started
        wait = 0.2 if self._live else 10.0 if self._said else 1.0
        if self._quiet or elapsed < 1.0 or now - self._last < wait:
            return
        self._last, self._said = now, True
        rate = (done - self._before) / elapsed  # without the pairs that an earlier run computed
        left = (total - done) / rate if rate else math.inf
        text = f"{self._stage}  {100 * done / total:.0f}%  {rate:.3g} pairs/s  {left:.0f} s left"
        self._write(text if self._live else f"{text}\n", clear=True)
        self._shown = len(text) if self._live else 0

    def resumed(self, done: int, total: int) -> None:
        """Note that an earlier run computed `done` of the `total` pairs of this pass."""
        self._before = done
        self.note(f"{self._stage}: goes on from {100 * done / total:.0f}%, which --resume has kept")

    def close(self) -> None:
        """End the last pass."""
        self.stage("")

    def _clear(self) -> None:
        if self._shown:
            shown, self._shown = self._shown, 0
            self._write("\r" + " " * shown + "\r")

    def _write(self, text: str, clear: bool = False) -> None:
        """Write text; ignore errors, so that a closed stderr does not stop a run."""
        if clear:
            self._clear()
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
