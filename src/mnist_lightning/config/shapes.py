"""What a network is for: the channels and pixels of its images, and the classes that it tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mnist_lightning.errors import ConfigError, Problem

IMAGE_SIZE = 28
NUM_CLASSES = 10
_LARGEST = {"in_channels": 4096, "height": 4096, "width": 4096, "num_classes": 65_536}

ImageSize = int | tuple[int, int]


class Shape(NamedTuple):
    """Images [in_channels, height, width] of `num_classes` classes; by default MNIST's."""

    in_channels: int = 1
    height: int = IMAGE_SIZE
    width: int = IMAGE_SIZE
    num_classes: int = NUM_CLASSES

    @classmethod
    def of(cls, in_channels: int, image_size: int | Sequence[int], num_classes: int) -> Shape:
        """Makes it of a network's arguments; `image_size` is one number for a square. Raises ConfigError."""
        sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if len(sides) != 2:
            problem = Problem("image_size", image_size, "not one or two numbers", "use 28, or (height, width)")
            raise ConfigError([problem])
        given = cls(in_channels, *sides, num_classes)
        problems = []
        for name, value in given._asdict().items():
            least, most = 2 if name == "num_classes" else 1, _LARGEST[name]
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                key = "image_size" if name in ("height", "width") else name
                problems.append(Problem(key, value, "not a size", f"use {least} to {most}"))
        if problems:
            raise ConfigError(problems)
        return given

    @property
    def image_size(self) -> ImageSize:
        """The side of a square image in pixels, or (height, width)."""
        return self.height if self.height == self.width else (self.height, self.width)

    def arguments(self) -> dict[str, Any]:
        """The arguments of a network for such images."""
        return {"in_channels": self.in_channels, "image_size": self.image_size, "num_classes": self.num_classes}

    def __str__(self) -> str:
        return f"{self.in_channels}x{self.height}x{self.width}"


MNIST = Shape()


def vanishing(num_conv: int, shape: Shape) -> list[Problem]:
    """The problem of more poolings, each of which halves an image, than leave a pixel."""
    side = min(shape.height, shape.width)
    most = side.bit_length() - 1
    if num_conv <= most:
        return []
    sizes = ", ".join(str(side >> i) for i in range(most + 1))
    what = f"the image vanishes: {side} pixels halve to {sizes} and then nothing"
    return [Problem("model.num_conv", num_conv, what, f"use 0 to {most}")]
