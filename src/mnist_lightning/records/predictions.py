"""What a trained network says about the test set: the small file beside each record that figures are made from.

A report must not need a model, so training stores this. Needs numpy only, which is imported when first used.
"""

from __future__ import annotations

import io
import random
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.reading import read_regular

if TYPE_CHECKING:
    from numpy import ndarray

PREDICTIONS = "predictions.npz"
NUM_MISTAKES = 24  # as many as the report shows
NUM_SAMPLES = 9
_LARGEST_FILE = 32 * 2**20  # bytes; a test set of 60,000 images needs 0.2 MB
_LARGEST_SIDE = 64  # pixels of a picture: of larger images every second, third, ... pixel is kept
_MOST_CLASSES = 65_536


@dataclass(frozen=True)
class Predictions:
    """The final weights on the test set of N images, K of its mistakes, and S training images.

    Mistakes are ordered by the network's confidence, the largest softmax output, most confident first. Classes are
    uint8, or uint16 where there are more than 256. Pictures are grey, or [..., 3] of red, green and blue.
    """

    labels: ndarray  # uint8 [N]
    predicted: ndarray  # uint8 [N]
    confidence: ndarray  # float16 [N], 0 to 1
    mistake_images: ndarray  # uint8 [K, H, W], of MNIST 28 x 28
    mistake_labels: ndarray  # uint8 [K]
    mistake_predicted: ndarray  # uint8 [K]
    mistake_confidence: ndarray  # float32 [K], 0 to 1
    sample_images: ndarray  # uint8 [S, H, W]
    sample_labels: ndarray  # uint8 [S]
    num_classes: int = 10

    @property
    def num_wrong(self) -> int:
        return int((self.labels != self.predicted).sum())


def make_predictions(
    probabilities: Any, images: Any, labels: Any, train_images: Any, train_labels: Any, seed: int
) -> Predictions:
    """The file's content from softmax outputs [N, K], test images [N, C, H, W], uint8 or floats, and labels [N].

    Arrays or CPU tensors. The sample is nine training images chosen by `seed`. A tie of outputs goes to the
    first, as in the accuracy; NaN has the confidence 0 and goes last.
    """
    import numpy as np

    p = np.nan_to_num(np.asarray(probabilities, dtype=np.float64), nan=0.0)  # [N, K]
    kind = np.min_scalar_type(p.shape[-1] - 1)
    true = np.asarray(labels).astype(kind)
    predicted = p.argmax(-1).astype(kind)
    confidence = p.max(-1)
    wrong = np.flatnonzero(predicted != true)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:NUM_MISTAKES]
    shown = sorted(
        random.Random(f"sample {seed}").sample(range(len(train_labels)), min(NUM_SAMPLES, len(train_labels)))
    )
    return Predictions(
        labels=true,
        predicted=predicted,
        confidence=confidence.astype(np.float16),
        mistake_images=_pixels(images, chosen),
        mistake_labels=true[chosen],
        mistake_predicted=predicted[chosen],
        mistake_confidence=confidence[chosen].astype(np.float32),
        sample_images=_pixels(train_images, np.asarray(shown, dtype=np.int64)),
        sample_labels=np.asarray(train_labels).astype(kind)[shown],
        num_classes=p.shape[-1],
    )


def _pixels(images: Any, rows: Any) -> ndarray:
    """Pictures uint8 [S, H, W] or [S, H, W, 3] of these rows of images [N, C, H, W].

    Floats from 0 to 1 become 0 to 255, and others what is black and white among them. Of images that are neither grey
    nor of three channels the mean over the channels is shown.
    """
    import numpy as np

    chosen = np.asarray(images)[rows]
    step = -(-max(chosen.shape[2:]) // _LARGEST_SIDE)
    chosen = chosen[:, :, ::step, ::step]
    if chosen.dtype != np.uint8:
        low, high = (chosen.min(), chosen.max()) if chosen.size else (0, 1)
        low, high = min(low, 0), max(high, 1) if low >= 0 else high
        chosen = np.rint((chosen.astype(np.float64) - low) / (high - low or 1) * 255)
    grey = chosen.mean(1) if chosen.shape[1] != 3 else np.moveaxis(chosen, 1, -1)
    return np.ascontiguousarray(grey.astype(np.uint8))


def save_predictions(predictions: Predictions, directory: Path) -> Path:
    """Write the file into a run's directory, whole or not at all. Raises OutputError."""
    import numpy as np

    out = io.BytesIO()
    np.savez_compressed(out, **{f.name: getattr(predictions, f.name) for f in fields(predictions)})
    write_durably(directory / PREDICTIONS, out.getvalue())
    return directory / PREDICTIONS


def load_predictions(directory: Path) -> Predictions | None:
    """The file of a run's directory, or None where there is none, as in runs of earlier versions.

    Raises RefusedError for a file that is damaged, too large, or not ours. Nothing in it is ever executed.
    """
    path = directory / PREDICTIONS
    try:
        content = read_regular(path, _LARGEST_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error
    try:
        return _parse(content)
    except Exception as error:  # BadZipFile, zlib.error, MemoryError, SyntaxError: whatever a damaged file sets off
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> RefusedError:
    return RefusedError(f"{path}: not whole predictions ({str(error)[:60]}); delete it, the report works without")


def _parse(content: bytes) -> Predictions:
    import numpy as np

    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # an unpacked size is only a promise, but reading keeps to it
        if sum(entry.file_size for entry in archive.infolist()) > _LARGEST_FILE:
            raise ValueError("too large")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        values = {f.name: stored[f.name] for f in fields(Predictions) if f.name != "num_classes"}
        classes = int(stored["num_classes"]) if "num_classes" in stored else 10  # as all had before there were others
    if not 2 <= classes <= _MOST_CLASSES:
        raise ValueError(f"num_classes is {classes}")
    found = Predictions(**values, num_classes=classes)
    _check(found)
    return found


def _check(found: Predictions) -> None:
    """Raises ValueError unless the arrays are of the shapes and types that belong together."""
    n, k, s = len(found.labels), len(found.mistake_labels), len(found.sample_labels)
    height, width, *colours = found.sample_images.shape[1:]
    if max(height, width) > _LARGEST_SIDE or colours not in ([], [3]):
        raise ValueError(f"sample_images is {found.sample_images.dtype} {found.sample_images.shape}")
    shapes = {
        **dict.fromkeys(("labels", "predicted", "confidence"), (n,)),
        **dict.fromkeys(("mistake_labels", "mistake_predicted", "mistake_confidence"), (k,)),
        "mistake_images": (k, height, width, *colours),
        "sample_images": (s, height, width, *colours),
        "sample_labels": (s,),
    }
    for name, shape in shapes.items():
        array = getattr(found, name)
        wanted = "f" if name.endswith("confidence") else "u"
        if array.shape != shape or array.dtype.kind != wanted:
            raise ValueError(f"{name} is {array.dtype} {array.shape}")
        if array.dtype.kind == "f" and not bool(((array >= 0) & (array <= 1)).all()):
            raise ValueError(f"{name} is not between 0 and 1")
        if name.endswith(("labels", "predicted")) and array.size and int(array.max()) >= found.num_classes:
            raise ValueError(f"{name} holds {int(array.max())}")
