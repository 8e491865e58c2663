"""Trainings on the null GPU, in a process of their own: `python scenes.py DIRECTORY SCENE...` prints what happened.

Nothing is computed, so every loss is 0 and every member would count as diverged: what is finite is said here.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from mnist_lightning import RunConfig, train_many
from mnist_lightning.config import parse
from mnist_lightning.fused import capture, engine, training
from mnist_lightning.fused.members import Member
from mnist_lightning.fused.stacked import StackedNet
from mnist_lightning.numerics import model
from mnist_lightning.records.run_directory import LAST
from mnist_lightning.training.checkpoints import sha256
from mnist_lightning.training.record import Trained
from null_gpu import counting, device

EPOCHS, IMAGES = 3, 200  # three batches of 64 and one of 8
ARCHITECTURES = tuple(product((2, 3), (2, 3), (1, 3, 5)))  # the study's, with few channels


def configs(sizes: Sequence[int] = (2, 2, 1), **keys: Any) -> list[RunConfig]:
    """The study's optimizers with its losses and two learning rates; `seeds`, `optimizers`, ... say otherwise."""
    names = ("num_channels", "num_conv", "num_dense")
    trainer = {"max_epochs": EPOCHS, "enable_progress_bar": False, **keys.pop("trainer", {})}
    base = {"model": dict(zip(names, sizes, strict=True)), "trainer": trainer, "progress": "none"}
    base["data"] = keys.pop("data", None) or {"name": "synthetic", "train_size": IMAGES, "test_size": 70}
    optimizers = keys.pop("optimizers", ("adam", "sgd", "rmsprop"))
    losses, seeds = keys.pop("losses", ("mse", "mae")), keys.pop("seeds", (0,))
    rates = keys.pop("rates", (0.001, 0.1))
    return [
        parse({**base, "optimizer": {"name": o}, "loss": loss, "lr": lr, "seed": seed, **keys})
        for o, loss, lr, seed in product(optimizers, losses, rates, seeds)
    ]


@contextmanager
def finite(diverged: Sequence[int] = ()) -> Iterator[None]:
    """Lets every member's loss be finite, but those at these places of a group that is still whole."""
    whole: list[int] = []

    def answer(x: torch.Tensor) -> torch.Tensor:
        whole.append(x.numel())
        return torch.tensor([x.numel() < max(whole) or g not in diverged for g in range(x.numel())])

    said = property(lambda trained: trained.diverged)  # and not of scores, which this GPU does not compute
    with mock.patch.object(torch, "isfinite", answer), mock.patch.object(Trained, "is_diverged", said):
        yield


def alone(*_: Any, **more: Any) -> None:
    raise AssertionError("a group has failed, and is trained one by one")


def trained(chosen: Sequence[RunConfig], root: Path, **how: Any) -> list[dict[str, Any]]:
    with mock.patch.object(training, "train_checked", alone):
        results = train_many(chosen, [root / c.run_name for c in chosen], **how)
    shown = ("status", "epochs", "engine", "group_size", "precision", "device")
    return [
        {name: getattr(r, name) for name in shown}
        | {"lines": len((root / c.run_name / "metrics.csv").read_text().splitlines()) - 1}
        | {"whole": r.checkpoint_sha256 == sha256(root / c.run_name / LAST)}
        for c, r in zip(chosen, results, strict=True)
    ]


def one_seed(root: Path) -> Any:
    with finite():
        return trained(configs(), root)


def two_seeds(root: Path) -> Any:
    with finite():
        return trained(configs(seeds=(0, 1)), root)


def diverging(root: Path) -> Any:
    with finite((2, 7)):
        return trained(configs(), root)


def every_rule(root: Path) -> Any:
    from mnist_lightning.numerics.update_rules import RULES

    with finite():
        return trained(configs(optimizers=tuple(RULES), losses=("cross_entropy",)), root)


def precisions(root: Path) -> Any:
    with finite():
        return [
            trained(configs(optimizers=("adam",), trainer={"precision": p}), root / p)[0]
            for p in ("32-true", "64-true", "bf16-mixed")
        ]


def resumed(root: Path) -> Any:
    """Cut off in the third epoch; what the second call logs is said too."""
    chosen, log, logged = configs(optimizers=("adam", "sgd")), Member.log, []

    def cut(member: Member, epoch: int, *rest: Any) -> None:
        if epoch == 3 and not logged:
            raise KeyboardInterrupt
        logged.extend([epoch] if logged else [])
        log(member, epoch, *rest)

    choose = StackedNet.choose_methods
    with (
        finite(),
        mock.patch.object(Member, "log", cut),
        mock.patch.object(engine, "_CHECKPOINT_SHARE", 1e9),
        mock.patch.object(StackedNet, "choose_methods", autospec=True, side_effect=choose) as choosing,
    ):
        try:
            trained(chosen, root)
        except (KeyboardInterrupt, SystemExit):
            logged.append(0)
        runs = trained(chosen, root, continue_interrupted=True)
        return {"runs": runs, "logged": logged[1:], "choices": choosing.call_count}


def little_memory(root: Path) -> Any:
    """As many members as are asked for, on a GPU that has room for some of them."""
    torch.cuda.empty_cache()
    device.limit(device.counts()["used"] + (700 << 20))
    try:
        with finite(), mock.patch.object(training, "largest_group", return_value=12):
            return trained(configs((16, 2, 3), trainer={"max_epochs": 1}), root)
    finally:
        device.limit(100 << 30)


def architectures(root: Path) -> Any:
    """All twelve, each with one seed and with two."""
    with finite():
        return {
            f"{sizes} {seeds}": trained(
                configs(sizes, optimizers=("adam", "sgd", "rmsprop"), losses=("mse",), seeds=seeds),
                root / f"{sizes}{seeds}",
            )
            for sizes, seeds in product(ARCHITECTURES, ((0,), (0, 1)))
        }


def no_capture(root: Path) -> Any:
    """On a GPU or a driver that refuses every capture."""
    with finite(), mock.patch.object(capture, "_capturing", side_effect=RuntimeError("no graphs here")):
        return trained(configs(optimizers=("sgd",)), root)


def study(sizes: Sequence[int]) -> list[RunConfig]:
    """The study's 18 configurations of a network, on ten batches."""
    data = {"name": "synthetic", "train_size": 640, "test_size": 200}
    trainer = {"enable_checkpointing": False}
    return [c for lr in (0.001, 0.01, 0.1) for c in configs(sizes, rates=(lr,), data=data, trainer=trainer)]


def two_budgets(root: Path) -> Any:
    return {"/".join(map(str, sizes)): counting.steps(study(sizes)) for sizes in ((32, 2, 1), (64, 3, 3))}


def all_budgets(root: Path) -> Any:
    grid = product((32, 64), (2, 3), (1, 3, 5))
    return {"/".join(map(str, sizes)): counting.steps(study(sizes)) for sizes in grid}


def main(directory: str, *names: str) -> None:
    assert torch.cuda.is_available(), "no null GPU in this process"
    model.initialise = lambda *_: None  # the weights are not looked at
    said: dict[str, Any] = {}
    for name in names:
        device.reset()
        try:
            what = globals()[name](Path(directory) / name)
        except Exception:
            what = traceback.format_exc()
        said[name] = {"result": what, **device.counts()}
    print("\n" + json.dumps(said), flush=True)
    os._exit(0)  # the libraries' own ends would look for a real GPU


if __name__ == "__main__":
    main(*sys.argv[1:])
