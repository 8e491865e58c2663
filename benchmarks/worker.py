"""One contender in a process of its own, driven through pipes: `python -m benchmarks.worker NAME NET OPTIMIZER ROOT`.

It builds everything, answers one line of JSON, and then for each line `K` on its standard input trains K steps and
answers {"seconds": s}. In between it sleeps in `read`, so that it does not disturb who is measured then.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from benchmarks.common import ROOT, Net, environment
from benchmarks.contenders import CONTENDERS, Finished


class PipeGate:
    """Lets K steps pass for each number K it reads; the time is that between the starts of two batches."""

    def __init__(self, answers: IO[str]) -> None:
        self.answers = answers
        self.left, self.started = 0, 0.0

    def ready(self, facts: dict[str, Any]) -> None:
        self._answer(facts)

    def __call__(self) -> None:
        if self.left > 0:
            self.left -= 1
            if self.left > 0:
                return
            self._answer({"seconds": time.perf_counter() - self.started})
        line = sys.stdin.readline()
        if not line.strip():
            raise Finished
        self.left, self.started = int(line), time.perf_counter()

    def _answer(self, content: dict[str, Any]) -> None:
        self.answers.write(json.dumps(content) + "\n")
        self.answers.flush()


def main(name: str, net: str, optimizer: str, root: str) -> None:
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # whatever else the libraries print is no answer
        try:
            CONTENDERS[name](Net.parse(net), optimizer, Path(root), PipeGate(answers))
        except Finished:
            answers.flush()
            os._exit(0)  # nothing is to be saved; TensorFlow's threads would take seconds to end


class WorkerError(Exception):
    """A contender that did not come up or died; the message is its last line."""


class Worker:
    """The other end of the pipes. With `source` the library is imported from there."""

    def __init__(
        self,
        python: str,
        name: str,
        net: Net,
        optimizer: str,
        root: Path,
        threads: int,
        source: Path | None = None,
    ) -> None:
        self.said = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed in `close`
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", name, str(net), optimizer, str(root)],
            cwd=ROOT,
            env=environment(threads) | ({"PYTHONPATH": f"{source}{os.pathsep}{ROOT}"} if source else {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
        )
        try:
            self.facts = self._answer(timeout=300)
        except WorkerError:
            self.close()
            raise

    def run(self, steps: int, timeout: float = 1800) -> float:
        """Seconds for so many training steps."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died: the answer says so
        return self._answer(timeout)["seconds"]

    def _answer(self, timeout: float) -> dict[str, Any]:
        stdout = self.process.stdout
        assert stdout is not None
        if not select.select([stdout], [], [], timeout)[0]:
            raise WorkerError(f"no answer in {timeout:.0f} s")
        line = stdout.readline()
        if not line:
            self.process.wait()
            self.said.seek(0)
            lines = [text.strip() for text in self.said.read().splitlines() if text.strip()]
            raise WorkerError(lines[-1][:200] if lines else f"exit code {self.process.returncode}")
        return json.loads(line)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.said.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
