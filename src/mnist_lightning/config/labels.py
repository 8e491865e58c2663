"""Names for people: what tells configurations apart, in the order in which the study names them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

from mnist_lightning.config.components import TARGET
from mnist_lightning.config.keys import (
    DECOUPLED,
    FINGERPRINT_IN_NAME,
    KERAS,
    fingerprint_of,
    loss_label,
    optimizer_label,
)

Name = TypeVar("Name", bound=Hashable)

SIZES = ("model.num_channels", "model.num_conv", "model.num_dense")
_WEIGHT_DECAY, _DECOUPLED = "optimizer.options.weight_decay", f"optimizer.options.{DECOUPLED}"
_MODEL = "model."
_NETWORK = f"{_MODEL}{TARGET}"  # a network of the user's, whose arguments stand beside it
_NAMED = ("optimizer.name", "loss", "lr", "seed")  # what a label says without its key, besides the network
_LONGEST_VALUE = 30


def flat(config: Mapping[str, Any]) -> dict[str, str]:
    """Every dotted key of a configuration that has a value, as a text."""
    texts: dict[str, str] = {}

    def walk(prefix: str, node: Any) -> None:
        if isinstance(node, Mapping):
            for key, value in node.items():
                walk(f"{prefix}.{key}" if prefix else str(key), value)
        elif node not in (None, []):
            texts[prefix] = node if isinstance(node, str) else json.dumps(node, default=str)

    walk("", config)
    return texts


def as_given(config: Mapping[str, Any]) -> dict[str, str]:
    """As `flat`, by the keys that are given, for people: the identity has another one for Keras' weight decay."""
    texts = flat(config)
    return {given_key(key, texts.get("optimizer.name")): text for key, text in texts.items()}


def given_key(key: str, optimizer: str | None) -> str:
    """The key that stands for a key of the identity where a configuration with this optimizer is given."""
    return _WEIGHT_DECAY if key == _DECOUPLED and optimizer in KERAS else key


def identity_keys(key: str) -> set[str]:
    """The keys of the identity that a key may stand for where it is given."""
    return {key, _DECOUPLED} if key == _WEIGHT_DECAY else {key}


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Each dotted key by its last word, or whole where two of them end alike; `data.name` is `data`."""
    words = {key: key.removesuffix(".name").removesuffix(f".{TARGET}").rpartition(".")[2] for key in keys}
    ends = Counter(words.values())
    return {key: word if ends[word] == 1 else key for key, word in words.items()}


def varying(configs: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many values each dotted key takes, no value being one, of those that take several."""
    texts = [as_given(config) for config in configs]
    keys = dict.fromkeys(key for known in texts for key in known)
    counts = {key: len({known.get(key) for known in texts}) for key in keys}
    return {key: n for key, n in counts.items() if n > 1}


def labels(configs: Mapping[Name, Mapping[str, Any]]) -> dict[Name, str]:
    """A short name for each configuration, as `RunConfig.identity()` gives it, from the keys that vary among them.

    `Adam mse 0.01 batch_size=32 seed 1`; no two are alike. Where nothing varies, as `label_of` does.
    """
    vary = varying(configs.values())
    if not vary:
        return {name: label_of(config) for name, config in configs.items()}
    further = short_keys(key for key in vary if not _is_named(key))
    told = {name: _label(as_given(config), vary, further) for name, config in configs.items()}
    alike = Counter(told.values())
    fingerprints = {n: fingerprint_of(c)[:FINGERPRINT_IN_NAME] for n, c in configs.items() if alike[told[n]] > 1}
    return {name: " ".join(filter(None, [text, fingerprints.get(name)])) for name, text in told.items()}


def label_of(config: Mapping[str, Any]) -> str:
    """The name of a configuration beside which there is no other: `RMSprop mse 0.001 32/2/1`."""
    texts = as_given(config)
    return _label(texts, ("optimizer.name", "loss", "lr", *_network_keys(texts)), {})


def difference(config: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What sets a configuration apart from the other, by its keys: `lr=0.1, max_epochs=3`; empty for equal ones."""
    texts = as_given(config)
    keys = short_keys(varying([config, other]))
    return ", ".join(f"{short}={texts.get(key, 'null')[:_LONGEST_VALUE]}" for key, short in keys.items())


def label_by(config: Mapping[str, Any], keys: Iterable[str]) -> str:
    """The name of a configuration of which `keys` were drawn, and who knows how many others there will be.

    As `label_of`, and what else was drawn: `RMSprop mse 0.0271 32/2/1 batch_size=32 seed 1`.
    """
    texts = as_given(config)
    further = short_keys(key for key in keys if not _is_named(key) and key in texts)
    return _label(texts, ("optimizer.name", "loss", "lr", *_network_keys(texts), *keys), further)


def _is_named(key: str) -> bool:
    return key in _NAMED or key.startswith(_MODEL)


def _network_keys(texts: Mapping[str, str]) -> list[str]:
    return [key for key in texts if key.startswith(_MODEL)]


def _label(texts: Mapping[str, str], keys: Iterable[str], further: Mapping[str, str]) -> str:
    keys = set(keys)
    words = [optimizer_label(texts.get("optimizer.name", ""))] if "optimizer.name" in keys else []
    words += [loss_label(texts.get(key, "")) for key in ("loss",) if key in keys]
    words += [_number(texts.get(key, "")) for key in ("lr",) if key in keys]
    if network := [key for key in keys if key.startswith(_MODEL)]:
        words.append(_network(texts, network))
    words += [f"{short}={texts.get(key, 'null')[:_LONGEST_VALUE]}" for key, short in further.items()]
    words += [f"seed {texts.get('seed', '?')}"] if "seed" in keys else []
    return " ".join(filter(None, words))


def _network(texts: Mapping[str, str], keys: Iterable[str]) -> str:
    """`32/2/1`; one of the user's by its name and those of its arguments that are among `keys`: `Net(width=8)`."""
    if _NETWORK not in texts:
        return "/".join(texts.get(key, "?") for key in SIZES)
    told = {key.removeprefix(_MODEL): texts[key][:_LONGEST_VALUE] for key in sorted(keys) if key in texts}
    told.pop(TARGET, None)
    arguments = ", ".join(f"{name}={text}" for name, text in told.items())
    return texts[_NETWORK].rpartition(".")[2] + (f"({arguments})" if arguments else "")


def _number(text: str) -> str:
    try:
        return f"{float(text):g}"
    except ValueError:
        return text
