"""What the command says of the image files it is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnist_lightning.errors import DataError
from mnist_lightning.predict.classify import read_image


def test_a_missing_image_is_called_missing_and_a_damaged_one_not_readable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: no such file; give a PNG or JPEG file$"):
        read_image(str(tmp_path / "none.png"))
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(DataError, match=r"bad\.png: not a readable image \("):
        read_image(str(tmp_path / "bad.png"))
