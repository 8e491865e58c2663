"""The runs of one architecture trained together, as one stacked network; each has the result of its own run."""

from mnist_lightning.fused.groups import Group, plan_groups
from mnist_lightning.fused.training import train_groups, train_many

__all__ = ["Group", "plan_groups", "train_groups", "train_many"]
