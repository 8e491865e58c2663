"""safetensors: a network's weights with its configuration, written and read without pickle and without Lightning."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mnist_lightning.config import MNIST
from mnist_lightning.errors import RefusedError, UserError, cut
from mnist_lightning.export.packages import needed
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.records.reading import TELLING, read_regular, unreadable

METADATA = "mnist_lightning"  # the one key under which each format keeps the JSON of `describe`
_SIZES = ("num_channels", "num_conv", "num_dense")
_LARGEST_FILE = 2**34


def weights_as_bytes(net: nn.Module, description: str) -> bytes:
    """The content of a safetensors file: each weight under its name in the network, and the JSON `description`.

    The metadata of the file is {"mnist_lightning": description}. Raises ConfigError where safetensors is missing.
    """
    tensors = {name: weight.detach().contiguous() for name, weight in net.state_dict().items()}
    return needed("safetensors", "safetensors.torch").save(tensors, {METADATA: description})


def load_network(path: str | Path, net: nn.Module | None = None) -> nn.Module:
    """Reads the network of a safetensors file that `export` wrote: images float [N, 1, 28, 28] -> logits [N, 10].

    `net` is a network of the user's, which gets the weights; without it the file is of ours. On the CPU, ready to
    predict; nothing in the file is executed. Needs torch and safetensors, not Lightning. Raises RefusedError for
    another file, UnreadableError for one that cannot be read now, ConfigError where safetensors is missing.
    """
    parse = needed("safetensors", "safetensors.torch").load
    try:
        content = read_regular(Path(path), _LARGEST_FILE)
        if net is not None:
            net.load_state_dict(parse(content))
            return net.eval()
        return _network(_sizes(content), parse(content))
    except OSError as error:
        if error.errno not in TELLING:
            raise unreadable(Path(path), error) from error
        raise RefusedError(f"{path}: {error.strerror}; give a file that export wrote") from error
    except Exception as error:  # neither safetensors nor torch has one type for a file that is another
        what = str(error).partition(";")[0] if isinstance(error, UserError) else str(error)
        raise RefusedError(
            f"{path}: refused, no safetensors file of ours ({cut(what, 70)}); give one that export wrote"
        ) from error


def _sizes(content: bytes) -> dict[str, Any]:
    """The arguments of ConvDenseNet in a safetensors file; its header's length stands in its first eight bytes."""
    if len(content) < 8:
        raise ValueError("too short")
    (length,) = struct.unpack("<Q", content[:8])
    description = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][METADATA])
    found = description["configuration"]
    return {name: found[name] for name in _SIZES} | {k: found[k] for k in MNIST.arguments() if k in found}


def _network(sizes: dict[str, Any], weights: dict[str, Tensor]) -> ConvDenseNet:
    with torch.device("meta"):  # a file may describe a network larger than the memory
        net = ConvDenseNet(**sizes)
    if wrong := [name for name, weight in weights.items() if weight.dtype != torch.float32]:
        raise ValueError(f"{wrong[0]} is not float32")
    net.load_state_dict(weights, assign=True)
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - a stub is missing
    return net.eval()
