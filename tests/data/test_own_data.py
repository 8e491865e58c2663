"""Data sets of the user's: named by a configuration, read once, told apart by name, arguments and content."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import datasets

import own_datasets
from conftest import write_idx
from mnist_lightning import MNISTClassifier, RunConfig, train, train_many
from mnist_lightning.config import DataConfig, Shape
from mnist_lightning.data.datasets import load_dataset
from mnist_lightning.errors import ConfigError, DataError
from mnist_lightning.records.predictions import load_predictions
from mnist_lightning.records.results import load
from mnist_lightning.training.interrupted import stored_config

pytestmark = pytest.mark.usefixtures("no_cached_data")
Tiny = Callable[..., RunConfig]
Outcome = Any
COLOURS = "own_datasets.Colours"


def own(target: str, **arguments: Any) -> DataConfig:
    return RunConfig(data={"_target_": target, **arguments}).data  # pyright: ignore[reportArgumentType] - as plain values


def coloured(tiny: Tiny, **changes: Any) -> RunConfig:
    """The smallest configuration of Colours."""
    config = tiny(**changes)
    config.data = own(COLOURS, batch_size=16)
    return config


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """EMNIST's letters, a few of them, as torchvision lays them out."""
    for part, count in (("train", 52), ("test", 26)):
        images = torch.randint(0, 256, (count, 28, 28), generator=torch.Generator().manual_seed(count))
        write_idx(tmp_path / f"EMNIST/raw/emnist-letters-{part}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"EMNIST/raw/emnist-letters-{part}-labels-idx1-ubyte", torch.arange(count) % 26 + 1)
    return tmp_path


def test_torchvisions_data_sets_are_read_as_torchvision_reads_them(letters: Path) -> None:
    ours = load_dataset(own("torchvision.datasets.EMNIST", split="letters", root=str(letters), train_size=50))
    for split, is_train in ((ours.train, True), (ours.test, False)):
        theirs = datasets.EMNIST(str(letters), "letters", train=is_train)
        assert torch.equal(split.images[:, 0], theirs.data[: len(split)])
        assert torch.equal(split.labels, theirs.targets[: len(split)])
    assert (len(ours.train), len(ours.test)) == (50, 26)
    assert ours.shape == Shape(1, 28, 28, 27), "letters are numbered from 1; torchvision has a name for 0, too"


def test_a_class_and_a_function_are_asked_for_both_parts(tmp_path: Path) -> None:
    assert load_dataset(own(COLOURS, classes=2)).shape == Shape(3, 8, 12, 2)
    stored = {part: (torch.rand(6, 5, 5), torch.arange(6) % 3) for part in ("train", "test")}
    torch.save(stored, tmp_path / "mine.pt")
    found = load_dataset(own("own_datasets.parts", root=str(tmp_path)))
    assert torch.equal(found.test.images[:, 0], stored["test"][0])
    assert found.train.images.dtype == torch.float32


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("P", 3), ("RGB", 3), ("RGBA", 4)])
def test_pil_images_come_with_their_channels_first(mode: str, channels: int) -> None:
    found = load_dataset(own("own_datasets.pictures", mode=mode))
    assert found.train.images.shape == (12, channels, 9, 9)
    assert found.train.images.dtype == torch.uint8


def test_the_data_are_read_once_until_they_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_dataset(own(COLOURS))
    monkeypatch.setattr(own_datasets, "Colours", None)
    assert load_dataset(own(COLOURS)).train.images.data_ptr() == first.train.images.data_ptr()


def test_the_digest_is_that_of_pixels_and_labels() -> None:
    digests = [
        load_dataset(own(COLOURS, **a)).sha256 for a in ({}, {"train_size": 9}, {"brightness": 0.8}, {"classes": 2})
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert len(digests[0]) == 64


def test_one_data_set_has_one_fingerprint_and_whatever_differs_another() -> None:
    def fingerprint(data: Any) -> str:
        return RunConfig(data=data).fingerprint

    same = [
        {"_target_": "torchvision.datasets.EMNIST", "split": "letters"},
        {"split": "letters", "_target_": "torchvision.datasets.EMNIST", "root": "elsewhere", "download": False},
        partial(datasets.EMNIST, split="letters"),
    ]
    assert len({fingerprint(data) for data in same}) == 1
    others = [
        "mnist",
        {"_target_": "torchvision.datasets.EMNIST", "split": "digits"},
        {"_target_": "torchvision.datasets.EMNIST", "split": "letters", "batch_size": 32},
        {"_target_": "torchvision.datasets.QMNIST", "split": "letters"},
        datasets.MNIST,
    ]
    assert len({fingerprint(data) for data in [same[0], *others]}) == 6


def test_training_takes_size_channels_and_classes_from_the_data(tiny: Tiny, tmp_path: Path) -> None:
    config = coloured(tiny, lr=0.01, **{"trainer.max_epochs": 6})
    record = train(config, tmp_path)
    assert record.status == "completed"
    assert record.accuracy_test > 0.9
    assert (record.dataset, record.train_size, record.data_sha256) == (COLOURS, 60, load_dataset(config.data).sha256)
    assert record.num_classes == 3
    module = MNISTClassifier.load_from_checkpoint(tmp_path / "checkpoints/best.ckpt")
    assert module.shape == Shape(3, 8, 12, 3)
    assert stored_config(tmp_path / "config.yaml").fingerprint == config.fingerprint
    predictions = load_predictions(tmp_path)
    assert predictions is not None
    assert (predictions.num_classes, predictions.sample_images.shape) == (3, (9, 8, 12, 3))


def test_a_run_on_own_data_goes_on_after_an_interrupt_to_the_same_end(
    tiny: Tiny, tmp_path: Path, break_off: list[object]
) -> None:
    config = coloured(tiny, transform="light")
    undisturbed = train(config, tmp_path / "undisturbed")
    break_off[0] = RuntimeError("cut off")
    with pytest.raises(RuntimeError, match="cut off"):
        train(config, tmp_path / "cut")
    break_off[:] = [None]
    again = train(config, tmp_path / "cut", continue_interrupted=True)
    assert break_off == [None, 1]
    assert (again.loss, again.loss_test) == (undisturbed.loss, undisturbed.loss_test)


def test_own_data_are_trained_together_as_alone(tiny: Tiny, tmp_path: Path) -> None:
    grid = [coloured(tiny, lr=lr) for lr in (0.1, 0.01)]
    together = train_many(grid, [tmp_path / "a", tmp_path / "b"])
    alone = train(grid[0], tmp_path / "alone")
    assert [record.group_size for record in together] == [2, 2]
    assert together[0].loss_test == pytest.approx(alone.loss_test, rel=1e-5)
    assert MNISTClassifier.load_from_checkpoint(tmp_path / "a/checkpoints/last.ckpt").shape == Shape(3, 8, 12, 3)


REFUSED: dict[str, tuple[DataConfig | dict[str, Any], type[Exception], str]] = {
    "no module": ({"_target_": "nowhere.Data"}, ConfigError, "data._target_=nowhere.Data: there is no module nowhere"),
    "a slip": ({"_target_": "torchvision.datasets.EMIST"}, ConfigError, "data._target_=.*did you mean EMNIST"),
    "no data set": ({"_target_": "torch.nn.Linear"}, ConfigError, "data._target_=torch.nn.Linear: not a torch Dataset"),
    "a function": ({"_target_": "os.system"}, ConfigError, "data._target_=os.system: not a torch Dataset"),
    "no parts": (
        {"_target_": "own_datasets.no_part"},
        ConfigError,
        r"data._target_=own_datasets.no_part: has no argument train or split; write def name\(train: bool\) -> Dataset",
    ),
    "no argument": (
        {"_target_": COLOURS, "clases": 3},
        ConfigError,
        "data.clases=3: Colours has no such argument; did",
    ),
    "the part": ({"_target_": COLOURS, "train": True}, ConfigError, "data.train=True: is given by us, for each part"),
    "a bad argument": (
        {"_target_": "torchvision.datasets.EMNIST", "split": "words"},
        ConfigError,
        r"data._target_=torchvision.datasets.EMNIST: refused by EMNIST \(Unknown value 'words' for argument split",
    ),
    "a missing argument": (
        {"_target_": "own_datasets.odd"},
        ConfigError,
        r"data._target_=own_datasets.odd: its arguments do not fit \(missing a required argument: 'what'\)",
    ),
    "another name": (
        {"_target_": COLOURS, "name": "synthetic"},
        ConfigError,
        "data.name=synthetic: Colours has no such argument",
    ),
    "more images": (
        {"_target_": COLOURS, "train_size": 61},
        ConfigError,
        "data.train_size=61: own_datasets.Colours has not",
    ),
    "no files": (
        {"_target_": "torchvision.datasets.EMNIST", "split": "letters", "download": False, "root": "nowhere"},
        DataError,
        r'data._target_=torchvision.datasets.EMNIST\(split="letters"\): no data \(RuntimeError: Dataset not found',
    ),
    "no network": (
        {"_target_": "own_datasets.gone", "root": "nowhere"},
        DataError,
        r"data._target_=own_datasets.gone: no data \(RuntimeError: no network\); see data.root and data.download",
    ),
}
ODD = {
    "empty": "its part train has no length, or no image",
    "no pair": "item 0 of its part train is no image with its class",
    "fraction": "item 0 of its part train is no image with its class (TypeError",
    "several labels": "item 0 of its part train is no image with its class (TypeError",
    "negative": "train_labels: hold -1; classes are numbered from 0",
    "sizes": "item 1 of its part train is [4, 5], not [4, 4] as item 0; make all images of one size",
    "text": "item 0 of its part train is no image with its class",
    "the same": "gives the same images for testing as for training; let it tell them apart",
    "unscaled": "train_images: whole numbers to 255 as floats; give uint8, or divide them by 255",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_set_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given, kind, said = REFUSED[case]
    with pytest.raises(kind, match=f"^{said}"):
        load_dataset(RunConfig(data=given).data)  # pyright: ignore[reportArgumentType] - as plain values


@pytest.mark.parametrize("what", ODD)
def test_what_are_no_images_with_classes_is_refused(what: str) -> None:
    with pytest.raises(DataError) as refused:
        load_dataset(own("own_datasets.odd", what=what))
    assert str(refused.value).startswith(f'data._target_=own_datasets.odd(what="{what}"): {ODD[what]}')


def test_what_is_missing_is_fetched_where_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def gone(train: bool, root: str, download: bool = False) -> own_datasets.Colours:
        asked.append(download)
        if not download and not (tmp_path / "fetched").exists():
            raise RuntimeError("Dataset not found")
        (tmp_path / "fetched").touch()
        return own_datasets.Colours(train)

    gone.__module__, gone.__qualname__ = "own_datasets", "gone"
    monkeypatch.setattr(own_datasets, "gone", gone)
    assert len(load_dataset(own("own_datasets.gone", root=str(tmp_path))).test) == 30
    assert asked == [False, True, False], "what is there is not fetched"


def test_a_sweep_on_own_data_holds_their_digest_and_refuses_others(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = ["-m", f"data._target_={COLOURS}", "data.classes=2,3", "model.num_channels=2", "model.num_conv=1"]
    grid += ["model.num_dense=0", "trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.precision=32-true"]
    grid += ["hydra.sweep.dir=here"]
    outcome = run(*grid)
    assert outcome.code == 0, outcome.err
    assert "2 runs: classes (2)" in outcome.out
    plan = json.loads(Path("here/plan.json").read_text())
    assert plan["data"].keys() == {f"{COLOURS}(classes={n})" for n in (2, 3)}
    records = [load(path) for path in Path("here").glob("*/result.json")]
    assert {r.dataset: r.data_sha256 for r in records} == plan["data"]
    assert "resuming: 2 of 2 done" in run(*grid).out
    monkeypatch.setattr(own_datasets.Colours, "__len__", lambda self: len(self.labels) - 3)
    changed = run(*grid)
    assert changed.code == 4
    assert f"data={COLOURS}(classes=2): not the data this sweep began with" in changed.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["data._target_=own_datasets.gone"],
            4,
            "data._target_=own_datasets.gone: no data (RuntimeError: no network); see data.root",
        ),
        (["data._target_=nowhere.Data"], 2, "data._target_=nowhere.Data: there is no module nowhere"),
        ([f"data._target_={COLOURS}", "data.clases=3"], 2, "data.clases=3: Colours has no such argument; did you mean"),
        ([f"data._target_={COLOURS}", "model.num_conv=4"], 2, "model.num_conv=4: the image vanishes: 8 pixels halve"),
        (["data.clases=3"], 2, "data.clases=3: no such key"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong_with_own_data(
    arguments: list[str], code: int, said: str, run: Callable[..., Outcome]
) -> None:
    outcome = run(*arguments, "trainer.max_epochs=1")
    assert outcome.code == code
    assert outcome.err.startswith(f"mnist-lightning: error: {said}")
    assert outcome.err.count("\n") == 1


def test_nothing_that_a_runs_file_names_is_imported_to_look_at_it(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnist_lightning.export.images import images_of

    train(coloured(tiny, **{"trainer.max_epochs": 1}), tmp_path)
    monkeypatch.setattr("mnist_lightning.config.components.code_of", lambda *_: pytest.fail("it was imported"))
    stored_config(tmp_path / "config.yaml")
    assert images_of(tmp_path, Shape(3, 8, 12, 3)).pixels.shape == (1000, 3, 8, 12)
    images_of(tmp_path)
