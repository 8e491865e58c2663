"""The small file beside each record: what comes out is what went in, and nothing damaged is believed."""

from __future__ import annotations

import math
import random
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("count", [2, 256, 257])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 20), (2, 9, 9), (1, 200, 90)])
def test_images_of_any_shape_and_classes_of_any_number_come_back(
    count: int, shape: tuple[int, ...], tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
    labels = np.arange(6) % count + max(0, count - 6)
    before = make_predictions(np.eye(count)[labels[::-1]], images, labels, images, labels, 0)
    save_predictions(before, tmp_path)
    after = load_predictions(tmp_path)
    assert after is not None
    assert all(np.array_equal(a, b) for a, b in zip(vars(after).values(), vars(before).values(), strict=True))
    assert (after.num_classes, after.labels.tolist()) == (count, labels.tolist())
    assert max(after.sample_images.shape[1:3]) <= 64


def test_pictures_have_three_colours_or_are_grey_and_floats_are_shown_between_black_and_white() -> None:
    def picture(images: np.ndarray) -> np.ndarray:
        labels = np.zeros(len(images), dtype=np.int64)
        return make_predictions(np.eye(10)[labels], images, labels, images, labels, 0).sample_images[0]

    colours = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    assert picture(colours).tolist() == [[[0, 4, 8], [1, 5, 9]], [[2, 6, 10], [3, 7, 11]]]
    assert picture(np.array([[[[0]], [[200]]]], dtype=np.uint8)).tolist() == [[100]]
    assert picture(np.array([[[[0.0, 0.5]]]])).tolist() == [[0, 128]]
    assert picture(np.array([[[[-1.0, 0.0, 3.0]]]])).tolist() == [[0, 64, 255]]
    assert picture(np.array([[[[-1.0, -1.0]]]])).tolist() == [[0, 0]]


@pytest.mark.parametrize("count", [-1, 0, 1, 3, 10**9])
def test_a_number_of_classes_that_cannot_be_is_refused(count: int, tmp_path: Path) -> None:
    stored: dict[str, Any] = {field.name: getattr(made(), field.name) for field in fields(Predictions)}
    stored["num_classes"] = np.int64(count)
    np.savez(tmp_path / "other.npz", **stored)
    (tmp_path / "other.npz").rename(tmp_path / PREDICTIONS)
    with pytest.raises(RefusedError):
        load_predictions(tmp_path)


def test_a_file_of_before_there_were_other_numbers_has_ten_classes(tmp_path: Path) -> None:
    stored: dict[str, Any] = {
        field.name: getattr(made(), field.name) for field in fields(Predictions) if field.name != "num_classes"
    }
    np.savez(tmp_path / "older.npz", **stored)
    (tmp_path / "older.npz").rename(tmp_path / PREDICTIONS)
    found = load_predictions(tmp_path)
    assert found is not None
    assert found.num_classes == 10


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


def test_two_dozen_mistakes_are_shown_and_equally_confident_ones_in_the_order_of_the_images() -> None:
    p, labels = np.zeros((40, 10)), np.ones(40, dtype=np.int64)
    p[:, 0] = 0.6  # all wrong
    p[30:, 0] = 0.7
    images = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 1, 28, 28))
    shown = make_predictions(p, images, labels, images, labels, 0).mistake_images[:, 0, 0].tolist()
    assert shown == [*range(30, 40), *range(14)]


def test_a_tie_goes_to_the_first_output_as_in_the_accuracy() -> None:
    p = np.zeros((1, 10))
    p[0, [3, 7]] = 0.5
    assert make_predictions(p, IMAGES[:1], np.array([7]), IMAGES, LABELS, 0).predicted.tolist() == [3]


def test_fewer_training_images_than_nine_are_all_shown_in_their_order() -> None:
    found = make_predictions(np.eye(4, 10), IMAGES, LABELS, IMAGES, LABELS, 3)
    assert found.sample_labels.tolist() == [0, 1, 2, 3]
    assert np.array_equal(found.sample_images, IMAGES[:, 0])


def stored(directory: Path, **changes: Any) -> Path:
    path = directory / PREDICTIONS
    np.savez_compressed(path, **(vars(made()) | changes))
    return path


@pytest.mark.parametrize(("size", "reason"), [(2**25, "not a zip file"), (2**25 + 1, "too large")])
def test_a_file_of_more_than_32_mebibytes_is_not_read(size: int, reason: str, tmp_path: Path) -> None:
    with open(tmp_path / PREDICTIONS, "wb") as file:
        file.truncate(size)
    with pytest.raises(RefusedError, match=f"not whole predictions .*{reason}"):
        load_predictions(tmp_path)


@pytest.mark.parametrize(("size", "reason"), [(2**25, "labels"), (2**25 + 1, "too large")])
def test_what_would_unpack_to_more_than_32_mebibytes_is_not_unpacked(size: int, reason: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / PREDICTIONS, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", bytes(size))
    with pytest.raises(RefusedError, match=f"not whole predictions .*{reason}"):
        load_predictions(tmp_path)


@pytest.mark.parametrize("name", [field.name for field in fields(Predictions) if field.name != "num_classes"])
def test_every_array_has_its_shape_and_kind_or_the_file_is_refused(name: str, tmp_path: Path) -> None:
    right = vars(made())[name]
    other_kinds = [right.astype(np.int64), right.astype(np.uint8 if name.endswith("confidence") else np.float32)]
    for wrong in (right[:, None], right[:-1], np.concatenate([right, right]), *other_kinds):
        stored(tmp_path, **{name: wrong})
        with pytest.raises(RefusedError, match=r"not whole predictions \(\w+ is \w+ \("):
            load_predictions(tmp_path)


@pytest.mark.parametrize("name", ["labels", "predicted", "mistake_labels", "mistake_predicted", "sample_labels"])
def test_a_digit_is_0_to_9(name: str, tmp_path: Path) -> None:
    for digit, refused in ((0, False), (9, False), (10, True), (255, True)):
        stored(tmp_path, **{name: np.full_like(vars(made())[name], digit)})
        if refused:
            with pytest.raises(RefusedError, match=f"{name} holds {digit}"):
                load_predictions(tmp_path)
        else:
            assert load_predictions(tmp_path) is not None


@pytest.mark.parametrize("name", ["confidence", "mistake_confidence"])
def test_a_confidence_is_0_to_1(name: str, tmp_path: Path) -> None:
    for value, refused in ((0, False), (1, False), (1.01, True), (-0.01, True), (math.nan, True), (2, True)):
        stored(tmp_path, **{name: np.full_like(vars(made())[name], value)})
        if refused:
            with pytest.raises(RefusedError, match=f"{name} is not between 0 and 1"):
                load_predictions(tmp_path)
        else:
            assert load_predictions(tmp_path) is not None


def test_a_network_without_mistakes_has_whole_predictions(tmp_path: Path) -> None:
    save_predictions(make_predictions(np.eye(4, 10), IMAGES, LABELS, IMAGES, LABELS, 0), tmp_path)
    found = load_predictions(tmp_path)
    assert found is not None
    assert (found.num_wrong, len(found.mistake_images)) == (0, 0)


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


@pytest.mark.parametrize("change", [{}, {"trainer.limit_test_batches": 1}, {"trainer.fast_dev_run": 1}], ids=str)
def test_final_scores_are_of_whole_sets_and_predictions_agree_with_them_whatever_is_limited(
    change: dict[str, object], tiny: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnist_lightning.training import run

    monkeypatch.setattr(run, "EVALUATION_BATCH", 20)
    train = run.train
    result = train(tiny(**change), tmp_path)
    found = load_predictions(tmp_path)
    assert found is not None
    assert len(found.labels) == result.test_size == 64
    assert result.accuracy * 192 == pytest.approx(round(result.accuracy * 192))  # of all, not of a batch of 20
    assert 1 - found.num_wrong / len(found.labels) == pytest.approx(result.accuracy_test)
