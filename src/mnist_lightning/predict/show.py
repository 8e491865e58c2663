"""What a network saw, written as PNG files that are known again as ours."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lightning.errors import OutputError
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.reading import read_regular

if TYPE_CHECKING:
    from numpy import ndarray

_MARK = "mnist_lightning.predict"  # a text in the file: the SHA-256 of its pixels
_LARGEST = 2**20  # bytes


class Shown:
    """A folder into which the images that a network saw are written, each under its file's name and `.png`.

    Of several files with one name the second is NAME-2.png, and so on.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._names: set[str] = set()

    def write(self, path: str, image: ndarray) -> Path:
        """Writes the image, uint8 [28, 28], seen in the file `path`; returns where it is.

        Raises OutputError where it cannot be written, and where a file is there that this has not written.
        """
        target = self.folder / f"{self._free(Path(path).stem)}.png"
        if not _may_be_replaced(target):
            what = "is there already, and is no image that --show has left"
            raise OutputError(f"{target}: {what}; choose another directory")
        write_durably(target, _png(image))
        return target

    def _free(self, stem: str) -> str:
        name, number = stem, 1
        while name.casefold() in self._names:  # some disks take A.png and a.png for one
            number += 1
            name = f"{stem}-{number}"
        self._names.add(name.casefold())
        return name


def _png(image: ndarray) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    mark = PngInfo()
    mark.add_text(_MARK, _digest(image.tobytes()))
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", pnginfo=mark)
    return file.getvalue()


def _may_be_replaced(path: Path) -> bool:
    """Whether nothing is there, or a file as it was left; an image that somebody has painted in is theirs."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(read_regular(path, _LARGEST)), formats=["PNG"]) as there:
            return there.info.get(_MARK) == _digest(there.tobytes())
    except (FileNotFoundError, NotADirectoryError):
        return not path.is_symlink()
    except Exception:  # anything else is not ours
        return False


def _digest(pixels: bytes) -> str:
    return hashlib.sha256(pixels).hexdigest()
