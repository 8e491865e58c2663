"""What a user of the library would write: a network, losses, an optimizer and more, named in tests' configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from mnist_lightning import ConvDenseNet


class Net(nn.Module):
    """One hidden layer: images [N, 1, 28, 28] -> logits [N, 10]."""

    def __init__(self, width: int = 8, depth: int = 1) -> None:
        super().__init__()
        sizes = [28 * 28, *[width] * depth]
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def make_net(width: int = 8) -> nn.Module:
    """A network from a function that says so."""
    return Net(width)


def make_something(width: int = 8):
    """A network from a function that does not say so."""
    return Net(width)


def make_number() -> int:
    """No network, and it says so."""
    return 1


def make_liar() -> nn.Module:
    """No network, although it says so."""
    return 1  # pyright: ignore[reportReturnType]


def p_loss(logits: Tensor, labels: Tensor, power: float = 2.0) -> Tensor:
    """Mean of |softmax - one-hot| ** power over images and classes: logits [N, K], labels [N] -> []."""
    truth = nn.functional.one_hot(labels, logits.shape[-1])
    return (torch.softmax(logits, -1) - truth).abs().pow(power).mean()


def a_number(logits: Tensor, labels: Tensor) -> Tensor:
    """A loss that is a Python number, whatever it says it returns."""
    return nn.functional.cross_entropy(logits, labels).item()  # pyright: ignore[reportReturnType] - the mistake


def unreduced(logits: Tensor, labels: Tensor) -> Tensor:
    """A loss for each image."""
    return nn.functional.cross_entropy(logits, labels, reduction="none")


def no_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """A loss that nothing can be learned from."""
    return (logits.argmax(-1) != labels).float().mean()


class Weighted(nn.Module):
    """A loss that would have to be trained itself."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.scale * nn.functional.cross_entropy(logits, labels)


def make_sgd(params: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    """An optimizer from a function that says so."""
    return torch.optim.SGD(params, lr=lr)


class Heavy(torch.optim.Optimizer):
    """An optimizer with a state: v = (1 - friction) v - lr g;  w += v."""

    def __init__(self, params: Iterable[Tensor], lr: float, friction: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "friction": friction})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride] - torch overloads it
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                v = self.state[p].setdefault("v", torch.zeros_like(p))
                v.mul_(1 - group["friction"]).add_(p.grad, alpha=-group["lr"])
                p.add_(v)
        return loss


def make_schedule(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """A quarter of the epoch before."""
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.25)


alias = Net


class ManyChannels(ConvDenseNet):
    """The study's network with another default."""

    def __init__(self, num_channels: int = 5) -> None:
        super().__init__(num_channels, 0, 0)


class Dropping(nn.Module):
    """Draws random numbers whenever it is trained."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(share), nn.Linear(28 * 28, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Normed(nn.Module):
    """Has buffers, one of whole numbers, besides its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(28 * 28), nn.Linear(28 * 28, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class FiveOutputs(nn.Module):
    """Too few outputs."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :5]


class Crashing(nn.Module):
    """Cannot take images."""

    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("of no use")


class StopAfter(Callback):
    """Ends a run by an error after some epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == self.epochs:
            raise RuntimeError("stopped")
