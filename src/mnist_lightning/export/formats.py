"""The formats: how a network becomes the content of a file, and a file a function of images again."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mnist_lightning.config import MNIST, Shape
from mnist_lightning.errors import RefusedError
from mnist_lightning.export.packages import needed
from mnist_lightning.export.weights import METADATA, load_network, weights_as_bytes
from mnist_lightning.numerics.losses import probabilities

INPUT, OUTPUT = "images", "probabilities"
_ANY_BATCH = {INPUT: {0: Dim("batch", min=1)}}
_LARGEST_ONNX = 2**31 - 2**20  # bytes: protobuf holds no message of 2 GiB


class Classifier(nn.Module):
    """What is exported: images [N, C, H, W], of MNIST [N, 1, 28, 28] -> probabilities float32 [N, K], of MNIST [N, 10].

    The images are float32 from 0 to 1 or, with `preprocess`, raw uint8.
    """

    def __init__(self, net: nn.Module, shape: Shape = MNIST, *, preprocess: bool = False) -> None:
        super().__init__()
        self.net, self.shape, self.preprocess = net, shape, preprocess

    def forward(self, images: Tensor) -> Tensor:
        """Computes the probabilities [N, 10] of images [N, C, H, W]."""
        # not data's `scale`: its conversions are exported with checks that tie the program to the CPU
        return probabilities(self.net(images / 255 if self.preprocess else images))

    def program(self) -> ExportedProgram:
        """Traces it as a program of torch.export for any number of images, without the paths of our source."""
        dtype = torch.uint8 if self.preprocess else torch.float32
        example = torch.zeros(2, *self.shape[:3], dtype=dtype)
        program = torch.export.export(self, (example,), dynamic_shapes=_ANY_BATCH)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        return program


Function = Callable[[Tensor], Tensor]  # images [N, 1, 28, 28] as the file takes them -> probabilities [N, 10]


class Format(NamedTuple):
    """One kind of file: `content(classifier, description)` gives its bytes, `load(path, net)` what they compute.

    `net` is a network of the user's, into which weights alone are loaded; None is ours.
    """

    content: Callable[[Classifier, str], bytes]
    load: Callable[[Path, nn.Module | None], Function]


def onnx_content(classifier: Classifier, description: str) -> bytes:
    """The network as an ONNX model with the input `images`, the output `probabilities` and a free batch size.

    `description` is in its metadata. Raises RefusedError for a network that is too large for one file.
    """
    size = sum(weight.nbytes for weight in classifier.state_dict().values())
    if size > _LARGEST_ONNX:
        raise RefusedError(
            f"--to=onnx: {size / 1e9:.1f} GB of weights, and one file holds 2 GB; use pt2 or safetensors"
        )
    names = {"input_names": [INPUT], "output_names": [OUTPUT], "dynamic_shapes": _ANY_BATCH}
    exported = torch.onnx.export(classifier.program(), dynamo=True, verbose=False, **names)
    assert exported is not None
    model = exported.model_proto
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")  # where in torch, and in whose directory, it was made
        part.ClearField("doc_string")
    model.metadata_props.add(key=METADATA, value=description)
    return model.SerializeToString(deterministic=True)


def load_onnx(path: Path, net: nn.Module | None = None) -> Function:
    """What an ONNX file computes, by onnxruntime on the CPU."""
    onnxruntime = needed("onnx", "onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3  # errors alone
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


def pt2_content(classifier: Classifier, description: str) -> bytes:
    """The network as a program of torch.export with a free batch size; `description` is its extra file."""
    file = io.BytesIO()  # into a file of its own torch would write that file's name, too
    torch.export.save(classifier.program(), file, extra_files={f"{METADATA}.json": description})
    return file.getvalue()


def load_pt2(path: Path, net: nn.Module | None = None) -> Function:
    """What a file of torch.export computes."""
    with open(path, "rb") as file:
        return torch.export.load(file).module()  # pyright: ignore[reportArgumentType] - its stub knows no BinaryIO


def safetensors_content(classifier: Classifier, description: str) -> bytes:
    """The weights alone; whoever reads them knows the network, and scales the pixels."""
    return weights_as_bytes(classifier.net, description)


def load_safetensors(path: Path, net: nn.Module | None = None) -> Function:
    """What the network of a safetensors file computes, also of uint8 images."""
    loaded = load_network(path, net)
    return lambda images: Classifier(loaded, preprocess=images.dtype == torch.uint8)(images)


FORMATS = {
    "onnx": Format(onnx_content, load_onnx),
    "pt2": Format(pt2_content, load_pt2),
    "safetensors": Format(safetensors_content, load_safetensors),
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what torch's exporters print, log and warn from the user's screen."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
