"""Damaged bits: a record, a checkpoint, a data file or a plan that is not what was written is refused by name.

MNIST_TEST_LONG=1 multiplies the counts by 10.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_lightning import train
from mnist_lightning.config import DataConfig, ModelConfig, RunConfig, TrainerConfig
from mnist_lightning.data import datasets as data
from mnist_lightning.data import files
from mnist_lightning.errors import DataError, RefusedError
from mnist_lightning.records.plan import PLAN, read_plan
from mnist_lightning.records.results import RECORD, RunResult, load, load_results, save
from mnist_lightning.records.run_directory import QUARANTINE, stored_result
from mnist_lightning.training.checkpoints import BEST, LAST, load_classifier

pytestmark = pytest.mark.faults


LONG = os.environ.get("MNIST_TEST_LONG") == "1"
FLIPS = 5000 if LONG else 500
RESULT = RunResult(run_name="run", fingerprint="ab12", loss=0.1 + 0.2, error='="cmd"\n\x1b[31m é')


@contextmanager
def flipped(path: Path, place: float) -> Iterator[None]:
    """The file with one of its bits, at `place` of its length (0 to 1), the other way round for a block."""
    bit = int(place * path.stat().st_size * 8)

    def flip() -> None:
        with open(path, "r+b") as file:
            file.seek(bit // 8)
            (byte,) = file.read(1)
            file.seek(bit // 8)
            file.write(bytes([byte ^ 1 << bit % 8]))

    flip()
    yield
    flip()


def places(count: int) -> list[float]:
    chance = random.Random(7)
    return [chance.random() for _ in range(count)]


# 1. Records


def test_every_flipped_bit_of_a_record_is_found_and_the_file_named(tmp_path: Path) -> None:
    path = save(RESULT, tmp_path)
    for place in places(FLIPS):
        with flipped(path, place), pytest.raises(RefusedError, match=f"^{path}: no whole record"):
            load(path)
    assert repr(load(path)) == repr(RESULT)


def test_a_record_cut_off_anywhere_is_found_and_the_file_named(tmp_path: Path) -> None:
    path = save(RESULT, tmp_path)
    whole = path.read_bytes()
    for length in [0, len(whole) - 1, len(whole) - 2, *(int(place * len(whole)) for place in places(FLIPS // 2))]:
        path.write_bytes(whole[:length])
        with pytest.raises(RefusedError, match=f"^{path}: no whole record"):
            load(path)


def test_a_record_with_something_after_its_end_is_refused(tmp_path: Path) -> None:
    path = save(RESULT, tmp_path)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(RefusedError, match="no whole record"):
        load(path)


DAMAGES = ["empty", "flipped", "cut", "a directory", "a symbolic link to itself", "a dangling link", "too large"]


def damage(path: Path, how: str) -> None:
    whole = path.read_bytes()
    path.unlink()
    if how == "a directory":
        path.mkdir()
        (path / "kept").touch()
    elif how == "a symbolic link to itself":
        path.symlink_to(path)
    elif how == "a dangling link":
        path.symlink_to("nowhere")
    else:
        new = {"empty": b"", "flipped": b"\0" + whole[1:], "cut": whole[:99], "too large": whole + b" " * 2**20}
        path.write_bytes(new[how])


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_record_goes_to_quarantine_as_it_is_and_the_others_stay(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = (save(replace(RESULT, run_name=name), tmp_path / name) for name in ("good", "bad"))
    before = good.read_bytes()
    damage(bad, how)
    damaged = bad.read_bytes() if bad.is_file() else None
    assert stored_result(bad.parent) is None
    aside = tmp_path / QUARANTINE / "bad" / RECORD
    assert os.path.lexists(aside)
    assert not os.path.lexists(bad)
    assert (aside.read_bytes() if aside.is_file() else None) == damaged
    assert f"{bad}: no whole record" in capsys.readouterr().out
    assert repr(stored_result(good.parent)) == repr(load(good))
    assert good.read_bytes() == before


@pytest.mark.parametrize("first", DAMAGES)
@pytest.mark.parametrize("second", ["flipped", "a directory"])
def test_a_record_damaged_again_goes_to_quarantine_again(first: str, second: str, tmp_path: Path) -> None:
    """A disk that damaged one record damages others; the second time must not end in a traceback."""
    for how in (first, second):
        damage(save(RESULT, tmp_path / "run"), how)
        assert stored_result(tmp_path / "run") is None
    assert not os.path.lexists(tmp_path / "run" / RECORD)


def test_what_lies_in_quarantine_is_no_result_of_the_sweep(tmp_path: Path) -> None:
    damage(save(RESULT, tmp_path / "bad"), "flipped")
    save(replace(RESULT, run_name="good"), tmp_path / "good")
    stored_result(tmp_path / "bad")
    assert [r.run_name for r in load_results(tmp_path)] == ["good"]


# 2. Checkpoints


@pytest.fixture(scope="module")
def run_dir(mini_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Tests leave it as they found it."""
    config = RunConfig(
        model=ModelConfig(2, 1, 0),
        data=DataConfig(root=str(mini_mnist)),
        trainer=TrainerConfig(max_epochs=1, accelerator="cpu"),
    )
    directory = tmp_path_factory.mktemp("sweep") / "run"
    train(config, directory)
    return directory


@pytest.mark.parametrize("which", [LAST, BEST])
def test_every_flipped_bit_of_a_checkpoint_beside_its_record_is_found_and_the_file_named(
    which: str, run_dir: Path
) -> None:
    path = run_dir / which
    for place in places(FLIPS // 2):
        with flipped(path, place), pytest.raises(RefusedError, match=f"^{path}: .*its checksum is not the record's"):
            load_classifier(path)
    load_classifier(path)


@pytest.mark.parametrize("which", [LAST, BEST])
def test_a_checkpoint_cut_off_anywhere_is_found_and_the_file_named(which: str, run_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir, tmp_path / "run")
    path = tmp_path / "run" / which
    whole = path.read_bytes()
    for length in [0, 1, len(whole) - 1, *(int(place * len(whole)) for place in places(100))]:
        path.write_bytes(whole[:length])
        with pytest.raises(RefusedError, match=f"^{path}: "):
            load_classifier(path)


def test_a_checkpoint_of_another_run_in_its_place_is_refused(run_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir, tmp_path / "run")
    shutil.copy(run_dir / LAST, tmp_path / "run" / BEST)
    with pytest.raises(RefusedError, match="best.ckpt: .*its checksum is not the record's"):
        load_classifier(tmp_path / "run" / BEST)


def test_a_checkpoint_beside_a_damaged_record_is_refused_and_the_record_named(run_dir: Path) -> None:
    for place in places(FLIPS // 10):
        with flipped(run_dir / RECORD, place), pytest.raises(RefusedError, match=f"^{run_dir / RECORD}: no whole"):
            load_classifier(run_dir / LAST)


# 3. Data


def official(root: Path) -> dict[str, tuple[int, str]]:
    """What `data.OFFICIAL` would say if the data set under `root` were MNIST."""
    files = sorted((root / "MNIST" / "raw").iterdir())
    return {f"MNIST/{f.name}": (f.stat().st_size, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files}


def test_every_flipped_bit_of_the_data_is_found_and_the_file_named(
    mini_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(mini_mnist, tmp_path / "data")
    monkeypatch.setattr(files, "OFFICIAL", official(mini_mnist))
    config = DataConfig(root=str(tmp_path / "data"), download=False)
    paths = sorted((tmp_path / "data" / "MNIST" / "raw").iterdir())
    for i, place in enumerate(places(FLIPS)):
        path = paths[i % len(paths)]
        data.forget_data()
        with flipped(path, place), pytest.raises(DataError, match=f"^{path}: damaged, "):
            data.load_dataset(config)
    data.forget_data()
    assert len(data.load_dataset(config).train) == 192


def test_the_first_bits_of_each_data_file_count_too(
    mini_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The headers: few among random places, and what decides how much memory is asked for."""
    shutil.copytree(mini_mnist, tmp_path / "data")
    monkeypatch.setattr(files, "OFFICIAL", official(mini_mnist))
    for path in (tmp_path / "data" / "MNIST" / "raw").iterdir():
        for bit in range(8 * (16 if "images" in path.name else 8)):
            data.forget_data()
            with (
                flipped(path, (bit + 0.5) / 8 / path.stat().st_size),
                pytest.raises(DataError, match=f"^{path}: damaged, "),
            ):
                data.load_dataset(DataConfig(root=str(tmp_path / "data"), download=False))


def test_flipped_bits_of_mnist_itself_are_found(real_mnist: Path, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in files.FILES["mnist"].names():
        shutil.copy(real_mnist / "MNIST" / "raw" / name, raw)
    labels, images = sorted(raw.glob("*labels*")), sorted(raw.glob("*images*"))
    for i, place in enumerate(places(20)):
        with flipped(labels[i % 2], place), pytest.raises(DataError, match=f"^{labels[i % 2]}: damaged, "):
            files._verified_digest([labels[i % 2]])
    for i, place in enumerate(places(3)):
        data.forget_data()
        with flipped(images[i % 2], place), pytest.raises(DataError, match=f"^{images[i % 2]}: damaged, its SHA-256"):
            data.load_dataset(DataConfig(root=str(tmp_path / "data"), download=False))
    data.forget_data()


# 4. Plans

WHOLE_PLAN = '{"runs": {"ab12": {"run_name": "run", "config": {"lr": 0.1}}}, "data": {}, "versions": {}}'


def test_a_plan_cut_off_anywhere_is_refused_and_the_file_named(tmp_path: Path) -> None:
    path = tmp_path / PLAN
    for length in range(len(WHOLE_PLAN)):
        path.write_text(WHOLE_PLAN[:length])
        with pytest.raises(RefusedError, match=f"^{path}: no plan of a sweep"):
            read_plan(tmp_path)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"runs": 3}', '{"runs": {"a": 1}}', "\0" * 50, "[" * 100_000])
def test_what_is_no_plan_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text(text)
    with pytest.raises(RefusedError, match=f"^{tmp_path / PLAN}: no plan of a sweep"):
        read_plan(tmp_path)


def test_a_plan_with_a_flipped_bit_is_refused_or_still_a_plan_and_never_crashes(tmp_path: Path) -> None:
    path = tmp_path / PLAN
    path.write_text(WHOLE_PLAN)
    for place in places(FLIPS):
        with flipped(path, place):
            try:
                planned = read_plan(tmp_path)["runs"]
            except RefusedError as error:
                assert str(error).startswith(f"{path}: no plan of a sweep")
            else:
                assert len(planned) == 1  # another name or another fingerprint; never a run less
    assert read_plan(tmp_path)["runs"]["ab12"]["run_name"] == "run"


def test_a_directory_in_the_place_of_a_plan_is_refused(tmp_path: Path) -> None:
    (tmp_path / PLAN).mkdir()
    with pytest.raises(RefusedError, match="no plan of a sweep"):
        read_plan(tmp_path)
