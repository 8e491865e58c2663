"""safetensors: the way back into a network, and what is refused there."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mnist_lightning.errors import RefusedError
from mnist_lightning.export.weights import load_network, weights_as_bytes
from mnist_lightning.numerics.model import ConvDenseNet

pytest.importorskip("safetensors", reason='pip install "mnist-lightning[safetensors]"')
SIZES = {"num_channels": 2, "num_conv": 1, "num_dense": 1}


def content(net: ConvDenseNet | None = None, **sizes: object) -> bytes:
    """The file of a network, whose configuration is said to be `sizes`."""
    return weights_as_bytes(net or ConvDenseNet(**SIZES, seed=3), json.dumps({"configuration": {**SIZES, **sizes}}))


def test_the_network_that_is_read_computes_bit_for_bit_what_the_one_that_was_written_does(tmp_path: Path) -> None:
    net = ConvDenseNet(**SIZES, seed=3)
    (tmp_path / "net.safetensors").write_bytes(content(net))
    read = load_network(tmp_path / "net.safetensors")
    images = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(read(images), net(images))
    assert not read.training
    assert all(weight.device.type == "cpu" and weight.requires_grad for weight in read.parameters())


def test_other_programs_find_plain_tensors_under_the_networks_names(tmp_path: Path) -> None:
    from safetensors.numpy import load  # pyright: ignore[reportMissingImports] - an extra

    weights = load(content())
    assert weights["stem.weight"].shape == (2, 1, 3, 3)
    assert weights.keys() == ConvDenseNet(**SIZES).state_dict().keys()


def test_reading_it_loads_neither_lightning_nor_pickle_files(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(content())
    script = (
        "import sys, torch; sys.modules['lightning'] = None; torch.load = None\n"
        "from mnist_lightning.export.weights import load_network; print(load_network(sys.argv[1]).output)"
    )
    command = [sys.executable, "-c", script, tmp_path / "net.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("Dense(in_features=1000, out_features=10"), done.stderr


def header(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (b"", "too short"),
        (b"abc", "too short"),
        (b"no safetensors file at all", ""),
        (struct.pack("<Q", 2**63) + b"{}", ""),
        (header("{}"), "__metadata__"),
        (header('{"__metadata__": {"mnist_lightning": "{}"}}'), "configuration"),
        (header('{"__metadata__": {"mnist_lightning": "[" }}'), ""),
        (header("[" * 100_000), ""),
        (content()[:-1], ""),
        (content(num_channels=4096, num_conv=4, num_dense=100), ""),
        (content(num_conv=9), "the image vanishes"),
        (content(num_channels="many"), "not a whole number"),
        (content(num_dense=0), ""),
        (content(ConvDenseNet(3, 1, 1)), ""),
        (content(ConvDenseNet(**SIZES).double()), "is not float32"),
        (content(ConvDenseNet(**SIZES).bfloat16()), "is not float32"),
    ],
    ids=range(16),
)
def test_another_file_is_refused_in_one_line(wrong: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(wrong)
    with pytest.raises(RefusedError) as refused:
        load_network(path)
    said = str(refused.value)
    assert said.startswith(f"{path}: refused, no safetensors file of ours (")
    assert said.endswith("); give one that export wrote")
    assert what in said
    assert len(said) < 200 + len(str(path))
    assert "\n" not in said


def test_a_missing_file_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"none\.safetensors: No such file or directory; give a file that export"):
        load_network(tmp_path / "none.safetensors")
