"""A sweep: its plan, what is stored of it, its jobs, its progress and its outcome."""

from typing import Any

__all__ = ["CollectResults"]  # pyright: ignore[reportUnsupportedDunderAll] - by __getattr__


def __getattr__(name: str) -> Any:
    """Loads CollectResults when conf/hydra/callbacks/collect.yaml asks for it: every Hydra program scans our plugins,
    which lie in this package, and should not pay for it."""
    if name != "CollectResults":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mnist_lightning.sweep.callback import CollectResults

    return CollectResults
