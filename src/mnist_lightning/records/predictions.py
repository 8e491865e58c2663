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
_SIDE = 28


@dataclass(frozen=True)
class Predictions:
    """The final weights on the test set of N images, K of its mistakes, and S training images.

    Mistakes are ordered by the network's confidence, the largest softmax output, most confident first.
    """

    labels: ndarray  # uint8 [N]
    predicted: ndarray  # uint8 [N]
    confidence: ndarray  # float16 [N], 0 to 1
    mistake_images: ndarray  # uint8 [K, 28, 28]
    mistake_labels: ndarray  # uint8 [K]
    mistake_predicted: ndarray  # uint8 [K]
    mistake_confidence: ndarray  # float32 [K], 0 to 1
    sample_images: ndarray  # uint8 [S, 28, 28]
    sample_labels: ndarray  # uint8 [S]

    @property
    def num_wrong(self) -> int:
        return int((self.labels != self.predicted).sum())


def make_predictions(
    probabilities: Any, images: Any, labels: Any, train_images: Any, train_labels: Any, seed: int
) -> Predictions:
    """The file's content from softmax outputs [N, 10], test images uint8 [N, 1, 28, 28] and labels [N].

    Arrays or CPU tensors. The sample is nine training images chosen by `seed`. A tie of outputs goes to the
    first, as in the accuracy; NaN has the confidence 0 and goes last.
    """
    import numpy as np

    p = np.nan_to_num(np.asarray(probabilities, dtype=np.float64), nan=0.0)  # [N, 10]
    true = np.asarray(labels).astype(np.uint8)
    predicted = p.argmax(-1).astype(np.uint8)
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
        sample_labels=np.asarray(train_labels).astype(np.uint8)[shown],
    )


def _pixels(images: Any, rows: Any) -> ndarray:
    import numpy as np

    return np.ascontiguousarray(np.asarray(images)[rows].reshape(-1, _SIDE, _SIDE).astype(np.uint8))


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
        found = Predictions(**{f.name: stored[f.name] for f in fields(Predictions)})
    n, k, s = len(found.labels), len(found.mistake_labels), len(found.sample_labels)
    shapes = {
        **dict.fromkeys(("labels", "predicted", "confidence"), (n,)),
        **dict.fromkeys(("mistake_labels", "mistake_predicted", "mistake_confidence"), (k,)),
        "mistake_images": (k, _SIDE, _SIDE),
        "sample_images": (s, _SIDE, _SIDE),
        "sample_labels": (s,),
    }
    for name, shape in shapes.items():
        array = getattr(found, name)
        wanted = "f" if name.endswith("confidence") else "u"
        if array.shape != shape or array.dtype.kind != wanted:
            raise ValueError(f"{name} is {array.dtype} {array.shape}")
        if array.dtype.kind == "f" and not bool(((array >= 0) & (array <= 1)).all()):
            raise ValueError(f"{name} is not between 0 and 1")
        if name.endswith(("labels", "predicted")) and array.size and int(array.max()) > 9:
            raise ValueError(f"{name} holds {int(array.max())}")
    return found
