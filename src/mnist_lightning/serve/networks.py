"""The networks that read what is drawn: loaded when they are first asked, the last few kept."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lightning.errors import UserError, cut, one_line
from mnist_lightning.records.results import RECORD
from mnist_lightning.records.run_directory import BEST

if TYPE_CHECKING:
    from numpy import ndarray

    from mnist_lightning.training.lightning_modules import MNISTClassifier

MOST = 8  # networks side by side, and as many are kept
_Signs = tuple[tuple[int, int] | None, ...]


@dataclass
class Networks:
    """The classifiers of runs, by the run's directory and what its files were when they were read.

    An answer that there is none, a line, is kept as well: a damaged file is not read again with each stroke.
    """

    root: Path
    _kept: OrderedDict[Path, tuple[_Signs, MNISTClassifier | str]] = field(default_factory=OrderedDict)

    def answer(self, directories: Iterable[Path | None], image: ndarray | None) -> list[dict[str, Any]]:
        """What each run's network says of an image, uint8 [28, 28]: `probabilities` of the ten digits, or a `problem`.

        `directories` is where the runs are, None for one that is unknown; of no image nothing is said.
        """
        if image is None:
            return [{} for _ in directories]
        return [self._said(directory, image) for directory in directories]

    def _said(self, directory: Path | None, image: ndarray) -> dict[str, Any]:
        if directory is None:
            return {"problem": "no such run is here any more"}
        network = self._of(directory)
        if isinstance(network, str):
            return {"problem": network}
        import torch

        from mnist_lightning.numerics.losses import probabilities

        with torch.inference_mode():
            said = probabilities(network(torch.from_numpy(image)[None, None]))[0].tolist()
        if not all(map(math.isfinite, said)):
            return {"problem": "its answer is not a number"}
        return {"probabilities": said}

    def _of(self, directory: Path) -> MNISTClassifier | str:
        signs = tuple(_sign(directory / name) for name in (BEST, RECORD))
        if signs[0] is None:
            self._kept.pop(directory, None)
            return f"has no checkpoint now ({BEST})"
        if directory not in self._kept or self._kept[directory][0] != signs:
            network, is_final = self._load(directory)
            if not is_final:
                return network
            self._kept[directory] = (signs, network)
        self._kept.move_to_end(directory)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return self._kept[directory][1]

    def _load(self, directory: Path) -> tuple[MNISTClassifier | str, bool]:
        """The network, or a line that says why there is none; and whether the files must change to change that."""
        import torch

        from mnist_lightning.config import MNIST
        from mnist_lightning.errors import RefusedError
        from mnist_lightning.training.checkpoints import load_classifier

        torch.set_num_threads(1)  # the others are for whoever trains
        try:
            network = load_classifier(directory / BEST)
            if network.shape != MNIST:
                return f"is for {network.shape.num_classes} classes of images {network.shape}, not for digits", True
            return network, True
        except UserError as error:
            return one_line(str(error).replace(f"{self.root}/", "")), isinstance(error, RefusedError)
        except Exception as error:  # whatever torch makes of a file that changes while it is read
            return f"cannot be read now ({cut(str(error) or type(error).__name__, 80)})", False


def _sign(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
