"""A sweep: its plan, what is stored of it, its jobs and its progress."""

from mnist_lightning.sweep.sweep import CollectResults

__all__ = ["CollectResults"]  # conf/hydra/callbacks/collect.yaml names it here
