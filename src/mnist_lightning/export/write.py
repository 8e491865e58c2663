"""Files of a trained network, each compared with the network before it is kept."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mnist_lightning.data.datasets import scale
from mnist_lightning.errors import ConfigError, RefusedError, UserError, cut
from mnist_lightning.export.formats import FORMATS, Classifier, Function, quiet
from mnist_lightning.export.images import Images, images_of
from mnist_lightning.export.packages import PACKAGES, needed
from mnist_lightning.export.place import LOCK, Place, digest_of
from mnist_lightning.numerics.losses import probabilities
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.numerics.networks import Given
from mnist_lightning.records.durable import durable_file
from mnist_lightning.records.locks import alone
from mnist_lightning.records.versions import versions
from mnist_lightning.report.chosen import chosen
from mnist_lightning.training.checkpoints import checkpoint_at, load_classifier, sha256
from mnist_lightning.training.lightning_modules import MNISTClassifier

LARGEST_DIFFERENCE = 1e-5


@dataclass(frozen=True)
class Exported:
    """A file that was written; as a text the line that the command prints.

    `difference` is the largest one of its probabilities from the network's, over `images` test images of `dataset`, or
    of random pixels if that is empty.
    `aside` is where what was there before is now, if it was somebody's.
    """

    path: Path
    size: int
    difference: float
    images: int
    dataset: str
    aside: Path | None = None

    def __str__(self) -> str:
        kept = f"; what was there is kept as {self.aside.name}" if self.aside else ""
        largest = f"{self.difference:.1e}" if self.difference else "0"
        what = f"test images of {self.dataset}" if self.dataset else "images of random pixels"
        where = f"{self.images:,} {what}"
        return f"{self.path}: {_size(self.size)}, probabilities differ by at most {largest} on {where}{kept}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def export(
    checkpoint: str | Path,
    to: str | Iterable[str],
    out: str | Path | None = None,
    *,
    preprocess: bool = False,
    net: Given | str | None = None,
) -> list[Exported]:
    """Writes a trained network in other formats, each file checked before it is kept: what was written, in order.

    `checkpoint` is a last.ckpt or best.ckpt, a run's directory (its best.ckpt) or a sweep's (its best run). `to` names
    the formats, `"onnx,pt2"` or a sequence: onnx and pt2 (torch.export) take images [N, 1, 28, 28], float32 from 0 to 1
    or with `preprocess` raw uint8, and give probabilities float32 [N, 10]; safetensors holds the weights, see
    `weights.load_network`. The files go into `out`, by default the run's directory, and are called like that; a file
    there that is not as `export` left it is kept beside. All weights and outputs are float32. Every file is loaded
    again and compared with the network on up to 1,000 test images, and none is kept if the probabilities of one differ
    by more than 1e-5. Of a network of the user's `net` is given: itself, its class, what makes it, or its dotted name.

    Raises ConfigError for an unknown format or a package that is missing, RefusedError for a checkpoint that is none
    or cannot be expressed, OutputError for a file that cannot be written.

    >>> (file,) = export("outputs/small", "safetensors")  # the best run of the example of `sweep`
    >>> file.path.suffix, file.difference, file.images, file.dataset
    ('.safetensors', 0.0, 1000, 'synthetic')
    """
    names = formats_of(to)
    source = checkpoint_at(chosen(checkpoint).checkpoint)
    module = load_classifier(source, net)
    place = Place.of(source, out)
    with quiet():
        compared = Compared(module, images_of(place.run, module.shape), preprocess=preprocess)
        contents = {name: _content(name, compared.classifier, _description(module, source), source) for name in names}
    with alone(place.directory / LOCK):
        return _put(place, contents, compared, source)


def formats_of(to: str | Iterable[str]) -> list[str]:
    """The formats that are asked for, each once. Raises ConfigError for an unknown one or one that lacks a package."""
    asked = to.split(",") if isinstance(to, str) else list(to)
    names = list(dict.fromkeys(name.strip() for name in asked))
    for name in names or [""]:
        if name not in PACKAGES:
            raise ConfigError(f"--to={cut(name, 60)}: no such format; use {', '.join(PACKAGES)}")
    with quiet():
        for name in names:
            for package in PACKAGES[name]:
                needed(name, package)
    return names


class Compared:
    """A trained network, what of it is exported, and its probabilities [N, 10] of the images it is compared on.

    What computes in half precision does so in float32 elsewhere, from the same weights; it is compared with that.
    """

    def __init__(self, module: MNISTClassifier, images: Images, *, preprocess: bool) -> None:
        self.images = images
        dtype = torch.float64 if module.dtype == torch.float64 else torch.float32
        net = module.net.to(dtype)
        with torch.inference_mode():
            self.wanted = torch.cat([probabilities(net(scale(batch, dtype))) for batch in images.batches()])
        self.own = None if isinstance(net, ConvDenseNet) else copy.deepcopy(net).to(torch.float32)
        net = net.to(torch.float32).to(memory_format=torch.contiguous_format)
        self.classifier = Classifier(net, module.shape, preprocess=preprocess).eval().requires_grad_(False)

    def difference(self, function: Function) -> float:
        """The largest difference of what a file gives for the images; infinite where that is something else."""
        raw = self.classifier.preprocess
        with torch.inference_mode():
            found = torch.cat([function(batch if raw else scale(batch)) for batch in self.images.batches()])
        if found.shape != self.wanted.shape or not found.isfinite().all():
            return torch.inf
        return (found.double() - self.wanted.double()).abs().max().item()


def _description(module: MNISTClassifier, source: Path) -> str:
    """What each file says of itself: JSON of the package's version, the configuration, and the checkpoint's digest."""
    configuration = dict(module.hparams)
    about = {"version": versions()["version"], "configuration": configuration, "checkpoint_sha256": sha256(source)}
    return json.dumps(about)


def _content(name: str, classifier: Classifier, description: str, source: Path) -> bytes:
    try:
        return FORMATS[name].content(classifier, description)
    except UserError:
        raise
    except Exception as error:  # the exporters have no one type for a network that they cannot express
        what = cut(str(error), 70) or type(error).__name__
        raise RefusedError(f"{source}: refused, cannot be written as {name} ({what}); choose another format") from error


def _put(place: Place, contents: dict[str, bytes], compared: Compared, source: Path) -> list[Exported]:
    """Writes the files beside their places, compares what each computes, and only then moves all there."""
    digests = {place.path(name): digest_of(content) for name, content in contents.items()}
    done = []
    with ExitStack() as files:
        for name, content in contents.items():
            path = place.path(name)
            file = files.enter_context(durable_file(path))
            file.write(content)
            file.flush()
            with quiet():
                difference = compared.difference(FORMATS[name].load(Path(file.name), compared.own))
            if difference > LARGEST_DIFFERENCE:
                what = f"as {name} its probabilities differ by {difference:.1e}, more than {LARGEST_DIFFERENCE:g}"
                raise RefusedError(f"{source}: refused, {what}; nothing was kept, choose another run or format")
            images = compared.images
            done.append(Exported(path, len(content), difference, len(images.pixels), images.dataset))
        asides = place.make_room(digests)
    place.seal(digests)
    return [replace(written, aside=asides.get(written.path)) for written in done]
