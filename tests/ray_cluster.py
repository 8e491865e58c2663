"""A real Ray cluster of two nodes on this machine, for tests; in a process of its own, and gone when they are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from commands import ENVIRONMENT

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
def ray_cluster() -> Iterator[str]:
    """Runs the cluster for the block; gives its address."""
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
