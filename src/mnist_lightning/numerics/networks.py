"""The network of a configuration: the study's, or one of the user's."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from mnist_lightning.config import MNIST, ModelConfig, Shape, vanishing
from mnist_lightning.config.components import NETWORK, TARGET, Component
from mnist_lightning.errors import ConfigError, Problem, cut
from mnist_lightning.numerics.model import count_parameters, parameters_of

KEY = f"model.{TARGET}"
GIVE_NET = "give the network, its class or its dotted name again as net (--net)"
Given = nn.Module | Callable[..., nn.Module]  # a network, or what makes one: a class, function or partial


def build_network(own: Component, seed: int | None = None, shape: Shape = MNIST) -> nn.Module:
    """Makes a network of the user's, as `own_component` has it: images [N, C, H, W] -> logits [N, K].

    It gets `in_channels`, `image_size` and `num_classes` where its signature has them. A seed fixes its weights. Raises
    ConfigError for code that is no network, or whose arguments do not fit.
    """
    taken = _taken(own.code(KEY, NETWORK), shape.arguments())
    with seeded(seed):
        return Component(own.target, {**taken, **own.arguments}).build(KEY, NETWORK)


def own_component(model: ModelConfig) -> Component | None:
    """The network of the user's with all its arguments, also those of our keys that its signature has; or None."""
    component = model.component
    if component is None:
        return None
    ours = {name: getattr(model, name) for name in ModelConfig.replaced}
    return Component(component.target, {**_taken(component.code(KEY, NETWORK), ours), **component.arguments})


def network_from(
    given: Given, arguments: Mapping[str, Any], shape: Shape = MNIST, seed: int | None = None
) -> nn.Module:
    """Makes a network from what a caller of the library gave: itself, or a class or function, with `arguments`.

    Those of a `functools.partial` win; those of the shape are given where they are taken. Raises ConfigError for
    anything that is no network.
    """
    if isinstance(given, nn.Module):
        return given
    code, own = (given.func, given.keywords) if isinstance(given, partial) else (given, {})
    positional = given.args if isinstance(given, partial) else ()
    arguments = {} if positional else {**_taken(code, shape.arguments()), **arguments}
    try:
        with seeded(seed):
            net = code(*positional, **{**arguments, **own})
    except TypeError as error:
        raise ConfigError(
            [Problem("net", given, f"refused its arguments ({cut(str(error), 100)})", "see them")]
        ) from error
    if not isinstance(net, nn.Module):
        way_out = "give a torch Module, its class or a function that makes one"
        raise ConfigError([Problem("net", given, f"made {type(net).__name__}, not a torch Module", way_out)])
    return net


def description_of(given: Given) -> dict[str, Any]:
    """What a checkpoint says of a network that a caller gave: its name, and the arguments as far as they are known."""
    if isinstance(given, nn.Module):
        return {TARGET: f"{type(given).__module__}.{type(given).__qualname__}"}
    try:
        return Component.of(given, "net").identity()
    except ConfigError:  # a lambda or a local class has no name by which it could be found, and needs none here
        code = given.func if isinstance(given, partial) else given
        return {TARGET: getattr(code, "__qualname__", type(code).__name__)}


def check_network(model: ModelConfig, shape: Shape = MNIST) -> None:
    """Raises ConfigError unless the network fits such images: the study's in its size; of the user's it is tried."""
    if own := own_component(model):
        _check(_text(own), shape)
    elif problems := vanishing(model.num_conv, shape):
        raise ConfigError(problems)


@cache
def _check(described: str, shape: Shape) -> None:
    """A whole grid asks once for each network."""
    own = _described(described)
    net = build_network(own, 0, shape).eval()
    images = torch.zeros(2, shape.in_channels, shape.height, shape.width)
    try:
        with torch.no_grad(), seeded(0):
            logits = net(images)
    except Exception as error:  # whatever somebody's network raises
        what = f"cannot take images {[*images.shape]} ({type(error).__name__}: {cut(str(error), 80)})"
        raise ConfigError([Problem(KEY, own, what, "mend the network")]) from error
    found = [*logits.shape] if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != [len(images), shape.num_classes]:
        what = f"gives {found} for {len(images)} images, not logits [{len(images)}, {shape.num_classes}]"
        raise ConfigError([Problem(KEY, own, what, f"end it with {shape.num_classes} outputs")])


def parameters_in(model: ModelConfig, shape: Shape = MNIST) -> int:
    """Counts the trainable parameters of a configuration's network; one of the user's is made for that, once."""
    if own := own_component(model):
        return _parameters(_text(own), shape)
    return parameters_of(model.num_channels, model.num_conv, model.num_dense, shape)


@cache
def _parameters(described: str, shape: Shape) -> int:
    return count_parameters(build_network(_described(described), 0, shape))


def _text(own: Component) -> str:
    return json.dumps(own.identity(), sort_keys=True)


def _described(text: str) -> Component:
    return Component.of(json.loads(text), KEY)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Within the block torch's CPU generator starts from the seed, and afterwards it is where it was."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _taken(code: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments that the signature of somebody's code has."""
    try:
        names = inspect.signature(code).parameters
    except (TypeError, ValueError):  # some code written in C has none
        return {}
    return {name: value for name, value in offered.items() if name in names}
