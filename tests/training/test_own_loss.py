"""A loss and an optimizer of the user's: trained, recorded, resumed and refused as ours are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import own_components
from mnist_lightning import MNISTClassifier, MNISTDataModule, OptimizerConfig, RunConfig, train
from mnist_lightning.errors import ConfigError
from mnist_lightning.fused.groups import reason_to_train_alone
from mnist_lightning.records.run_directory import CONFIG, LAST
from mnist_lightning.report.frame import frame_of
from mnist_lightning.training.checkpoints import load_classifier, read_checkpoint
from mnist_lightning.training.interrupted import stored_config

P_LOSS = "own_components.p_loss"
Tiny = Callable[..., RunConfig]


def test_a_loss_of_the_users_that_is_ours_trains_to_the_same_weights(tiny: Tiny, tmp_path: Path) -> None:
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"loss": "mse"}, {"loss": P_LOSS}),
        ({"loss": "mae"}, {"loss": P_LOSS, "loss_options": {"power": 1.0}}),
        ({"loss": "cross_entropy"}, {"loss": "torch.nn.CrossEntropyLoss"}),
        (
            {"loss": "cross_entropy"},
            {"loss": "torch.nn.functional.cross_entropy", "loss_options": {"label_smoothing": 0.0}},
        ),
    ]
    for i, (ours, theirs) in enumerate(pairs):
        first, second = train(tiny(**ours), tmp_path / f"ours{i}"), train(tiny(**theirs), tmp_path / f"theirs{i}")
        assert second.loss_test == pytest.approx(first.loss_test, rel=1e-4)
        assert second.mse == pytest.approx(first.mse, rel=1e-4)


def test_a_loss_is_recorded_by_its_name_and_read_back(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(loss=P_LOSS, loss_options={"power": 3.0})
    result = train(config, tmp_path / "run")
    assert result.loss_func == "p_loss"
    assert result.run_name.startswith("RMSprop_p_loss_lr1e-03_num_channel2")
    assert stored_config(tmp_path / "run" / CONFIG) == config
    settings = frame_of([result, train(tiny(loss=P_LOSS), tmp_path / "other")], tmp_path, None)
    assert settings["setting"].nunique() == 2


def test_function_partial_and_name_are_one_configuration(tiny: Tiny) -> None:
    def config(**keys: Any) -> RunConfig:
        return RunConfig(**keys)

    named = config(loss=P_LOSS, loss_options={"power": 3.0})
    assert config(loss=partial(own_components.p_loss, power=3.0)).fingerprint == named.fingerprint
    assert config(loss={"_target_": P_LOSS, "power": 3.0}).fingerprint == named.fingerprint
    assert config(loss=own_components.p_loss).fingerprint == config(loss=P_LOSS).fingerprint != named.fingerprint
    assert "loss_options" not in config().identity()
    radam = config(optimizer=OptimizerConfig("torch.optim.RAdam", {"eps": 1e-7}))
    for given in (partial(torch.optim.RAdam, eps=1e-7), {"name": torch.optim.RAdam, "options": {"eps": 1e-7}}):
        assert config(optimizer=given).fingerprint == radam.fingerprint


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"loss": "own_components.unreduced"}, "loss=own_components.unreduced: gives [3], not one number; end it with"),
        (
            {"loss": "own_components.a_number"},
            "loss=own_components.a_number: gives a float, no tensor; compute it from",
        ),
        ({"loss": "own_components.no_gradient"}, "loss=own_components.no_gradient: has no gradient; compute it from"),
        ({"loss": "torch.nn.functional.relu"}, "loss=torch.nn.functional.relu: cannot take logits [3, 10] and labels"),
        ({"loss": "own_components.Weighted"}, "loss=own_components.Weighted: has weights of its own, and no optimizer"),
        ({"loss": "os.system"}, "loss=os.system: not a torch Module or a function -> Tensor; a function must say what"),
        (
            {"loss": P_LOSS, "loss_options": {"pwer": 1}},
            "loss_options.pwer=1: p_loss has no such argument; did you mean",
        ),
        ({"loss_options": {"x": 1}}, "loss_options={'x': 1}: loss=mse has no arguments; leave it out"),
        (
            {"optimizer.name": "torch.optim.RAdam", "optimizer.options": {"lr": 1}},
            "lr=1: is a key of its own; write lr=1",
        ),
        (
            {"optimizer.name": "torch.optim.RAdam", "optimizer.options": {"esp": 1}},
            "options.esp=1: RAdam has no such arg",
        ),
    ],
)
def test_what_is_no_loss_or_optimizer_is_refused_before_training(
    tiny: Tiny, tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        train(tiny(**changes), tmp_path / "run")
    assert what in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_optimizer_from_a_function_trains(tiny: Tiny, tmp_path: Path) -> None:
    ours = train(tiny(**{"optimizer.name": "torch_sgd", "lr": 0.5}), tmp_path / "ours")
    theirs = train(tiny(**{"optimizer.name": "own_components.make_sgd", "lr": 0.5}), tmp_path / "theirs")
    assert (theirs.loss, theirs.optimizer) == (ours.loss, "make_sgd")


def test_a_checkpoint_names_a_loss_and_never_imports_it(tiny: Tiny, tmp_path: Path) -> None:
    train(tiny(loss=P_LOSS, loss_options={"power": 3.0}), tmp_path / "run")
    last = tmp_path / "run" / LAST
    assert read_checkpoint(last)["hyper_parameters"]["criterion"] == {"_target_": P_LOSS, "power": 3.0}
    module = load_classifier(last)
    logits, labels = torch.randn(4, 10), torch.arange(4)
    with pytest.raises(ConfigError, match=f"loss={P_LOSS}: is named by a checkpoint, not by you; give the loss"):
        module.loss_function(logits, labels)
    for loss in (own_components.p_loss, P_LOSS):
        given = MNISTClassifier.load_from_checkpoint(last, loss=loss)
        assert given.loss_function(logits, labels) == own_components.p_loss(logits, labels, 3.0)


def test_a_loss_with_buffers_follows_the_network_and_is_no_part_of_it() -> None:
    module = MNISTClassifier(2, 1, 0, loss=nn.CrossEntropyLoss(weight=torch.ones(10))).double()
    value = module.loss_function(torch.zeros(2, 10, dtype=torch.float64), torch.tensor([0, 1]))
    assert value.dtype == torch.float64
    again = module.loss_function(torch.ones(2, 10, dtype=torch.float64), torch.tensor([0, 1]))
    torch.testing.assert_close(again, value)  # the buffers are where they belong already
    assert all(name.startswith("net.") for name in module.state_dict())


def test_a_local_function_can_be_the_loss_of_a_classifier(mini_mnist: Path) -> None:
    def local(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, labels)

    import lightning as L

    module = MNISTClassifier(2, 1, 0, loss=local, optimizer=torch.optim.RAdam)
    data = MNISTDataModule(root=str(mini_mnist))
    L.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu", enable_model_summary=False,
              enable_progress_bar=False).fit(module, data)  # fmt: skip
    assert module.hparams["criterion"]["_target_"].endswith("local")
    assert module.hparams["optimizer"] == "torch.optim.RAdam"


def test_it_is_trained_alone_and_that_is_said(tiny: Tiny) -> None:
    assert reason_to_train_alone(tiny(loss=P_LOSS)) == f"loss={P_LOSS} has no stacked form"
