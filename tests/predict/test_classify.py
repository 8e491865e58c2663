"""What the command says of the image files it is given, and the function that it calls."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_digits import drawn_digits
from mnist_lightning.config import RunConfig
from mnist_lightning.data.digit_images import digit_image
from mnist_lightning.data.image_files import read_picture
from mnist_lightning.errors import DataError, OutputError, RefusedError
from mnist_lightning.predict.__main__ import main
from mnist_lightning.predict.classify import Prediction, predict
from mnist_lightning.predict.show import Shown
from mnist_lightning.training.run import train
from report_cases import diverged, store
from trained_network import trained_checkpoint

Tiny = Callable[..., RunConfig]
Captured = pytest.CaptureFixture[str]
WAY_OUT = "give the path of a last.ckpt or best.ckpt"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a network, trained.ckpt, and the digits 0 to 9 of one kind, 0.png to 9.png."""
    monkeypatch.chdir(tmp_path)
    trained_checkpoint(tmp_path)
    for _, digit, picture in (one for one in drawn_digits(1) if one.kind == "shadow"):
        picture.save(f"{digit}.png")
    return tmp_path


def say(capsys: Captured, *arguments: str) -> tuple[int, list[str], list[str]]:
    """The command's exit code and its lines on standard output and error."""
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


@pytest.mark.usefixtures("here")
def test_a_line_for_each_file_in_their_order(capsys: Captured) -> None:
    code, out, err = say(capsys, "trained.ckpt", "7.png", "2.png", "./2.png")
    assert (code, err) == (0, [])
    assert [line.partition("  (")[0] for line in out] == ["7.png: 7", "2.png: 2", "./2.png: 2"]
    assert all(line.endswith(")") for line in out)


@pytest.mark.usefixtures("here")
def test_top_k_names_so_many_digits_the_most_probable_first(capsys: Captured) -> None:
    for k in (1, 3, 10):
        _, out, _ = say(capsys, "trained.ckpt", "5.png", "--top", str(k))
        words = out[0].removeprefix("5.png: ").split()
        shares = [float(word.strip("()")) for word in words[1::2]]
        assert (words[0], len(set(words[::2]))) == ("5", k)
        assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=0.01)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("k", "what"),
    [("0", "not possible; use one of 1, "), ("11", "not possible; use one of 1, "), ("many", "not a whole number")],
)
def test_no_other_number_of_digits_is_taken(k: str, what: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["trained.ckpt", "5.png", "--top", k])
    line = capsys.readouterr().err
    assert (ended.value.code, line.count("\n")) == (2, 1)
    assert line.startswith(f"mnist-lightning: error: --top={k}: {what}")


@pytest.mark.usefixtures("here")
def test_json_is_an_object_per_line_whatever_a_file_is_called(capsys: Captured) -> None:
    odd = 'a "b"\n\x1b[1m\udcff.png'
    shutil.copy("3.png", odd)
    Image.new("L", (90, 90), 255).save("empty.png")
    code, out, err = say(capsys, "--json", "trained.ckpt", odd, "--top=2", "empty.png")
    assert (code, err) == (0, [])
    first, second = map(json.loads, out)
    assert (first["path"], first["digit"], len(first["top"])) == (odd, 3, 2)
    assert first["top"][0] == {"digit": 3, "probability": first["probability"]}
    assert second == {"path": "empty.png", "digit": None, "probability": None, "top": []}


@pytest.mark.usefixtures("here")
def test_a_text_line_is_one_line_of_printable_characters(capsys: Captured) -> None:
    odd = "a\n\x1b[1m\udcff é.png"
    shutil.copy("3.png", odd)
    _, out, _ = say(capsys, "trained.ckpt", odd)
    assert out[0].startswith("a\\n\\x1b[1m\\udcff é.png: 3  (")


@pytest.mark.usefixtures("here")
def test_a_picture_without_a_digit_is_said_to_have_none_and_is_no_error(capsys: Captured) -> None:
    Image.new("L", (28, 28)).save("black.png")
    assert say(capsys, "trained.ckpt", "black.png") == (0, ["black.png: no digit"], [])


@pytest.mark.usefixtures("here")
def test_the_readable_files_are_answered_and_then_each_other_one_is_named(capsys: Captured) -> None:
    Path("bad.png").write_text("no picture")
    code, out, err = say(capsys, "trained.ckpt", "bad.png", "1.png", "none.png", "8.png")
    assert (code, [line[:8] for line in out]) == (4, ["1.png: 1", "8.png: 8"])
    assert err == [
        "mnist-lightning: error: bad.png: not a readable image (cannot identify image file); give a PNG or JPEG file",
        "mnist-lightning: error: none.png: no such file; give a PNG or JPEG file",
    ]


@pytest.mark.usefixtures("here")
def test_a_folder_stands_for_the_image_files_in_it_and_below_by_name(capsys: Captured) -> None:
    for path in ("in/b.png", "in/a.PNG", "in/.hidden.png", "in/sub/c.png", "in/.git/d.png"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("6.png", path)
    Path("in/notes.txt").write_text("no picture")
    code, out, err = say(capsys, "trained.ckpt", "in", "0.png")
    assert (code, err) == (0, [])
    assert [line.partition(":")[0] for line in out] == ["in/a.PNG", "in/b.png", "in/sub/c.png", "0.png"]
    Path("none").mkdir()
    said = "mnist-lightning: error: none: no image files in this folder; give a PNG or JPEG file"
    assert say(capsys, "trained.ckpt", "none", "missing.png")[2][0] == said


@pytest.mark.usefixtures("here")
def test_show_writes_what_the_network_saw_and_that_is_seen_again_as_it_is(capsys: Captured) -> None:
    Path("other").mkdir()
    shutil.copy("4.png", "other/5.png")
    Image.new("L", (90, 90), 255).save("empty.png")
    for _ in range(2):  # its own files are replaced
        code, out, err = say(capsys, "trained.ckpt", "5.png", "other/5.png", "empty.png", "--show", "seen")
        assert (code, len(out), err) == (0, 3, [])
    assert sorted(path.name for path in Path("seen").iterdir()) == ["5-2.png", "5.png"]
    for shown, source in (("5.png", "5.png"), ("5-2.png", "other/5.png")):
        with Image.open(Path("seen", shown)) as picture:
            pixels = np.asarray(picture)
        for path in (Path(source), Path("seen", shown)):
            image = digit_image(read_picture(path))
            assert image is not None
            assert np.array_equal(pixels, image)


@pytest.mark.usefixtures("here")
def test_show_never_writes_over_a_file_that_is_not_its_own(capsys: Captured) -> None:
    before = Path("5.png").read_bytes()
    code, out, err = say(capsys, "trained.ckpt", "5.png", "--show", ".")
    what = "5.png: is there already, and is no image that --show has left; choose another directory"
    assert (code, len(out), err) == (5, 1, [f"mnist-lightning: error: {what}"])
    assert Path("5.png").read_bytes() == before


def test_what_somebody_has_painted_in_and_links_are_not_its_own(tmp_path: Path) -> None:
    image = np.zeros((28, 28), np.uint8)
    written = Shown(tmp_path).write("a.png", image)
    with Image.open(written) as picture:
        marks, changed = picture.text, picture.copy()  # pyright: ignore[reportAttributeAccessIssue] - of a PNG file
    changed.putpixel((3, 3), 200)
    from PIL.PngImagePlugin import PngInfo

    kept = PngInfo()
    for name, text in marks.items():
        kept.add_text(name, text)
    changed.save(written, pnginfo=kept)
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c.png").mkdir()
    for name in ("a", "b", "c"):
        with pytest.raises(OutputError, match=rf"{name}\.png: is there already"):
            Shown(tmp_path).write(f"{name}.jpg", image)


def test_what_is_no_checkpoint_is_called_so_with_a_way_out_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (28, 28)).save("black.png")
    Path("empty").mkdir()
    not_one = f"refused, not a checkpoint of plain weights, or damaged; {WAY_OUT}"
    for name, said in (("black.png", not_one), ("empty", f"a directory; {WAY_OUT} in its checkpoints/")):
        assert main([name, "black.png"]) == 6
        assert capsys.readouterr().err == f"mnist-lightning: error: {name}: {said}\n"


def test_a_file_whose_name_begins_with_a_dash_is_taken_behind_a_point(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["last.ckpt", "-dash.png"])
    assert ended.value.code == 2
    line = "-dash.png: no such option; a file of that name is given as ./-dash.png; see --help"
    assert capsys.readouterr().err == f"mnist-lightning: error: {line}\n"


@pytest.mark.usefixtures("here")
def test_a_runs_directory_stands_for_its_best_checkpoint(tiny: Tiny) -> None:
    train(tiny(), "run")
    assert predict("run", "5.png") == predict("run/checkpoints/best.ckpt", "5.png")


@pytest.mark.usefixtures("here")
def test_a_sweeps_directory_stands_for_its_best_run_which_is_named_on_standard_error(
    tiny: Tiny, capsys: Captured
) -> None:
    best = max((train(tiny(lr=lr), f"sweep/{lr}") for lr in (0.1, 0.001)), key=lambda result: result.accuracy_test)
    code, out, err = say(capsys, "sweep", "5.png")
    sentence = f"the best run of sweep: {best.learning_rate:g} (test accuracy {best.accuracy_test:.4f})"
    assert (code, err) == (0, [sentence])
    assert predict("sweep", "5.png") == predict(f"sweep/{best.learning_rate:g}", "5.png")
    assert out[0].startswith("5.png: ")


@pytest.mark.usefixtures("here")
def test_a_sweep_without_a_result_is_refused(capsys: Captured) -> None:
    store([diverged()], Path("sweep"))
    said = "sweep: none of its runs has a result to choose by; give a run's directory"
    assert say(capsys, "sweep", "5.png") == (6, [], [f"mnist-lightning: error: {said}"])


@pytest.mark.usefixtures("here")
def test_the_function_gives_predictions_and_raises_or_hands_over_what_is_wrong() -> None:
    (three,) = predict("trained.ckpt", "3.png")
    assert isinstance(three, Prediction)
    assert (three.path, three.digit, three.top[0][0]) == ("3.png", 3, 3)
    assert sum(probability for _, probability in three.top) == pytest.approx(1)
    assert three.image is not None
    assert (three.image.shape, three.image.dtype) == ((28, 28), np.uint8)
    with pytest.raises(DataError, match="^none.png: no such file"):
        predict("trained.ckpt", ["3.png", "none.png"])
    unreadable: list[DataError] = []
    assert predict("trained.ckpt", [Path("none.png"), Path("3.png")], unreadable=unreadable) == [three]
    assert [str(error).partition(":")[0] for error in unreadable] == ["none.png"]
    with pytest.raises(RefusedError):
        predict("3.png", "3.png")


@pytest.mark.usefixtures("here")
def test_a_reader_who_has_read_enough_is_no_error() -> None:
    ends = os.pipe()
    command = [sys.executable, "-m", "mnist_lightning.predict", "trained.ckpt", *["3.png"] * 200]
    process = subprocess.Popen(command, stdout=ends[1], stderr=subprocess.PIPE)
    os.close(ends[1])
    os.close(ends[0])
    assert process.communicate()[1] == b""
    assert process.returncode == 0


@pytest.mark.usefixtures("here")
def test_a_terminal_without_our_letters_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("3.png", "é.png")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["trained.ckpt", "é.png"]) == 0
    assert written.getvalue()[:12] == b"\\xe9.png: 3 "


@pytest.mark.usefixtures("here")
def test_an_interrupt_ends_it_with_its_code_and_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def interrupted(path: str) -> Image.Image:
        if path == "5.png":
            raise KeyboardInterrupt
        return read_picture(path)

    monkeypatch.setattr("mnist_lightning.data.image_files.read_picture", interrupted)
    assert say(capsys, "trained.ckpt", "3.png", "5.png") == (130, [], [])
