"""The user's networks: what makes one, what it is given, how it is described and counted."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import own_components
from mnist_lightning.config import ModelConfig, Shape
from mnist_lightning.errors import ConfigError
from mnist_lightning.numerics.model import ConvDenseNet, parameters_of
from mnist_lightning.numerics.networks import check_network, description_of, network_from, parameters_in

COLOURED = Shape(3, 32, 20, 7)
OURS_BY_NAME = "mnist_lightning.ConvDenseNet"


@pytest.mark.parametrize("shape", [Shape(), COLOURED])
def test_a_network_by_its_name_has_as_many_parameters_as_for_the_images_it_is_made_for(shape: Shape) -> None:
    ours, theirs = ModelConfig(2, 1, 1), ModelConfig(2, 1, 1, OURS_BY_NAME)
    assert parameters_in(ours, shape) == parameters_in(theirs, shape) == parameters_of(2, 1, 1, shape)


def test_a_network_that_was_made_is_taken_as_it_is() -> None:
    net = own_components.Net()
    assert network_from(net, {"width": 3}, COLOURED, seed=1) is net


def test_a_class_gets_the_shape_it_takes_and_the_arguments_of_a_partial_win() -> None:
    made: Any = network_from(partial(ConvDenseNet, num_channels=3), {"num_channels": 2, "num_conv": 1}, COLOURED, 0)
    assert (made.stem.in_channels, made.stem.out_channels, made.output.out_features) == (3, 3, 7)
    assert network_from(own_components.Net, {"width": 5}, COLOURED)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_arguments_by_position_are_all_there_are() -> None:
    made: Any = network_from(partial(own_components.Net, 4), {"width": 9})
    assert made.layers[1].out_features == 4


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (own_components.make_number, "made int, not a torch Module; give a torch Module, its class or a function"),
        (partial(own_components.Net, **{"wdith": 3}), "refused its arguments"),
    ],
)
def test_what_makes_no_network_is_refused(given: Any, what: str) -> None:
    with pytest.raises(ConfigError, match=rf"^net=.*{what}"):
        network_from(given, {})


def test_the_seed_decides_the_weights_and_without_one_the_global_generator() -> None:
    def weight(seed: int | None) -> torch.Tensor:
        net: Any = network_from(own_components.Net, {"width": 2}, seed=seed)
        return net.layers[1].weight

    torch.manual_seed(3)
    drawn = weight(None)
    assert torch.equal(weight(3), drawn)
    assert not torch.equal(weight(None), drawn)


def test_a_network_is_described_by_its_name_and_its_arguments_as_far_as_there_are_any() -> None:
    named = {"_target_": "own_components.Net"}
    assert description_of(own_components.Net()) == description_of(own_components.Net) == named
    assert description_of(partial(own_components.Net, 4)) == {**named, "width": 4}
    nameless = description_of(partial(lambda width: own_components.Net(width), 4))
    assert nameless.keys() == {"_target_"}
    assert nameless["_target_"].endswith("<lambda>")


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (ModelConfig(2, 4, 1), "model.num_conv=4: the image vanishes: 8 pixels halve to 8, 4, 2, 1 and then nothing"),
        (
            ModelConfig(2, 4, 1, OURS_BY_NAME),
            r"model._target_=mnist_lightning.ConvDenseNet: refused by ConvDenseNet \(.*vanishes",
        ),
        (
            ModelConfig(_target_="own_components.Net"),
            r"model._target_=own_components.Net: cannot take images \[2, 1, 8, 8\] \(RuntimeError: ",
        ),
        (
            ModelConfig(_target_="own_components.FiveOutputs"),
            r"model._target_=own_components.FiveOutputs: gives \[2, 5\] for 2 images, not logits \[2, 10\]; end it",
        ),
    ],
)
def test_a_network_that_does_not_fit_the_images_is_refused(model: ModelConfig, what: str) -> None:
    with pytest.raises(ConfigError, match=f"^{what}"):
        check_network(model, Shape(1, 8, 8, 10))


def test_a_network_that_fits_passes() -> None:
    assert check_network(ModelConfig(2, 3, 1), Shape(1, 8, 8, 10)) is None
    assert check_network(ModelConfig(2, 1, 1, OURS_BY_NAME), COLOURED) is None


def test_code_without_a_signature_gets_what_it_is_given_and_no_shape() -> None:
    class Odd(type):
        @property
        def __signature__(cls) -> Any:
            raise ValueError("no signature")

    class Net(nn.Module, metaclass=Odd):
        def __init__(self, **arguments: Any) -> None:
            super().__init__()
            self.given = arguments

    made: Any = network_from(Net, {"width": 3}, COLOURED)
    assert made.given == {"width": 3}
