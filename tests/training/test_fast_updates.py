"""A training updates its weights in one compiled pass where that pays, and nobody notices but by the clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from mnist_lightning import MNISTDataModule, RunConfig, train
from mnist_lightning.numerics import one_pass
from mnist_lightning.numerics.by_hand import ByHand
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.numerics.optimizers import KerasRMSprop
from mnist_lightning.training import fast_updates
from mnist_lightning.training.checkpoints import read_checkpoint
from mnist_lightning.training.heartbeats import Heartbeats
from mnist_lightning.training.trainer import FitWatch, build_trainer

SMALL: dict[str, Any] = {
    "model": {"num_channels": 2, "num_conv": 1, "num_dense": 1},
    "data": {"name": "synthetic", "train_size": 320, "test_size": 64},
    "progress": "none",
}
Weights = dict[str, torch.Tensor]
pytestmark = pytest.mark.usefixtures("worth_compiling")


class Looks(Callback):
    """A callback of the user's, which sees the gradients."""

    seen = 0

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        Looks.seen += sum(p.grad is not None for p in pl_module.parameters())


class LooksAndStops(EarlyStopping, Looks):
    """The same, made from one of Lightning's."""


class Interrupts(Callback):
    """Ends a training after its first epoch, as Ctrl-C does."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == 1 and not (Path(trainer.default_root_dir) / "interrupted").exists():
            (Path(trainer.default_root_dir) / "interrupted").touch()
            raise KeyboardInterrupt


def spec(kind: type) -> dict[str, Any]:
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}"}


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types of the weights of all steps that are computed by hand."""
    seen: list[str] = []
    computed = ByHand.loss

    def noted(self: ByHand, images: torch.Tensor, labels: torch.Tensor, loss: Any, *, are_pixels: bool) -> Any:
        assert are_pixels
        value, logits = computed(self, images, labels, loss, are_pixels=are_pixels)
        seen.append(str(logits.dtype).removeprefix("torch."))
        return value, logits

    monkeypatch.setattr(ByHand, "loss", noted)
    return seen


def trained(directory: Path, optimizer: str = "rmsprop", callbacks: Any = (), **trainer: Any) -> tuple[str, Weights]:
    """How the weights were updated, as the record says, and what they became."""
    given = {"precision": "bf16-mixed", "accelerator": "cpu", "max_epochs": 2, **trainer}
    result = train(RunConfig(optimizer=optimizer, callbacks=list(callbacks), trainer=given, **SMALL), directory)
    assert json.loads((directory / "result.json").read_text())["update"] == result.update
    return result.update, read_checkpoint(directory / "checkpoints" / "last.ckpt")["state_dict"]


def assert_close(ours: Weights, theirs: Weights) -> None:
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
        torch.testing.assert_close(x, theirs[name], rtol=1e-5, atol=1e-5, msg=name)


# not in 32-true: there the last digit of a weight decides which of two equal pixels a pooling takes
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_a_run_learns_the_same_as_by_torchs_operations(
    tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    how, ours = trained(tmp_path / "a", precision=precision)
    assert how == "compiled"
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    one_pass._compiled.cache_clear()
    how, theirs = trained(tmp_path / "b", precision=precision)
    one_pass._compiled.cache_clear()
    assert how == ""
    assert_close(ours, theirs)


@pytest.mark.parametrize("optimizer", ["torch_adam", "adagrad"])  # nothing is compiled for these
@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
@pytest.mark.parametrize("trainer", [{}, {"gradient_clip_val": 0.01}])
def test_a_run_computed_by_hand_ends_with_the_bits_that_autograd_gives(
    tmp_path: Path, optimizer: str, precision: str, trainer: dict[str, Any], by_hand: list[str]
) -> None:
    _, ours = trained(tmp_path / "a", optimizer, precision=precision, **trainer)
    computed = {"32-true": "float32", "64-true": "float64", "bf16-mixed": "bfloat16"}[precision]
    assert by_hand == [computed] * 2 * 5  # epochs, steps
    _, theirs = trained(tmp_path / "b", optimizer, [spec(Looks)], precision=precision, **trainer)
    assert len(by_hand) == 2 * 5
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_lightning_takes_the_step_where_gradients_are_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    through_lightning = L.LightningModule.optimizer_step

    def noted(self: L.LightningModule, epoch: int, batch_idx: int, *rest: Any) -> None:
        taken.append(batch_idx)
        through_lightning(self, epoch, batch_idx, *rest)

    monkeypatch.setattr(L.LightningModule, "optimizer_step", noted)
    trained(tmp_path / "a", max_epochs=1, precision="32-true")
    assert taken == []
    trained(tmp_path / "b", max_epochs=1, precision="32-true", gradient_clip_val=1.0)
    assert taken == [0, 1, 2, 3, 4]


class Other(L.LightningModule):
    """Somebody's module, that has something else by hand."""

    by_hand = True

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen: set[torch.dtype] = set()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen.add(batch[0].dtype)
        return self.weight.square()

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_batches_of_somebody_elses_module_are_floats(tmp_path: Path) -> None:
    module = Other()
    trainer = L.Trainer(
        default_root_dir=tmp_path, max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False
    )
    trainer.fit(module, MNISTDataModule("synthetic", train_size=64, test_size=10))
    assert module.seen == {torch.float32}


def frozen() -> ConvDenseNet:
    """A network of the user's, made from ours."""
    net = ConvDenseNet(2, 1, 1, seed=0)
    net.stem.requires_grad_(False)
    return net


def test_autograd_computes_a_network_of_the_users_made_from_ours(tmp_path: Path, by_hand: list[str]) -> None:
    given = {"precision": "32-true", "accelerator": "cpu", "max_epochs": 1}
    model = {"_target_": f"{__name__}.frozen"}
    config = RunConfig(model=model, data=SMALL["data"], progress="none", trainer=given)  # pyright: ignore[reportArgumentType] - as from YAML
    train(config, tmp_path / "run")
    assert by_hand == []
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    stem = last["state_dict"]["net.stem.weight"]
    assert torch.equal(stem, frozen().stem.weight)


def test_autograd_computes_for_an_optimizer_of_the_users(tmp_path: Path, by_hand: list[str]) -> None:
    trained(tmp_path / "run", f"{__name__}.Clips", max_epochs=1, precision="32-true")
    assert by_hand == []


@pytest.mark.parametrize(
    "trainer",
    [{"detect_anomaly": True}, {"accumulate_grad_batches": 2}, {"precision": "bf16-true"}, {"profiler": "simple"}],
)
def test_autograd_computes_where_somebody_would_notice(
    tmp_path: Path, trainer: dict[str, Any], by_hand: list[str]
) -> None:
    trained(tmp_path / "run", max_epochs=1, **{"precision": "32-true", **trainer})
    assert by_hand == []


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_loss_of_the_users_is_differentiated_by_autograd(tmp_path: Path, precision: str, by_hand: list[str]) -> None:
    ended = []
    for callbacks in ([], [spec(Looks)]):
        given = {"precision": precision, "accelerator": "cpu", "max_epochs": 1}
        loss = "torch.nn.functional.multi_margin_loss"
        config = RunConfig(loss=loss, callbacks=callbacks, trainer=given, **SMALL)
        train(config, tmp_path / str(len(callbacks)))
        ended.append(read_checkpoint(tmp_path / str(len(callbacks)) / "checkpoints" / "last.ckpt")["state_dict"])
    assert len(by_hand) == 5
    assert_close(*ended)


@pytest.mark.parametrize("callback", [spec(Looks), spec(LooksAndStops) | {"monitor": "val_loss"}])
def test_a_callback_of_the_users_sees_the_gradients(tmp_path: Path, callback: dict[str, Any]) -> None:
    _, ours = trained(tmp_path / "a")
    Looks.seen = 0
    how, theirs = trained(tmp_path / "b", callbacks=[callback])
    assert how == "compiled"  # with the gradients in float32
    assert Looks.seen == 2 * 5 * 8  # epochs, steps, parameters
    assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("optimizer", "trainer", "how"),
    [
        ("adam", {}, "compiled"),
        ("sgd", {}, "compiled"),
        ("adamax", {}, "compiled"),
        ("adagrad", {}, ""),
        ("torch_adam", {}, ""),
        ("adam", {"precision": "32-true"}, ""),  # torch's own kernel is as fast
        ("rmsprop", {"precision": "32-true"}, "compiled"),
        ("rmsprop", {"precision": "bf16-true"}, ""),
        ("adam", {"gradient_clip_val": 1.0}, ""),
        ("adam", {"accumulate_grad_batches": 2}, ""),
        ("rmsprop", {"gradient_clip_val": 1.0}, "compiled"),
    ],
)
def test_copies_are_for_our_rules_in_bf16_without_anything_done_to_the_gradients(
    tmp_path: Path, optimizer: str, trainer: dict[str, Any], how: str
) -> None:
    assert trained(tmp_path / "run", optimizer, max_epochs=1, **trainer)[0] == how


def test_early_stopping_does_not_keep_the_copies_away(tmp_path: Path) -> None:
    assert trained(tmp_path / "run", "adam", callbacks=[spec(EarlyStopping) | {"monitor": "val_loss"}])[0] == "compiled"


def test_a_short_training_is_not_compiled_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_updates, "WORTH_COMPILING", 1e6)  # 10 steps of 392,012 weights are 3.9e6
    assert trained(tmp_path / "a")[0] == "compiled"
    monkeypatch.setattr(fast_updates, "WORTH_COMPILING", 1e7)
    assert trained(tmp_path / "b")[0] == ""


def test_it_is_compiled_before_any_clock_of_the_training_starts(tmp_path: Path) -> None:
    config = RunConfig(callbacks=[spec(Looks)], **SMALL)
    trainer = build_trainer(config, tmp_path, FitWatch(), Heartbeats(tmp_path, ["run"]))
    callbacks = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(callbacks[0], fast_updates.FastUpdates)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_a_run_that_was_interrupted_ends_with_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    _, whole = trained(tmp_path / "whole", optimizer)
    directory = tmp_path / "interrupted"
    given = {"precision": "bf16-mixed", "accelerator": "cpu", "max_epochs": 2}
    config = RunConfig(optimizer=optimizer, callbacks=[spec(Interrupts)], trainer=given, **SMALL)
    # the callback is not known, so there are no copies: let it be
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interrupts, "__module__", "mnist_lightning.test")
        patch.setattr("mnist_lightning.training.trainer.code_of", lambda target, kind: Interrupts)
        with pytest.raises(KeyboardInterrupt):
            train(config, directory)
        result = train(config, directory, continue_interrupted=True)
    assert (result.update, result.epochs) == ("compiled", 2)
    resumed = read_checkpoint(directory / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


class Clips(KerasRMSprop):
    """An optimizer of the user's, made from one of ours, which looks at the gradients."""

    seen = 0

    def step(self, closure: Any = None) -> float | None:
        loss = None if closure is None else closure()
        Clips.seen += sum(p.grad is not None for group in self.param_groups for p in group["params"])
        super().step()
        return loss


def test_an_optimizer_of_the_users_made_from_one_of_ours_sees_the_gradients(tmp_path: Path) -> None:
    Clips.seen = 0
    assert trained(tmp_path / "run", f"{__name__}.Clips", max_epochs=1)[0] == ""
    assert Clips.seen == 5 * 8  # steps, parameters


def test_a_network_of_small_parameters_alone_is_not_compiled_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_pass, "PIECE", 10**6)
    assert trained(tmp_path / "run", max_epochs=1)[0] == ""
