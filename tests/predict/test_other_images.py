"""Networks for other images than MNIST's: what cannot be done with them is said, what can be done is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_lightning import RunConfig, export, predict, train
from mnist_lightning.errors import RefusedError
from mnist_lightning.report import write_report
from mnist_lightning.serve.networks import Networks

Tiny = Callable[..., RunConfig]


@pytest.fixture
def coloured(tiny: Tiny, tmp_path: Path) -> Path:
    """A run on images of three channels."""
    config = tiny(**{"trainer.max_epochs": 1})
    config.data = RunConfig(data={"_target_": "own_datasets.Colours", "batch_size": 16}).data
    train(config, tmp_path / "run")
    return tmp_path / "run"


def test_predict_and_the_drawing_page_refuse_a_network_for_other_images(coloured: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((28, 28), dtype=np.uint8)).save(tmp_path / "digit.png")
    said = "its network takes images 3x8x12, and pictures are made into MNIST's, 1x28x28; use MNISTClassifier"
    with pytest.raises(RefusedError, match=said):
        predict(coloured, tmp_path / "digit.png")
    (answer,) = Networks(coloured.parent).answer([coloured], np.zeros((28, 28), dtype=np.uint8))
    assert answer == {"problem": "is for 3 classes of images 3x8x12, not for digits"}


def test_export_compares_a_network_for_other_images_on_random_pixels_and_says_so(coloured: Path) -> None:
    pt2, weights = export(coloured, "pt2,safetensors", preprocess=True)
    for exported in (pt2, weights):
        assert "on 1,000 images of random pixels" in str(exported)
    from mnist_lightning.export.weights import load_network

    net = load_network(weights.path)
    assert net.state_dict()["stem.weight"].shape == (2, 3, 3, 3)


def test_the_page_of_a_run_on_other_images_speaks_of_classes(coloured: Path) -> None:
    from mnist_lightning.records.results import load_results

    paths = write_report(load_results(coloured), coloured)
    page = next(path for path in paths if path.suffix == ".html").read_text()
    assert "own_datasets.Colours" in page
    assert "called class" in page
    assert "digit" not in page.partition("What does a mistake look like?")[2].partition("</section>")[0]
