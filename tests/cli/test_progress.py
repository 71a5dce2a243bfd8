"""Progress: one line for the whole job, never silent for long; a resumed run says so."""

from __future__ import annotations

import io
import re
import signal
import threading

import numpy as np
import pytest

from cl_analyze.cli.terminal import Talk


class Clock:
    """A time that tests set."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr("cl_analyze.cli.terminal.time.monotonic", lambda: self.now)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True

    @property
    def screen(self):
        """The last line, as a terminal shows it after carriage returns."""
        line = ""
        for part in self.getvalue().rpartition("\n")[2].split("\r"):
            line = part + line[len(part) :]
        return line.rstrip()


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return Clock(monkeypatch)


def job(talk, clock, seconds_each=8.0, total=4):
    """Measure some checkpoints, each in two passes and a stage without pairs."""
    for done in range(total):
        talk.checkpoint(done, total)
        for stage in ("pairs", "error bars"):
            talk.stage(f"run-{done}.npz: {stage}")
            for part in range(1, 11):
                clock.now += 0.04 * seconds_each
                talk.progress(part * 10, 100)
        talk.stage(f"run-{done}.npz: linear probe")
        clock.now += 0.2 * seconds_each
    talk.checkpoint(total, total)
    talk.stage("writing files")


def test_a_resumed_run_says_from_where(cli):
    np.save(cli.folder / "e.npy", np.random.default_rng(0).standard_normal((3000, 8)))
    arguments = ("uniformity", "e.npy", "--no-files", "--json", "--resume", "states")
    first = cli(*arguments)
    again = cli(*arguments)
    assert "goes on from" not in first.stderr
    assert "goes on from 100%, which --resume has kept" in again.stderr
    assert first.stdout.split('"results"')[1] == again.stdout.split('"results"')[1]


def test_the_rate_is_that_of_this_run(clock):
    stream = io.StringIO()
    talk = Talk(stream=stream)
    talk.stage("pairs")
    talk.resumed(800, 1000)
    clock.now += 10.0
    talk.progress(900, 1000)
    assert "90%  10 pairs/s  10 s left" in stream.getvalue()
    clock.now += 10.0
    talk.progress(900_000_000, 1_000_000_000)
    assert "90%  45.0 M pairs/s  2 s left" in stream.getvalue()


def test_what_is_kept_is_shown_before_the_pass_goes_on(clock):
    stream = io.StringIO()
    talk = Talk(stream=stream)
    talk.stage("pairs")
    talk.resumed(800, 1000)
    clock.now += 2.0
    talk.beat()
    assert stream.getvalue() == "pairs  80%  2 s so far\n"


def test_the_next_pass_of_a_stage_has_its_own_rate(clock):
    stream = io.StringIO()
    talk = Talk(stream=stream)
    talk.stage("pairs")
    talk.resumed(1000, 1000)
    talk.progress(100, 400)
    clock.now += 10.0
    talk.progress(200, 400)
    assert stream.getvalue() == "pairs  50%  10 pairs/s  20 s left\n"


def test_a_log_gets_a_line_every_ten_seconds(clock):
    stream = io.StringIO()
    job(Talk(stream=stream), clock)
    lines = stream.getvalue().splitlines()
    assert 3 <= len(lines) <= 32 / 10 + 2
    assert lines[-1] == "writing files"
    assert all(re.match(r"[1-4] of 4  run-[0-3]\.npz: ", line) for line in lines[:-1]), lines
    left = [int(found[1]) for line in lines if (found := re.search(r"(\d+) s left", line))]
    assert left[1:] == sorted(left[1:], reverse=True), "the first line knows one pass alone"
    assert len(left) == len(lines) - 1
    short = io.StringIO()
    job(Talk(stream=short), clock, seconds_each=0.2)
    assert short.getvalue() == "", "a job of less than a second says nothing"
    quiet = io.StringIO()
    job(Talk(quiet=True, stream=quiet), clock)
    assert quiet.getvalue() == ""


def test_a_terminal_has_one_line_that_is_written_over_and_goes(clock):
    stream = Terminal()
    talk = Talk(stream=stream)
    talk.checkpoint(2, 4)
    talk.stage("a-name.npz: pairs")
    clock.now += 2.0
    talk.progress(50, 100)
    assert stream.screen == "█████░░░░░ 3 of 4  a-name.npz: pairs  50%  25 pairs/s  2 s left"
    for part in range(51, 90):
        clock.now += 0.03
        talk.progress(part, 100)
    assert stream.getvalue().count("\r") < 20, "ten times a second at most"
    assert "\r \r" not in stream.getvalue(), "a line that is cleared before it is written flickers"
    talk.note("something")
    assert stream.getvalue().endswith("note: something\n")
    clock.now += 1.0
    talk.stage(f"{'long-' * 40}name.npz: pairs")
    assert len(stream.screen) == 99
    talk.close()
    assert stream.screen == ""


def test_a_forecast_says_how_long_before_the_first_checkpoint_has_ended(clock):
    stream = io.StringIO()
    talk = Talk(stream=stream)
    talk.checkpoint(0, 3)
    talk.expect(100.0, 400)
    talk.stage("e.npy: pairs")
    clock.now += 20.0
    talk.progress(50, 100)
    assert "1 of 3  e.npy: pairs  50%  2.5 pairs/s  5 min left" in stream.getvalue()


def test_the_time_left_is_without_what_an_earlier_run_has_kept(clock):
    stream = Terminal()
    talk = Talk(stream=stream)
    talk.checkpoint(0, 3)
    talk.expect(100.0, 1000)
    talk.stage("a.npy: pairs")
    talk.resumed(600, 600)
    talk.stage("a.npy: error bars")
    talk.resumed(200, 400)
    clock.now += 2.0
    talk.beat()
    assert stream.screen.endswith("1 of 3  a.npy: error bars  50%  4 min left"), "18 s, and 200 s"
    assert stream.screen.startswith("██░"), "82 s of 300 s"
    clock.now += 18.0
    talk.checkpoint(1, 3)
    talk.stage("b.npy: pairs")
    clock.now += 10.0
    talk.beat()
    assert stream.screen.endswith("2 of 3  b.npy: pairs  3 min left"), "90 s, and 100 s"
    assert stream.screen.startswith("███░"), "110 s of 300 s"


def test_a_run_that_is_kept_whole_has_no_time_left(clock):
    stream = io.StringIO()
    talk = Talk(stream=stream)
    talk.expect(14.0, 1000)
    talk.stage("pairs")
    talk.resumed(1000, 1000)
    clock.now += 1.0
    talk.beat()
    assert stream.getvalue() == "pairs  100%  1 s so far\n"


def test_a_terminal_without_blocks_gets_a_bar_of_other_characters(clock):
    stream = Terminal()
    stream.encoding = "ascii"
    talk = Talk(stream=stream)
    talk.checkpoint(1, 2)
    talk.stage("e.npy: pairs")
    clock.now += 2.0
    talk.progress(1, 2)
    assert stream.screen.startswith("#####----- 2 of 2")


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_the_line_never_is_wider_than_the_terminal(clock, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    talk = Talk(stream=stream)
    talk.checkpoint(1, 8)
    talk.stage("fashion-mnist-hard-tau-1.0.npz: losses: gradients 2 of 2, view 1 with view 2")
    clock.now += 2.0
    talk.progress(1_300_000, 2_600_000)
    assert len(stream.screen) <= columns - 1
    assert stream.screen.endswith("  2 s left")
    assert ("50%  0.7 M pairs/s" in stream.screen) == (columns == 80), "the stage needs the room"
    assert "2 of 8  fashion" in stream.screen


def test_a_stage_that_reports_nothing_is_not_silent(clock):
    stream = io.StringIO()
    handler, before = signal.getsignal(signal.SIGALRM), threading.active_count()
    with Talk(stream=stream) as talk:
        assert signal.getitimer(signal.ITIMER_REAL)[1] == 1.0
        assert threading.active_count() == before, "a thread would forbid forks"
        talk.stage("linear probe")
        for _ in range(25):
            clock.now += 1.0
            signal.raise_signal(signal.SIGALRM)
    lines = ["linear probe  1 s so far", "linear probe  11 s so far", "linear probe  21 s so far"]
    assert stream.getvalue().splitlines() == lines
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is handler


def test_a_program_keeps_its_own_alarm_and_a_thread_has_no_timer(clock):
    own = lambda number, frame: None  # noqa: E731
    before = signal.signal(signal.SIGALRM, own)
    try:
        with Talk(stream=io.StringIO()):
            assert signal.getsignal(signal.SIGALRM) is own
            assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)

    def in_thread():
        with Talk(stream=io.StringIO()):
            timers.append(signal.getitimer(signal.ITIMER_REAL))

    timers = []
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert timers == [(0.0, 0.0)]


def test_the_timer_does_not_interrupt_a_line_that_is_being_written(clock):
    class Interrupting(io.StringIO):
        def write(self, text):
            if not self.getvalue():
                super().write("<")
                talk.beat()
                return super().write(text + ">")
            return super().write(text)

    stream = Interrupting()
    talk = Talk(stream=stream)
    talk.stage("pairs")
    clock.now += 2.0
    talk.beat()
    assert stream.getvalue() == "<pairs  2 s so far\n>"


@pytest.mark.parametrize("variable", [("CI", "1"), ("TERM", "dumb")])
def test_a_terminal_that_keeps_what_it_shows_gets_lines(clock, monkeypatch, variable):
    monkeypatch.setenv(*variable)
    stream = Terminal()
    job(Talk(stream=stream), clock)
    assert "\r" not in stream.getvalue()
    assert 3 <= len(stream.getvalue().splitlines()) <= 32 / 10 + 2
