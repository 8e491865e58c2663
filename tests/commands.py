"""The command line in processes of their own, for tests that kill and interrupt it.

Importing torch, Lightning and matplotlib takes 6 s of each process; so one process imports them, and the commands are
forked from it. From there on they are what `python -m mnist_lightning` is: its module run as `__main__`, a session,
a working directory, an environment and output of its own. Some tests of each kind start a real interpreter, so that
nothing is hidden by this.
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

TESTS = Path(__file__).parent
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "RAY_AUTH_MODE": "disabled"}
ENVIRONMENT["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
_REPORT = [f"mnist_lightning.report.{name}" for name in ("figures", "page", "workbook", "write")]
PRELOADED = ["mnist_lightning.command.cli", "mnist_lightning.training.run", "torchvision.datasets", *_REPORT]


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Command:
    """A command that was started; its output goes into the files `out` and `err` of a directory of its own."""

    def __init__(self, process: subprocess.Popen[bytes] | BaseProcess, output: Path) -> None:
        self.process, self.output = process, output
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        return self.process.poll() if isinstance(self.process, subprocess.Popen) else self.process.exitcode

    def printed(self, name: str = "out") -> str:
        path = self.output / name
        return path.read_text(errors="replace") if path.exists() else ""

    def wait(self, seconds: float = 120) -> Ended:
        wait_for(lambda: self.poll() is not None, seconds, self)
        code = self.poll()
        assert code is not None
        return Ended(code, self.printed("out"), self.printed("err"))

    def wait_for_output(self, text: str, seconds: float = 60) -> None:
        wait_for(lambda: text in self.printed() or self.poll() is not None, seconds, self)
        assert text in self.printed(), self.printed() + self.printed("err")

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL for it and for all of its workers; nothing if it has ended."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            wait_for(lambda: self.poll() is not None, 10, self)


def wait_for(condition: Callable[[], Any], seconds: float = 30, command: Command | None = None) -> None:
    """Until the condition holds; the test fails after `seconds`, with what `command` has printed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"still waiting after {seconds} s" + (f": {command.printed('err')}" if command else ""))
        time.sleep(0.01)


def forked(work: Callable[[], int]) -> int:
    """Start `work` in a copy of this process, which ends with its code and without pytest's ado; the copy's id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = work()
    finally:
        os._exit(code)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def start_fork_server() -> None:
    """Start the process that imports everything; later calls do nothing. It ends with this one."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    with patch.dict(os.environ, ENVIRONMENT):
        multiprocessing.forkserver.ensure_running()


def start_forked(arguments: list[str], directory: Path, output: Path, **environment: str) -> Command:
    start_fork_server()
    process = multiprocessing.get_context("forkserver").Process(
        target=_enter, args=(arguments, directory, output, {**os.environ, **ENVIRONMENT, **environment})
    )
    process.start()
    command = Command(process, output)
    wait_for(lambda: (output / "err").exists() or command.poll() is not None)  # it has its own session from here on
    return command


def _enter(arguments: list[str], directory: Path, output: Path, environment: dict[str, str]) -> None:
    """In the forked process: become `python -m mnist_lightning`."""
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if environment.pop("MNIST_TEST_CLOSED_PIPE", ""):
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115 - as long as the process
    setup, teardown = environment.pop("MNIST_TEST_SETUP", ""), environment.pop("MNIST_TEST_TEARDOWN", "")
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    if setup:
        own_mounts()
        subprocess.run(setup, shell=True, check=True)
    sys.argv = ["mnist_lightning", *arguments]
    code = 1
    try:
        if environment.get("MNIST_TEST_FIGURES") != "1":
            _without_figures()
        runpy.run_module("mnist_lightning", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        # multiprocessing would leave these out; they are a real interpreter's end, where joblib lets its workers go
        vars(threading)["_shutdown"]()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        if teardown:
            subprocess.run(teardown, shell=True)
        os._exit(code)


def own_mounts() -> None:
    """Root of a namespace of our own from here on: what is mounted is seen by this process and its children only."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(0x10020000):  # CLONE_NEWUSER | CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path(f"/proc/self/{name}").write_text(line)


def _without_figures() -> None:
    """Figures take seconds and are none of these tests' business; those with a real interpreter draw them."""
    from mnist_lightning import report

    report.write_report = report.write_tables


def start_real(arguments: list[str], directory: Path, output: Path, **environment: str) -> Command:
    """The same by a new interpreter."""
    with open(output / "out", "wb") as out, open(output / "err", "wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "mnist_lightning", *arguments],
            cwd=directory,
            env={**os.environ, **ENVIRONMENT, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    return Command(process, output)
