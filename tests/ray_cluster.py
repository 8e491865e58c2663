"""A real Ray cluster of two nodes on this machine, for tests; in a process of its own, and gone when they are."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import ENVIRONMENT
from mnist_lightning.records.locks import waiting

_CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
_NODES = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"


@contextmanager
def ray_alone() -> Iterator[None]:
    """Keeps other tests from Ray for the block: who starts it without an address joins what runs on this machine."""
    with waiting(Path(tempfile.gettempdir()) / f"mnist_lightning_tests_{getpass.getuser()}" / "ray.lock"):
        yield


@contextmanager
def ray_cluster() -> Iterator[str]:
    """Runs the cluster for the block, in which no other test may use Ray; gives its address."""
    with ray_alone(), _running_cluster() as address:
        yield address


@contextmanager
def _running_cluster() -> Iterator[str]:
    cluster = subprocess.Popen(
        [sys.executable, "-c", _CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    assert cluster.stdout is not None
    try:
        yield next(line.strip() for line in cluster.stdout if ":" in line)
    finally:
        cluster.communicate("", timeout=60)


def joining(address: str) -> list[str]:
    """The overrides with which a sweep's runs become tasks of that cluster."""
    path = "+hydra.launcher.ray.init.runtime_env.env_vars.PYTHONPATH="
    return ["hydra/launcher=ray", f"hydra.launcher.ray.init.address='{address}'", path + ENVIRONMENT["PYTHONPATH"]]


def nodes_alive(address: str) -> int:
    """How many nodes of the cluster answer."""
    command = [sys.executable, "-c", _NODES, address]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **ENVIRONMENT})
    return int(done.stdout.split()[-1])
