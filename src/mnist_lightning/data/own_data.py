"""A data set of the user's, named by a configuration: read once, into tensors like those of MNIST."""

from __future__ import annotations

import inspect
import json
import operator
import socket
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mnist_lightning.config.components import DATASET, TARGET, Component
from mnist_lightning.data.files import DOWNLOAD_TIMEOUT_SECONDS
from mnist_lightning.data.splits import Whole
from mnist_lightning.data.tensors import whole_of
from mnist_lightning.errors import ConfigError, DataError, Problem, cut
from mnist_lightning.records.locks import waiting

KEY = f"data.{TARGET}"
_WAY_OUT = "see data.root and data.download"


def read_own(component: Component, root: str, download: bool) -> Whole:
    """Reads both parts of a data set that a configuration names, once in a process until `forget`.

    The class or function is asked for each part by its argument `train`, True and False, or else `split`, "train" and
    "test"; it is given `root` and `download` if it takes them. Its items are pairs of an image, as PIL or arrays
    [H, W] or [H, W, C] or tensors [H, W] or [C, H, W], all of one size, and a class, a whole number from 0. Raises
    ConfigError for code that is no such data set, DataError for data that are missing or are none.
    """
    return _read(json.dumps(component.identity(), sort_keys=True), root, download)


def forget() -> None:
    """Makes the next `read_own` read again."""
    _read.cache_clear()


@lru_cache(maxsize=2)
def _read(identity: str, root: str, download: bool) -> Whole:
    component = Component.of(json.loads(identity), KEY)
    parts = [_made(component, part, root, download) for part in (True, False)]
    train, test = (_arrays(component, dataset, name) for dataset, name in zip(parts, ("train", "test"), strict=True))
    names = getattr(parts[0], "classes", None)
    found = 1 + int(max(train[1].max(), test[1].max()))
    count = max(2, found, len(names) if isinstance(names, (list, tuple)) else 0)
    try:
        whole = whole_of(train, test, count)
    except (DataError, ConfigError) as error:
        raise DataError(f"{KEY}={component}: {error}") from error
    if torch.equal(whole.train.images, whole.test.images):  # a network that is tested on what it has seen says nothing
        raise DataError(f"{KEY}={component}: gives the same images for testing as for training; let it tell them apart")
    return whole


def check_own(component: Component) -> None:
    """Raises ConfigError unless the name is that of a data set, and the arguments fit; reads nothing."""
    _given(component, True, "", False)


def _given(component: Component, is_train: bool, root: str, download: bool) -> dict[str, Any]:
    """What we give the class or function ourselves. Raises ConfigError where it has no argument for the part."""
    takes = _parameters(component.code(KEY, DATASET))
    given: dict[str, Any] = {"root": root, "download": download}
    if "train" in takes:
        given["train"] = is_train
    elif "split" in takes:
        given["split"] = "train" if is_train else "test"
    else:
        what, way_out = "has no argument train or split", "write def name(train: bool) -> Dataset"
        raise ConfigError([Problem(KEY, component.target, what, way_out)])
    given = {name: value for name, value in given.items() if name in takes}
    for name in given.keys() & component.arguments.keys():
        what = "is given by us, for each part of the data"
        raise ConfigError([Problem(f"data.{name}", component.arguments[name], what, "leave it out")])
    component.check(KEY, DATASET, **given)
    return given


def _parameters(code: Callable[..., Any]) -> set[str]:
    """The names of the arguments, also of those that a class passes on to the class it is derived from."""
    if not isinstance(code, type):
        return set(inspect.signature(code).parameters)
    names: set[str] = set()
    for kind in code.__mro__:
        if "__init__" in vars(kind):
            parameters = inspect.signature(vars(kind)["__init__"]).parameters
            names |= parameters.keys() - {"self"}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                break
    return names


def _made(component: Component, is_train: bool, root: str, download: bool) -> Any:
    """The data set of one part: as it lies there, else fetched if it may be, by one process at a time."""
    given = _given(component, is_train, root, False)

    def make(**changes: bool) -> Any:
        with redirect_stdout(StringIO()):  # torchvision prints where it looks
            return component.build(KEY, DATASET, **{**given, **changes})

    try:
        return make()
    except ConfigError:
        raise
    except Exception as error:  # what somebody's class raises; torchvision's, where there are no files, RuntimeError
        if "download" not in given or not download:
            raise _missing(component, given, error) from error
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        with waiting(Path(root) / ".download.lock"):
            return make(download=True)
    except ConfigError:
        raise
    except Exception as error:
        raise _missing(component, given, error) from error
    finally:
        socket.setdefaulttimeout(before)


def _missing(component: Component, given: dict[str, Any], error: Exception) -> DataError:
    what = cut(f"{type(error).__name__}: {error}", 80)
    return DataError(f"{KEY}={component}: no data ({what}); {_WAY_OUT if 'root' in given else 'mend it'}")


def _arrays(component: Component, dataset: Any, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All images [N, C, H, W] or [N, H, W] and classes [N] of a data set."""
    if not hasattr(dataset, "__len__") or not len(dataset):
        raise DataError(f"{KEY}={component}: its part {part} has no length, or no image; give a Dataset with __len__")
    images, classes = [], []
    try:
        for i in range(len(dataset)):
            image, label = dataset[i]
            images.append(_tensor(image))
            classes.append(operator.index(label))
            if (size := [*images[-1].shape]) != (first := [*images[0].shape]):
                what = f"item {i} of its part {part} is {size}, not {first} as item 0"
                raise DataError(f"{KEY}={component}: {what}; make all images of one size")
        return torch.stack(images), torch.tensor(classes)
    except DataError:
        raise
    except Exception as error:  # whatever somebody's data set raises
        what = f"item {len(classes)} of its part {part} is no image with its class"
        told = cut(f"{type(error).__name__}: {error}", 80)
        raise DataError(f"{KEY}={component}: {what} ({told}); give pairs of an image and a whole number") from error


def _tensor(image: Any) -> torch.Tensor:
    """An image as a tensor [H, W] or [C, H, W]: a tensor as it is, PIL and arrays with their channels first."""
    if isinstance(image, torch.Tensor):
        return image
    if getattr(image, "mode", "") == "P":
        image = image.convert("RGB")
    elif getattr(image, "mode", "") == "1":
        image = image.convert("L")
    pixels = np.array(image)
    return torch.from_numpy(pixels if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0))
