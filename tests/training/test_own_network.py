"""A network of the user's: trained, recorded, resumed, loaded and exported as ours is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import own_components
from mnist_lightning import MNISTClassifier, RunConfig, export, predict, train
from mnist_lightning.config import parse
from mnist_lightning.errors import ConfigError, RefusedError
from mnist_lightning.export.weights import load_network
from mnist_lightning.fused.groups import reason_to_train_alone
from mnist_lightning.records.run_directory import BEST, CONFIG, LAST
from mnist_lightning.report.frame import frame_of
from mnist_lightning.training.checkpoints import load_classifier, read_checkpoint
from mnist_lightning.training.interrupted import stored_config

NET = {"_target_": "own_components.Net", "width": 3}
Tiny = Callable[..., RunConfig]


def own(tiny: Tiny, model: object = NET, **changes: object) -> RunConfig:
    config = tiny(**changes)
    config.model = model  # pyright: ignore[reportAttributeAccessIssue] - a section may be given in other ways
    config.check()
    return config


@pytest.fixture
def trained(tiny: Tiny, tmp_path: Path) -> Path:
    train(own(tiny), tmp_path / "run")
    return tmp_path / "run"


def test_a_network_of_the_users_is_trained_and_recorded(tiny: Tiny, tmp_path: Path) -> None:
    result = train(own(tiny), tmp_path / "run")
    assert result.status == "completed"
    assert result.num_parameters == 28 * 28 * 3 + 3 + 3 * 10 + 10
    assert (result.num_channels, result.num_conv, result.num_dense) == (None, None, None)
    assert result.network == "own_components.Net(width=3)"
    assert result.run_name.startswith("RMSprop_mse_lr1e-03_Net_")
    frame = frame_of([result])
    assert frame["architecture"].tolist() == ["Net(width=3)"]
    assert frame["setting"].tolist() == ["RMSprop mse 0.001 Net(width=3)"]


def test_the_same_seed_gives_the_same_network_whatever_was_drawn_before(tiny: Tiny) -> None:
    def weights(seed: int) -> Tensor:
        return MNISTClassifier.from_config(own(tiny, seed=seed)).net.state_dict()["layers.1.weight"]

    before = torch.random.get_rng_state()
    first = weights(1)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(weights(1), first)
    assert not torch.equal(weights(2), first)


def test_class_partial_and_dictionary_are_one_configuration_and_can_be_read_back(tiny: Tiny, trained: Path) -> None:
    config = own(tiny)
    for model in (partial(own_components.Net, width=3), partial(own_components.Net, 3), NET):
        assert own(tiny, model).fingerprint == config.fingerprint
    assert stored_config(trained / CONFIG) == config
    assert own(tiny, {**NET, "width": 4}).fingerprint != config.fingerprint
    assert own(tiny, own_components.make_net).fingerprint != config.fingerprint
    assert parse(config.written()).run_name == config.run_name


def test_the_study_s_network_by_its_name_takes_our_keys(tiny: Tiny, tmp_path: Path) -> None:
    named = own(tiny, {"_target_": "mnist_lightning.ConvDenseNet", "num_channels": 2, "num_conv": 1})
    net = MNISTClassifier.from_config(named).net
    ours = MNISTClassifier(2, 1, 1).net
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in ours.state_dict().items()}
    by_class = RunConfig(model=partial(own_components.ManyChannels))  # pyright: ignore[reportArgumentType]
    assert by_class.model.num_channels == 5  # its own default, not the key's


def test_a_checkpoint_holds_no_code_and_loads_with_the_network_given(trained: Path) -> None:
    wanted = read_checkpoint(trained / LAST, net=own_components.Net)["state_dict"]
    with pytest.raises(
        RefusedError, match=r"has the weights of own_components.Net, and code is never taken from a fil"
    ):
        load_classifier(trained / LAST)
    with pytest.raises(ConfigError, match=r"net=null: the weights are of own_components.Net; give the network"):
        MNISTClassifier.load_from_checkpoint(trained / LAST)
    for net in (own_components.Net, own_components.Net(3), own_components.make_net, "own_components.Net"):
        loaded = [load_classifier(trained / LAST, net).state_dict()]
        if not isinstance(net, str):
            loaded.append(MNISTClassifier.load_from_checkpoint(trained / LAST, net=net).state_dict())
        for state in loaded:
            assert state.keys() == wanted.keys()
            assert all(torch.equal(state[k], wanted[k]) for k in wanted)


def test_another_network_than_the_one_that_was_trained_is_refused(trained: Path) -> None:
    with pytest.raises(RefusedError, match="no plain-weights checkpoint of ours"):
        load_classifier(trained / LAST, own_components.Net(4))
    with pytest.raises(ConfigError, match="net=torch.optim.Adam: not a torch Module"):
        load_classifier(trained / LAST, "torch.optim.Adam")
    with pytest.raises(ConfigError, match=r"net=.*: refused its arguments \(.*width"):
        load_classifier(trained / LAST, nn.Linear)


def test_an_interrupted_run_goes_on_to_the_same_end(tiny: Tiny, tmp_path: Path) -> None:
    model = {"_target_": "own_components.Dropping"}
    whole = train(own(tiny, model, **{"trainer.max_epochs": 3}), tmp_path / "whole")
    callback = {"_target_": "own_components.StopAfter", "epochs": 2}
    cut = own(tiny, model, **{"trainer.max_epochs": 3})
    with_fault = own(tiny, model, **{"trainer.max_epochs": 3}, callbacks=[callback])
    with pytest.raises(RuntimeError, match="stopped"):
        train(with_fault, tmp_path / "cut")
    (tmp_path / "cut" / CONFIG).write_text((tmp_path / "whole" / CONFIG).read_text())
    resumed = train(cut, tmp_path / "cut", continue_interrupted=True)
    assert (resumed.loss, resumed.loss_test) == (whole.loss, whole.loss_test)
    ends = [
        read_checkpoint(tmp_path / name / LAST, net=own_components.Dropping)["state_dict"] for name in ("whole", "cut")
    ]
    assert all(torch.equal(ends[0][k], ends[1][k]) for k in ends[0])


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("own_components.FiveOutputs", "gives [2, 5] for 2 images, not logits [2, 10]; end it with 10 outputs"),
        ("torch.nn.Identity", "gives [2, 1, 28, 28] for 2 images, not logits [2, 10]; end it with 10 outputs"),
        ("own_components.Crashing", "cannot take images [2, 1, 28, 28] (RuntimeError: of no use); mend the network"),
    ],
)
def test_what_gives_no_ten_logits_is_refused_before_training(
    tiny: Tiny, tmp_path: Path, target: str, what: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        train(own(tiny, {"_target_": target}), tmp_path / "run")
    assert str(caught.value) == f"model._target_={target}: {what}"
    assert not (tmp_path / "run").exists()


def test_it_is_trained_alone_and_that_is_said(tiny: Tiny) -> None:
    assert reason_to_train_alone(own(tiny)) == "model._target_=own_components.Net cannot be stacked"


def test_predict_and_export_take_the_network_given(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"give the network, its class or its dotted name again as net \(--net\)"):
        export(trained / BEST, "pt2", tmp_path)
    written = export(trained / BEST, "pt2,safetensors", tmp_path, net="own_components.Net")
    assert [w.path.suffix for w in written] == [".pt2", ".safetensors"]
    assert all(w.difference <= 1e-6 for w in written)
    state = load_network(written[1].path, own_components.Net(3)).state_dict()
    wanted = load_classifier(trained, own_components.Net).net.state_dict()
    assert all(torch.equal(state[k], wanted[k]) for k in wanted)
    assert predict(trained, [], net=own_components.Net) == []


def test_a_module_with_other_state_than_weights_is_saved_and_loaded(tiny: Tiny, tmp_path: Path) -> None:
    train(own(tiny, {"_target_": "own_components.Normed"}), tmp_path / "run")
    state = load_classifier(tmp_path / "run", own_components.Normed).state_dict()
    assert state["net.layers.1.num_batches_tracked"].item() > 0
