"""The runs of one architecture trained together, as one stacked network; each has the result of its own run."""

from mnist_lightning.fused.groups import plan_groups, reason_to_train_alone
from mnist_lightning.fused.training import plan, train_group, train_many

__all__ = ["plan", "plan_groups", "reason_to_train_alone", "train_group", "train_many"]
