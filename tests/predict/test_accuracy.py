"""What a network trained on real MNIST says of pictures of many kinds, through files, as a user asks it.

`python tests/predict/test_accuracy.py` prints the table of docs/predict.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
from drawn_digits import KINDS, Drawn, drawn_digits, gradient, on_paper, page, picture_of
from mnist_lightning.config import DataConfig
from mnist_lightning.data.datasets import load_dataset
from mnist_lightning.predict.classify import Prediction, predict
from trained_network import trained_checkpoint

FEWEST_DRAWN, FEWEST_OF_MNIST = 0.94, 0.98


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_checkpoint(tmp_path_factory.mktemp("network"))


def said(network: Path, pictures: Iterable[Image.Image], folder: Path) -> list[Prediction]:
    """What the network says of the pictures, each stored as a PNG file."""
    paths = []
    for number, picture in enumerate(pictures):
        paths.append(folder / f"{number}.png")
        picture.save(paths[-1])
    return predict(network, paths)


def right(network: Path, drawn: list[Drawn], folder: Path) -> np.ndarray:
    answers = said(network, (one.picture for one in drawn), folder)
    return np.array([answer.digit == one.digit for answer, one in zip(answers, drawn, strict=True)])


def test_of_drawn_digits_94_of_100_are_right_and_of_no_kind_less_than_85(network: Path, tmp_path: Path) -> None:
    drawn = list(drawn_digits(2))
    assert len(drawn) >= 320
    rights = right(network, drawn, tmp_path)
    assert rights.mean() >= FEWEST_DRAWN
    of_kind = {kind: rights[[one.kind == kind for one in drawn]].mean() for kind in KINDS}
    assert {kind: share for kind, share in of_kind.items() if share < 0.85} == {}


def ink_on_paper(image: np.ndarray, random: np.random.Generator) -> Image.Image:
    """An image of MNIST's as if it had been written: dark on light, 3 to 7 times as large, lit from one side."""
    side = 28 * int(random.integers(3, 8))
    ink = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    across, down = (side * random.uniform(1, 2, 2)).astype(int)
    on = on_paper(page(ink, (across, down), tuple(random.uniform(0, 1, 2))), 240, 40)
    lit = gradient(on, random.uniform(0.5, 0.9), random.uniform(0, 6.28))
    return picture_of(lit + random.normal(0, 4, lit.shape))


def mnist_test_images(root: Path, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Every such test image, uint8 [N, 28, 28], and its label."""
    test = load_dataset(DataConfig(root=str(root), download=False)).test
    return test.images[::every, 0].numpy(), test.labels[::every].numpy()


WAYS = {
    "as it is": lambda image, random: Image.fromarray(image),
    "black on white": lambda image, random: Image.fromarray(255 - image),
    "on paper": ink_on_paper,
}


@pytest.mark.parametrize("way", WAYS)
def test_of_mnists_test_images_98_of_100_are_right(way: str, network: Path, real_mnist: Path, tmp_path: Path) -> None:
    images, labels = mnist_test_images(real_mnist, every=25 if way == "on paper" else 10)  # large pictures take long
    random = np.random.default_rng(3)
    answers = said(network, (WAYS[way](image, random) for image in images), tmp_path)
    assert np.mean([answer.digit for answer in answers] == labels) >= FEWEST_OF_MNIST


def main(root: str, each: int = 20) -> None:
    """Prints the table: how many of each kind are right, and of MNIST's 10,000 test images."""
    with tempfile.TemporaryDirectory() as name:
        folder, drawn = Path(name), list(drawn_digits(each))
        network = trained_checkpoint(folder)
        rights = right(network, drawn, folder)
        for kind in KINDS:
            some = rights[[one.kind == kind for one in drawn]]
            print(f"| {kind} | {some.sum()} of {len(some)} | {some.mean():.1%} |")
        print(f"| all | {rights.sum():,} of {len(rights):,} | {rights.mean():.1%} |")
        images, labels = mnist_test_images(Path(root), every=1)
        for way, make in WAYS.items():
            random = np.random.default_rng(3)
            answers = said(network, (make(image, random) for image in images), folder)
            count = sum(a.digit == label for a, label in zip(answers, labels, strict=True))
            print(f"| MNIST's test images, {way} | {count:,} of {len(labels):,} | {count / len(labels):.1%} |")


if __name__ == "__main__":
    main(sys.argv[1])
