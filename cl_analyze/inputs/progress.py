"""Progress of a run for Python programs: bars, or a function that is called."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cl_analyze.errors import ConfigError
from cl_analyze.inputs.listener import Listener, Silent
from cl_analyze.quoting import printable, without_secrets

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


@dataclass(frozen=True)
class Progress:
    """What a run does now, or a note on it.

    Attributes:
        stage: what is done, as "pairs 1 of 3"; empty before the first stage.
        done, total: pairs of rows of this stage, of which `done` are done; 0, 0 where it has none.
        source: the checkpoint; empty where the stage is about all of them.
        checkpoints_done, checkpoints: how many are measured, of how many.
        note: a choice or a finding that the user should know; empty: this is progress.
        is_warning: whether the note says that the metrics can mislead.

    >>> import numpy as np
    >>> from cl_analyze import uniformity
    >>> stages = set()
    >>> record = uniformity(np.eye(5), progress=lambda event: stages.add(event.stage))
    >>> "checking rows" in stages
    True
    """

    stage: str = ""
    done: int = 0
    total: int = 0
    source: str = ""
    checkpoints_done: int = 0
    checkpoints: int = 1
    note: str = ""
    is_warning: bool = False


Asked = bool | Callable[[Progress], object]
"""`progress` of the Python functions: False, True for bars, or a function."""


@contextlib.contextmanager
def listening(asked: Asked) -> Iterator[Listener]:
    """The listener of a run; bars are closed at its end.

    Raises:
        ConfigError: `asked` is neither a truth value nor a function.
    """
    if asked is False or asked is None:
        yield Silent()
    elif asked is True:
        with _bars() as bars:
            listener = _Bars(bars)
            yield listener
            listener.close()
    elif callable(asked):
        yield _Calls(asked)
    else:
        raise ConfigError(
            f"progress must be True, False or a function of one argument, found {asked!r}"
        )


class _Calls(Silent):
    """Calls a function with every event."""

    def __init__(self, function: Callable[[Progress], object]) -> None:
        self._function = function
        self._now = Progress()

    def _tell(self, event: Progress) -> None:
        self._function(event)

    def note(self, text: str) -> None:
        """Tell a note."""
        self._tell(replace(self._now, note=text))

    def warn(self, text: str) -> None:
        """Tell a warning."""
        self._tell(replace(self._now, note=text, is_warning=True))

    def source(self, name: str) -> None:
        """Keep the name for the stage that begins."""
        self._now = replace(self._now, source=name)

    def checkpoint(self, done: int, total: int) -> None:
        """Tell how many checkpoints are measured."""
        self._now = Progress(checkpoints_done=done, checkpoints=total)
        self._tell(self._now)

    def stage(self, text: str) -> None:
        """Tell that a stage begins."""
        text = text.removeprefix(f"{self._now.source}: ")
        self._now = replace(self._now, stage=text, done=0, total=0)
        self._tell(self._now)

    def progress(self, done: int, total: int) -> None:
        """Tell how many pairs are done."""
        self._now = replace(self._now, done=done, total=total)
        self._tell(self._now)


class _Bars(_Calls):
    """One bar for the checkpoints, where there are several, and one for the stage."""

    def __init__(self, bars: RichProgress) -> None:
        super().__init__(lambda event: None)
        self._bars = bars
        self._of_stage = bars.add_task("", total=None, visible=False)
        self._of_run: TaskID | None = None
        self._notes: set[str] = set()

    def _tell(self, event: Progress) -> None:
        from rich.text import Text

        if event.note:
            if event.note not in self._notes:
                self._notes.add(event.note)
                kind = "warning" if event.is_warning else "note"
                text = Text(f"{kind}: {_shown(event.note)}")
                self._bars.console.print(text, soft_wrap=True)
            return
        if event.checkpoints > 1:
            if self._of_run is None:
                self._of_run = self._bars.add_task("checkpoints", total=event.checkpoints)
            self._bars.update(self._of_run, completed=event.checkpoints_done)
        names = [part for part in (event.source, event.stage) if part]
        self._bars.update(
            self._of_stage,
            description=_shown(": ".join(names)),
            completed=event.done,
            total=event.total or None,
            visible=bool(event.stage),
        )

    def close(self) -> None:
        """Take the bar of the last stage away; that of the checkpoints stays."""
        self._bars.update(self._of_stage, visible=False)


def _shown(text: str, most: int = 2_000) -> str:
    return printable(without_secrets(text))[:most]


@contextlib.contextmanager
def _bars() -> Iterator[RichProgress]:
    """Bars of rich on stderr, or in the output of a notebook."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
        # rich's bars of notebooks are widgets; without them stderr shows the last state of each
        console = Console(stderr=True, force_jupyter=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield bars
