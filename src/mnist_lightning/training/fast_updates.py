"""When a training on a processor updates its weights in one compiled pass, and computes with copies of them."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch import callbacks as lightnings
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins import DoublePrecision, MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy

from mnist_lightning.numerics.by_hand import ByHand
from mnist_lightning.numerics.copies import Copies, Rounded
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.numerics.one_pass import numbers_in_one_pass
from mnist_lightning.numerics.optimizers import REGISTRY, FollowsRule
from mnist_lightning.numerics.pooling import compiled_pooling
from mnist_lightning.training.lightning_modules import MNISTClassifier

# Updates of a number, of all steps, from which on compiling pays: each saves 0.8 to 1.6 ns, and compiling takes two to
# four seconds a process, some fifteen the first time on a machine
WORTH_COMPILING = 1e10
COMPILED = "compiled"  # in the record
# Lightning's callbacks that neither look at gradients nor change weights; a class made from one of them may
_HARMLESS = (
    lightnings.ModelCheckpoint,
    lightnings.EarlyStopping,
    lightnings.LearningRateMonitor,
    lightnings.Timer,
    lightnings.TQDMProgressBar,
    lightnings.RichProgressBar,
    lightnings.ModelSummary,
    lightnings.RichModelSummary,
)


class FastUpdates(Callback):
    """Has a training compute its gradients by hand, and update in one pass, where that is possible and pays.

    A function of the configuration and of whether there is a compiler: a run that goes on after an interrupt computes
    as it would have.
    """

    def __init__(self) -> None:
        self.how = ""

    def state_dict(self) -> dict[str, Any]:
        return {"how": self.how}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.how = str(state_dict.get("how", ""))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.how = ""
        if type(trainer.strategy) is not SingleDeviceStrategy or trainer.strategy.root_device.type != "cpu":
            return
        ours = _ours(trainer, pl_module)
        if ours is not None and type(trainer.precision_plugin) in (Precision, DoublePrecision):
            _compute(pl_module, ByHand(ours))
        elif ours is not None and _is_mixed(trainer):
            _compute(pl_module, Rounded(ours))
        if not _is_worth_it(trainer, pl_module):
            return
        for optimizer in trainer.optimizers:
            assert isinstance(optimizer, FollowsRule)
            may_copy = _is_mixed(trainer) and not trainer.gradient_clip_val  # the weights have no gradients then
            copies = Copies(ours) if ours is not None and may_copy else None
            if (copies or not optimizer.is_fused) and optimizer.in_one_pass(copies):
                self.how = COMPILED
                if copies:
                    copies.pooling = compiled_pooling()
                    _compute(pl_module, copies)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._end(trainer, pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._end(trainer, pl_module)

    def _end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _compute(pl_module, None)
        for optimizer in trainer.optimizers:
            if isinstance(optimizer, FollowsRule):
                optimizer.by_operations()


def how_updated(trainer: L.Trainer) -> str:
    """How a training updated the weights, as the record says it."""
    callbacks = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue] - untyped there
    return next((c.how for c in callbacks if isinstance(c, FastUpdates)), "")


def _compute(module: L.LightningModule, by_hand: ByHand | None) -> None:
    if isinstance(module, MNISTClassifier):
        module.by_hand = by_hand


def _ours(trainer: L.Trainer, module: L.LightningModule) -> ConvDenseNet | None:
    """The network, if a training may compute its gradients by hand, so that nobody notices.

    Somebody would who sums them over batches, has autograd look for NaN or a profiler look at it, or hangs something of
    his own into autograd, the network or the optimizer: so only where all of these are ours.
    """
    callbacks, profiler = trainer.callbacks, trainer.profiler  # pyright: ignore[reportAttributeAccessIssue] - untyped there
    if (
        type(module) is MNISTClassifier
        and type(module.net) is ConvDenseNet
        and "network" not in module.hparams  # given by the user, who may have changed it
        and all(p.requires_grad for p in module.net.parameters())
        and trainer.accumulate_grad_batches == 1
        and not trainer._detect_anomaly
        and type(profiler) is PassThroughProfiler
        and _optimizers_are_ours(trainer)
        and all(type(c) in _HARMLESS or type(c).__module__.startswith("mnist_lightning.") for c in callbacks)
    ):
        return module.net
    return None


def _optimizers_are_ours(trainer: L.Trainer) -> bool:
    """Whether none is of the user's, nor of a class made from one of ours, which may look at gradients."""
    return all(type(o) in REGISTRY.values() for o in trainer.optimizers)


def _is_mixed(trainer: L.Trainer) -> bool:
    precision = trainer.precision_plugin
    return type(precision) is MixedPrecision and precision.precision == "bf16-mixed"


def _is_worth_it(trainer: L.Trainer, module: L.LightningModule) -> bool:
    return (
        _optimizers_are_ours(trainer)
        and all(isinstance(o, FollowsRule) for o in trainer.optimizers)
        and is_worth_compiling(trainer, numbers_in_one_pass(module.parameters()))
    )


def is_worth_compiling(trainer: L.Trainer, numbers: int) -> bool:
    """Whether a training is long enough for the update of so many numbers to be compiled."""
    return numbers > 0 and trainer.estimated_stepping_batches * numbers >= WORTH_COMPILING
