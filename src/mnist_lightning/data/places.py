"""Where the files of MNIST and its relatives lie, and whether they can be read there; knows no torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mnist_lightning.errors import DataError


class Files(NamedTuple):
    """The files of a data set where torchvision keeps them: `<root>/<torchvision_class>/raw/<name>`."""

    torchvision_class: str
    train_images: str = "train-images-idx3-ubyte"
    train_labels: str = "train-labels-idx1-ubyte"
    test_images: str = "t10k-images-idx3-ubyte"
    test_labels: str = "t10k-labels-idx1-ubyte"

    def names(self) -> tuple[str, ...]:
        """The four files' names."""
        return self[1:]


FILES = {
    "mnist": Files("MNIST"),
    "fashion_mnist": Files("FashionMNIST"),
    "kmnist": Files("KMNIST"),
    "qmnist": Files(
        "QMNIST",
        "qmnist-train-images-idx3-ubyte",
        "qmnist-train-labels-idx2-int",
        "qmnist-test-images-idx3-ubyte",
        "qmnist-test-labels-idx2-int",
    ),
}


# Bytes and SHA-256 of MNIST's four files. A set of another size is somebody's own and is read without this check
OFFICIAL = {
    "MNIST/train-images-idx3-ubyte": (47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "MNIST/train-labels-idx1-ubyte": (60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "MNIST/t10k-images-idx3-ubyte": (7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "MNIST/t10k-labels-idx1-ubyte": (10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}


def raw_directory(name: str, root: Path) -> Path:
    """The directory of a data set's files."""
    return root / FILES[name].torchvision_class / "raw"


def missing_file(name: str, root: Path) -> Path | None:
    """The first file of a data set that is not there, or None. Raises DataError where that cannot be seen."""
    for path in (raw_directory(name, root) / file for file in FILES[name].names()):
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return path
        except OSError as error:
            raise unreadable(path, error) from error
    return None


def not_found(path: Path) -> DataError:
    """What to say about a file that is not there and may not be fetched."""
    return DataError(f"{path}: missing; set data.root or $MNIST_LIGHTNING_DATA, or data.download=true")


def unreadable(path: Path, error: OSError | ValueError) -> DataError:
    """What to say about a file that the system does not let us read, or that is none."""
    what = error.strerror if isinstance(error, OSError) else error
    return DataError(f"{path}: cannot be read ({what}); check the path and its permissions")
