"""A real Slurm on this machine for the tests: its own directory, key, ports and daemons, gone when the tests are.

It needs the daemons (Debian: `apt-get install slurm-wlm munge`) and leave to start them; nothing in /etc is read or
written. As on many small clusters there is no accounting, so `sacct` fails.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def slurm(directory: Path) -> Iterator[dict[str, str]]:
    """Runs the daemons for the block, in this new directory; gives the environment in which `sbatch` finds them.

    Skips the test where they are not installed or do not start.
    """
    if missing := [name for name in (*DAEMONS, *CLIENTS) if _find(name) is None]:
        pytest.skip(f"no Slurm here ({', '.join(missing)}): apt-get install slurm-wlm munge")
    for name in ("state", "spool"):
        (directory / name).mkdir(parents=True)
    host, user = socket.gethostname().partition(".")[0], _user()
    key, configuration = directory / "munge.key", directory / "slurm.conf"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    cores = os.cpu_count() or 1
    ports = {"control": _free_port(), "node": _free_port()}
    configuration.write_text(CONFIGURATION.format(directory=directory, host=host, user=user, cores=cores, **ports))
    files = [f"--{what}={directory}/munge.{what.partition('-')[0]}" for what in ("pid-file", "log-file", "seed-file")]
    commands = (
        ["munged", "--foreground", "--force", f"--socket={directory}/munge.socket", f"--key-file={key}", *files],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration), "-N", host],
    )
    environment = {"SLURM_CONF": str(configuration)}
    started: list[subprocess.Popen[bytes]] = []
    try:
        with open(directory / "daemons.log", "wb") as log:
            for command in commands:
                program = _find(command[0])
                assert program is not None
                started.append(subprocess.Popen([program, *command[1:]], stdout=log, stderr=log))
                time.sleep(0.3)  # each asks the one before
        _wait_until_idle(environment, started, directory)
        yield environment
    finally:
        _stop(environment, started)


def _user() -> str:
    return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()


def ask(environment: dict[str, str], *command: str) -> str:
    """What one of Slurm's commands prints, as in `ask(cluster, "squeue", "-h")`."""
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    return done.stdout


def empty_queue(environment: dict[str, str]) -> None:
    """Ends every job, and waits until none is there."""
    if ask(environment, "squeue", "-h"):
        ask(environment, "scancel", "--signal=KILL", "--full", "--me")
        ask(environment, "scancel", "--me")
    deadline = time.monotonic() + 20
    while ask(environment, "squeue", "-h") and time.monotonic() < deadline:
        time.sleep(0.3)


def _wait_until_idle(environment: dict[str, str], daemons: list[subprocess.Popen[bytes]], directory: Path) -> None:
    deadline = time.monotonic() + 30
    while ask(environment, "sinfo", "-h", "-o", "%t").strip() != "idle":
        if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in daemons):
            pytest.skip(f"Slurm does not start here: {(directory / 'daemons.log').read_text()[-300:]!r}")
        time.sleep(0.3)


def _stop(environment: dict[str, str], daemons: list[subprocess.Popen[bytes]]) -> None:
    if len(daemons) == len(DAEMONS):
        empty_queue(environment)
    for daemon in reversed(daemons):
        daemon.terminate()
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(10)
        daemon.kill()
        daemon.wait()
