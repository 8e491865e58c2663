"""The versions that a record names: ours, Python's, those of the packages that train, and the commit."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from functools import cache

from mnist_lightning.config import conf_dir


@cache
def versions() -> dict[str, str]:
    """Returns the columns of `RunResult` that name versions, and the commit."""
    packages = {"version": "mnist-lightning", "torch_version": "torch", "torchvision_version": "torchvision"}
    packages["lightning_version"] = "lightning"
    columns = {"python_version": platform.python_version(), "commit": _commit()}
    for column, package in packages.items():
        try:
            columns[column] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from the source tree, not installed
            columns[column] = ""
    return columns


def _commit() -> str:
    root = conf_dir().parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
