"""A sweep: its plan, what is stored of it, its jobs, its progress and its outcome."""

from mnist_lightning.sweep.callback import CollectResults

__all__ = ["CollectResults"]  # conf/hydra/callbacks/collect.yaml names it here
