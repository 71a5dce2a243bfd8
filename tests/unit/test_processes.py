"""Work in forked processes: in order, with what they tell and raise, and without those that die."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from cl_analyze.processes import can_fork, in_processes
from tests.forks import ROOT, SECONDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")


def run(program: str) -> list[str]:
    """Lines that a program prints which has no other thread; pytest's workers have some."""
    prelude = "import os, signal, sys, time\nfrom cl_analyze.processes import *\n"
    prelude += "from tests.forks import SECONDS\n"
    result = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=SECONDS,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_results_come_in_order_from_other_processes():
    lines = run(
        """
        def work(item, tell):
            tell(f"item {item}")
            time.sleep(0.05 * (item == 0))
            return item, os.getpid()
        told = []
        results = list(in_processes(work, range(6), 2, told.append))
        print([item for item, _ in results], len({pid for _, pid in results} - {os.getpid()}))
        print(sorted(told))
        """
    )
    assert lines[0] == "[0, 1, 2, 3, 4, 5] 2"
    assert lines[1] == str([f"item {item}" for item in range(6)])


def test_an_error_is_raised_in_its_turn_and_no_process_is_left():
    lines = run(
        """
        class Own(Exception):
            def __init__(self, one, two):
                super().__init__(f"{one} {two}")
        def work(item, tell):
            if item == 1:
                raise ValueError("one")
            if item == 3:
                raise Own("cannot", "travel")
            return item
        for items in (range(3), range(2, 5)):
            results = in_processes(work, list(items), 2)
            try:
                for result in results:
                    print(result)
            except Exception as error:
                print(type(error).__name__, error, "in work" in error.__notes__[0])
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            print("no child")
        """
    )
    assert lines == [
        "0",
        "ValueError one True",
        "2",
        "RuntimeError Own: cannot travel True",
        "no child",
    ]


def test_what_a_killed_process_had_is_computed_here():
    lines = run(
        """
        home = os.getpid()
        def work(item, tell):
            if item in doomed and os.getpid() != home:
                os.kill(os.getpid(), signal.SIGKILL)
            return item, os.getpid() == home
        for doomed in [(1,), (0,), (4,), (1, 2), (0, 1)]:
            print(list(in_processes(work, range(5), 2)))
        """
    )
    for line, doomed in zip(lines, [(1,), (0,), (4,), (1, 2), (0, 1)], strict=True):
        found = dict(ast.literal_eval(line))
        assert list(found) == [0, 1, 2, 3, 4]
        assert all(found[item] for item in doomed), "computed by the calling process"
        assert len(doomed) > 1 or [i for i, is_here in found.items() if is_here] == list(doomed)


def test_processes_end_with_the_one_that_called_them():
    lines = run(
        """
        def work(item, tell):
            tell(os.getpid())
            time.sleep(2 * SECONDS)
        read, write = os.pipe()
        caller = os.fork()
        if caller == 0:
            list(in_processes(work, range(2), 2, lambda pid: os.write(write, b"%d " % pid)))
        os.close(write)
        pids = b""
        while len(pids.split()) < 2 or not pids.endswith(b" "):
            pids += os.read(read, 100)
        os.kill(caller, signal.SIGKILL)
        os.waitpid(caller, 0)
        print(os.read(read, 100))  # waits until the last process that could write has ended
        """
    )
    assert lines == ["b''"]


def test_threads_of_openmp_are_not_copied():
    lines = run(
        """
        import ctypes, numpy
        print(can_fork())
        try:
            ctypes.CDLL("libgomp.so.1")
        except OSError:
            print("False")
        else:
            print(can_fork())
        """
    )
    assert lines == ["True", "False"]


def test_a_process_with_threads_does_the_work_itself():
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    try:
        assert not can_fork()
        told = []

        def work(item, tell):
            tell(item)
            return os.getpid()

        assert set(in_processes(work, [1, 2], 2, told.append)) == {os.getpid()}
        assert told == [1, 2]
    finally:
        gate.set()
        thread.join()


def test_ctrl_c_ends_them_all():
    program = textwrap.dedent(
        """
        import os, sys, time
        from cl_analyze.processes import in_processes
        from tests.forks import SECONDS
        def work(item, tell):
            tell("")
            time.sleep(2 * SECONDS)
        list(in_processes(work, range(2), 2, lambda _: print("x", flush=True)))
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)  # its end closes the last copy of the pipe
    assert process.returncode != 0
    assert errors.count(b"Traceback") == 1, errors
