"""Where files lie: the YAML files of `conf/`, and a new directory for a run's results."""

from __future__ import annotations

import secrets
import time
from pathlib import Path


def conf_dir() -> Path:
    """The directory of the YAML files: inside the package when installed, the checkout's `conf/` otherwise."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parents[1] / "conf"


def fresh_directory() -> str:
    """A new name under `outputs/` that no other process, started in the same second or not, can also get."""
    return f"outputs/{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(3)}"
