"""Standard output and standard error: stdout is data, stderr is talk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

from cl_analyze.errors import ConfigError
from cl_analyze.lines import WIDTH, Line, Style, duration, n_columns
from cl_analyze.quoting import printable, without_secrets


class ReaderGoneError(Exception):
    """The reader has closed standard output, as `| head` does."""


_STYLES = {"bold": "bold", "dim": "dim", "good": "green", "bad": "bold red", "warn": "yellow"}
"""Style of a piece of a line -> colours of the terminal."""
_PLAIN = {"±": "+-", "–": "-", "…": "...", "τ": "tau", "√": "sqrt "}
"""What stands for characters that standard output cannot encode."""
_NARROWEST = 40


def width_of_output() -> int:
    """Columns of the terminal that shows standard output; 80 where there is none."""
    return max(shutil.get_terminal_size((WIDTH, 24)).columns, _NARROWEST)


def write_lines(lines: Iterable[Line]) -> None:
    """Write lines to stdout, with control characters in names escaped.

    A terminal shows styles as colours, but not with NO_COLOR or TERM=dumb.

    Raises:
        ReaderGoneError: the reader has closed the pipe.
        ConfigError: stdout cannot be written (a full disk).
    """
    pieces: list[tuple[str, Style]] = []
    for line in lines:
        pieces += [*((printable(text), style) for text, style in line.pieces), ("\n", "")]
    if not _shows_colours():
        write_text("".join(text for text, _ in pieces))
        return
    from rich.console import Console
    from rich.text import Text

    with _writing() as stream:
        # with its own width: of 0 columns rich would print nothing
        console = Console(file=stream, width=width_of_output(), soft_wrap=True, highlight=False)
        shown_pieces = [(_encodable(text), _STYLES.get(style, "")) for text, style in pieces]
        console.print(Text.assemble(*shown_pieces), end="")


def _shows_colours() -> bool:
    is_dumb = os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and not is_dumb


def write_text(text: str) -> None:
    """Write text to stdout as it is; ± is +- if it cannot be encoded.

    Raises:
        ReaderGoneError: the reader has closed the pipe.
        ConfigError: stdout cannot be written (a full disk).
    """
    with _writing() as stream:
        stream.write(_encodable(text))


@contextlib.contextmanager
def _writing() -> Iterator[TextIO]:
    """Standard output; what is written is flushed."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    except OSError as error:
        raise ConfigError(f"cannot write standard output: {error.strerror or error}") from error


def _encodable(text: str) -> str:
    """The text, with other words for characters that standard output cannot encode."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for character, words in _PLAIN.items():
            text = text.replace(character, words)
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


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

    One line says what the job is doing, with which of how many checkpoints, and for how long.  It
    appears after a second: on a terminal it is overwritten, a log gets it every ten seconds.  In
    a `with` block a timer keeps the line up to date while nothing reports progress.

    Args:
        quiet: write no notes, warnings and progress.
        verbose: also write the time of each pass, and details.
        stream: the stream to write to; None: stderr.
    """

    def __init__(
        self, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None
    ) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._stream = stream if stream is not None else sys.stderr
        is_log = os.environ.get("CI") or os.environ.get("TERM") == "dumb"
        self._live = self._stream.isatty() and not is_log
        self._job = _Job(time.monotonic())
        self._last_shown: float | None = None
        self._notes: set[str] = set()
        self._shown = 0
        self._is_writing = False
        self._timer = _Timer(self.beat)

    def say(self, text: str) -> None:
        """Write one line."""
        if not self._quiet:
            self._write(f"{shown(text)}\n", clear=True)

    def command(self, text: str) -> None:
        """Write a line for the calling program; --quiet does not suppress it."""
        self._write(f"{printable(text)}\n", clear=True)

    def note(self, text: str) -> None:
        """Write a note that has not been written yet."""
        if text not in self._notes:
            self._notes.add(text)
            self.say(f"note: {text}")

    def warn(self, text: str) -> None:
        """Write a warning."""
        self.say(f"warning: {text}")

    def details(self, lines: Iterable[str]) -> None:
        """Write lines that only --verbose shows."""
        if self._verbose:
            for line in lines:
                self.say(line)

    def checkpoint(self, done: int, total: int) -> None:
        """Note that `done` of `total` checkpoints are measured; another begins, if one is left."""
        now = time.monotonic()
        self._job.checkpoint(now, done, total)
        if done < total:
            self._show(now)

    def expect(self, seconds: float, n_pairs: float) -> None:
        """Take a forecast for this checkpoint."""
        self._job.expect(seconds, n_pairs)

    def source(self, name: str) -> None:
        """Ignore: the text of a stage names its checkpoint."""

    def stage(self, text: str) -> None:
        """Begin a new pass."""
        now = time.monotonic()
        if self._verbose and self._job.stage:
            self.say(f"{self._job.stage}: {now - self._job.stage_started:.2f} s")
        self._job.begin_stage(now, shown(text))
        self._show(now)

    def progress(self, done: int, total: int) -> None:
        """Show the progress of this pass: `done` of `total` pairs."""
        now = time.monotonic()
        self._job.progress(now, done, total)
        self._show(now)

    def resumed(self, done: int, total: int) -> None:
        """Leave out of rate and time what an earlier run computed: `done` of the `total` pairs."""
        self._job.resumed(time.monotonic(), done, total)

    def close(self) -> None:
        """End the last pass."""
        self.stage("")
        self._clear()

    def beat(self) -> None:
        """Bring the line up to date, unless it is being written."""
        if not self._is_writing:
            self._show(time.monotonic())

    def __enter__(self) -> Talk:
        if not self._quiet:
            self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.stop()
        self._clear()  # so that a message about an error or Ctrl-C begins a line

    def _show(self, now: float) -> None:
        """Write the line of the job, where it is time to."""
        since = now - (self._job.started if self._last_shown is None else self._last_shown)
        wait = 1.0 if self._last_shown is None else 0.1 if self._live else 10.0
        if self._quiet or not self._job.stage or since < wait:
            return
        self._last_shown = now
        if not self._live:
            self._write(f"{self._job.line(now)}\n")
            return
        share = self._job.share(now)
        bar = "" if share is None else f"{self._bar(share)} "
        line = bar + self._job.line(now, self._width() - 1 - n_columns(bar))
        # one write over the old line: a line that was cleared first would flicker
        self._write("\r" + line + " " * max(0, self._shown - n_columns(line)))
        self._shown = n_columns(line)

    def _width(self) -> int:
        """Columns of the terminal that shows the progress; standard output may be a file."""
        with contextlib.suppress(OSError, ValueError):
            return os.get_terminal_size(self._stream.fileno()).columns
        return shutil.get_terminal_size().columns

    def _bar(self, share: float) -> str:
        """A share of the work as a bar of ten characters."""
        full = int(10 * share)
        bar = "\u2588" * full + "\u2591" * (10 - full)
        try:
            bar.encode(self._stream.encoding or "utf-8")
        except UnicodeEncodeError:
            return "#" * full + "-" * (10 - full)
        return bar

    def _clear(self) -> None:
        if self._shown:
            length, self._shown = self._shown, 0
            self._write("\r" + " " * length + "\r")

    def _write(self, text: str, clear: bool = False) -> None:
        """Write text; ignore errors, so that a closed stderr does not stop a run."""
        if clear:
            self._clear()
        self._is_writing = True
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass
        finally:
            self._is_writing = False


class _Timer:
    """Calls a function every second in the main thread; a thread would forbid forks.

    It does nothing where there are no such timers, in another thread, or where the program has a
    use of its own for the signal.  A fork has no timer.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._runs = False

    def start(self) -> None:
        """Begin."""
        is_main = threading.current_thread() is threading.main_thread()
        if not hasattr(signal, "setitimer") or not is_main:
            return
        if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
            return
        self._runs = True
        signal.signal(signal.SIGALRM, lambda number, frame: self._function())
        signal.siginterrupt(signal.SIGALRM, False)  # reading a file goes on
        signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)

    def stop(self) -> None:
        """End; the signal is free again."""
        if self._runs:
            self._runs = False
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _clipped(text: str, width: int) -> str:
    """A text that takes at most so many columns, with its end cut off.

    >>> _clipped("a long name", 8), _clipped("short", 8)
    ('a lon...', 'short')
    """
    if n_columns(text) <= width:
        return text
    while text and n_columns(text) > width - 3:
        text = text[:-1]
    return f"{text}..."


_ROOM_FOR_STAGE = 30
"""Where the stage has fewer columns, its rate gives way."""


def _amount(number: float) -> str:
    """A number of pairs with a unit.

    >>> _amount(608_000.0), _amount(2.5e9), _amount(950.0)
    ('0.6 M', '2.5 G', '950')
    """
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if number >= size / 10:
            return f"{number / size:.1f} {unit}"
    return f"{number:.3g}" if number < 1000 else f"{number / 1e3:.0f} k"


class _Job:
    """How far a job is, and how long it will take.

    Attributes:
        started, checkpoint_started, stage_started: when they began, in seconds.
        done, total: checkpoints measured, and in all.
        expected, expected_a_pair: seconds that this checkpoint and each of its pairs take by a
            forecast; 0: unknown.
        kept, kept_before: seconds by forecasts of what an earlier run computed, of this checkpoint
            and of those before.
        stage: what is done now.
        pairs: pairs of rows of this pass that are done, and all; (0, 0) where it has none.
        counted_from: a time in seconds and the pairs done by then: the rate is since then.
    """

    def __init__(self, now: float) -> None:
        self.kept = 0.0
        self.checkpoint(now, 0, 1)
        self.begin_stage(now, "")

    def checkpoint(self, now: float, done: int, total: int) -> None:
        """Begin a checkpoint."""
        if done == 0:
            self.started, self.kept_before = now, 0.0
        else:
            self.kept_before += self.kept
        self.done, self.total, self.checkpoint_started = done, total, now
        self.expected = self.expected_a_pair = self.kept = 0.0

    def expect(self, seconds: float, n_pairs: float) -> None:
        """Take a forecast for this checkpoint, and for the pairs of all its passes."""
        self.expected, self.expected_a_pair = seconds, seconds / n_pairs

    def begin_stage(self, now: float, text: str) -> None:
        """Begin a stage, of one pass or several."""
        self.stage, self.stage_started = text, now
        self.pairs, self.counted_from = (0, 0), (now, 0)

    def progress(self, now: float, done: int, total: int) -> None:
        """Take the pairs that are done; fewer than before: they are of the stage's next pass."""
        if done < self.pairs[0]:
            self.counted_from = now, done
        self.pairs = done, total

    def resumed(self, now: float, done: int, total: int) -> None:
        """Begin a pass of which an earlier run has computed `done` of the `total` pairs."""
        self.pairs, self.counted_from = (done, total), (now, done)
        self.kept += done * self.expected_a_pair

    def share(self, now: float) -> float | None:
        """How much of the job's time has passed; None where only the pass is known."""
        if self.total == 1 and not self.expected:
            return None
        passed = now - self.started + self.kept_before + self.kept
        share = passed / (passed + self._seconds_left(now)) if self.done or self.expected else 0.0
        return min(1.0, max(share, self.done / self.total))

    def line(self, now: float, width: int | None = None) -> str:
        """The checkpoint, the stage, its rate, and the time that is left or has passed.

        Args:
            now: seconds.
            width: columns; where they do not suffice, the stage is cut off, never the time.
        """
        head = f"{self.done + 1} of {self.total}  " if self.done < self.total > 1 else ""
        rate, left = self._pairs_a_second(now), self._seconds_left(now)
        speed = f"  {100 * self.pairs[0] / self.pairs[1]:.0f}%" if self.pairs[1] else ""
        if rate:
            speed += f"  {_amount(rate)} pairs/s"
        passed, tail = now - self.stage_started, ""
        if left >= 0.5:
            tail = f"  {duration(left)} left"
        elif passed >= 1.0:
            tail = f"  {duration(passed)} so far"
        if width is None:
            return f"{head}{self.stage}{speed}{tail}"
        room = width - n_columns(head + speed + tail)
        if room < min(n_columns(self.stage), _ROOM_FOR_STAGE):
            room, speed = room + n_columns(speed), ""
        return _clipped(f"{head}{_clipped(self.stage, max(room, 3))}{speed}{tail}", width)

    def _pairs_a_second(self, now: float) -> float:
        """Pairs of this pass for each second, without those that an earlier run computed."""
        since, before = self.counted_from
        return (self.pairs[0] - before) / max(now - since, 1e-9)

    def _seconds_left(self, now: float) -> float:
        """Seconds that the job still takes, by earlier checkpoints, a forecast, or this pass."""
        rate = self._pairs_a_second(now)
        of_stage = (self.pairs[1] - self.pairs[0]) / rate if rate > 0.0 else 0.0
        if self.done == self.total:
            return of_stage
        each = self.expected
        if self.done:
            passed = self.checkpoint_started - self.started + self.kept_before
            each = passed / self.done
        here = max(each - self.kept - (now - self.checkpoint_started), of_stage, 0.0)
        return here + each * max(self.total - self.done - 1, 0)
