"""What the command says of the image files it is given."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mnist_lightning.config import DataConfig, ModelConfig, RunConfig, TrainerConfig
from mnist_lightning.errors import DataError
from mnist_lightning.predict.__main__ import main
from mnist_lightning.predict.classify import predict, read_image
from mnist_lightning.training.run import train


def test_a_missing_image_is_called_missing_and_a_damaged_one_not_readable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: no such file; give a PNG or JPEG file$"):
        read_image(str(tmp_path / "none.png"))
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(DataError, match=r"bad\.png: not a readable image \("):
        read_image(str(tmp_path / "bad.png"))


WAY_OUT = "give the path of a last.ckpt or best.ckpt"


def test_what_is_no_checkpoint_is_called_so_with_a_way_out_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (28, 28)).save("black.png")
    Path("empty").mkdir()
    not_one = f"refused, not a checkpoint of plain weights, or damaged; {WAY_OUT}"
    for name, said in (("black.png", not_one), ("empty", f"a directory; {WAY_OUT} in its checkpoints/")):
        assert main([name, "black.png"]) == 6
        assert capsys.readouterr().err == f"mnist-lightning: error: {name}: {said}\n"


def test_a_file_whose_name_begins_with_a_dash_is_taken_behind_a_point(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["last.ckpt", "-dash.png"])
    assert ended.value.code == 2
    line = "-dash.png: no such option; a file of that name is given as ./-dash.png; see --help"
    assert capsys.readouterr().err == f"mnist-lightning: error: {line}\n"


def test_a_runs_directory_stands_for_its_best_checkpoint(tmp_path: Path) -> None:
    data = DataConfig("synthetic", train_size=64, test_size=32)
    trainer = TrainerConfig(max_epochs=1, accelerator="cpu", precision="32-true")
    train(RunConfig(model=ModelConfig(2, 1, 0), data=data, trainer=trainer), tmp_path / "run")
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    images = [str(tmp_path / "black.png")]
    assert predict(tmp_path / "run", images) == predict(tmp_path / "run/checkpoints/best.ckpt", images)
