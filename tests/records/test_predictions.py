"""The small file beside each record: what comes out is what went in, and nothing damaged is believed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import RefusedError
from mnist_lightning.records.predictions import (
    PREDICTIONS,
    Predictions,
    load_predictions,
    make_predictions,
    save_predictions,
)

LABELS = np.array([0, 1, 2, 3])
IMAGES = np.arange(4 * 784, dtype=np.int64).reshape(4, 1, 28, 28).astype(np.uint8)


def made(seed: int = 0) -> Predictions:
    p = np.full((4, 10), 0.01)
    p[0, 0], p[1, 7], p[2, 2], p[3, 8] = 0.9, 0.6, 0.8, 0.7  # 1 is called 7, 3 is called 8 with more confidence
    return make_predictions(p, IMAGES, LABELS, IMAGES.repeat(5, axis=0), LABELS.repeat(5), seed)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    save_predictions(made(), tmp_path)
    found = load_predictions(tmp_path)
    assert found is not None
    assert all(np.array_equal(a, b) for a, b in zip(vars(found).values(), vars(made()).values(), strict=True))


def test_the_most_confident_mistake_comes_first() -> None:
    found = made()
    assert found.num_wrong == 2
    assert found.mistake_labels.tolist() == [3, 1]
    assert found.mistake_predicted.tolist() == [8, 7]
    assert np.array_equal(found.mistake_images[0], IMAGES[3, 0])


def test_nine_training_images_are_chosen_by_the_seed_alone() -> None:
    assert made(1).sample_images.shape == (9, 28, 28)
    assert np.array_equal(made(1).sample_images, made(1).sample_images)
    assert not np.array_equal(made(1).sample_labels, made(2).sample_labels)


def test_a_diverged_networks_nan_is_a_mistake_without_confidence() -> None:
    found = make_predictions(np.full((4, 10), math.nan), IMAGES, LABELS, IMAGES, LABELS, 0)
    assert found.num_wrong == 3  # all are called 0
    assert found.mistake_confidence.max() == 0


def test_the_same_predictions_are_the_same_bytes(tmp_path: Path) -> None:
    one, two = (save_predictions(made(), tmp_path / name).read_bytes() for name in ("a", "b"))
    assert one == two


def test_a_run_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    assert load_predictions(tmp_path) is None
    assert load_predictions(tmp_path / "nowhere") is None


def test_ten_thousand_predictions_take_a_few_tens_of_kilobytes(tmp_path: Path) -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(10), 10_000)
    images = np.zeros((10_000, 1, 28, 28), dtype=np.uint8)
    labels = np.arange(10_000) % 10
    path = save_predictions(make_predictions(p, images, labels, images, labels, 0), tmp_path)
    assert path.stat().st_size < 50_000


def test_a_damaged_file_is_refused_by_name_or_read_whole(tmp_path: Path) -> None:
    path = save_predictions(made(), tmp_path)
    whole, rng = path.read_bytes(), random.Random(0)
    refused = []
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(damaged[: rng.choice([len(whole), rng.randrange(len(whole))])]))
        try:
            load_predictions(tmp_path)
        except RefusedError as error:
            refused.append(str(error))
    assert len(refused) > 120  # a flip of a date in the zip file's directory changes nothing
    assert all(PREDICTIONS in text for text in refused)


@pytest.mark.parametrize("change", [{"labels": np.array([11], np.uint8)}, {"confidence": np.full(4, 2.0, np.float16)}])
def test_values_out_of_range_are_refused(change: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / PREDICTIONS, **(vars(made()) | change))  # pyright: ignore[reportArgumentType] - arrays by name
    with pytest.raises(RefusedError, match="not whole predictions"):
        load_predictions(tmp_path)


def test_a_pickle_in_the_file_is_never_executed(tmp_path: Path) -> None:
    class Canary:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "canary",))  # pyright: ignore[reportReturnType] - what pickle accepts

    np.savez(tmp_path / PREDICTIONS, **(vars(made()) | {"labels": np.array([Canary()], dtype=object)}))  # pyright: ignore[reportArgumentType] - arrays by name
    with pytest.raises(RefusedError):
        load_predictions(tmp_path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("change", [{}, {"trainer.limit_test_batches": 1}], ids=["whole", "part of the test set"])
def test_training_stores_predictions_that_agree_with_its_record(
    change: dict[str, object], tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    from mnist_lightning.training.run import train

    result = train(tiny(**change), tmp_path)
    found = load_predictions(tmp_path)
    assert found is not None
    assert 1 - found.num_wrong / len(found.labels) == pytest.approx(result.accuracy_test)
