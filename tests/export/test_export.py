"""Exported files: what they compute, which are kept, what is said when they cannot be made."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mnist_lightning import MNISTClassifier, export, train_many
from mnist_lightning.config import DataConfig, ModelConfig, RunConfig, TrainerConfig
from mnist_lightning.data.datasets import load_dataset, scale
from mnist_lightning.errors import ConfigError, OutputError, RefusedError
from mnist_lightning.export import formats, images, write
from mnist_lightning.export.__main__ import main
from mnist_lightning.export.formats import FORMATS
from mnist_lightning.export.packages import PACKAGES, needed
from mnist_lightning.numerics.losses import probabilities
from mnist_lightning.training.checkpoints import load_classifier
from mnist_lightning.training.run import train

SKIPPED = {
    name: pytest.mark.skipif(
        any(find_spec(package) is None for package in packages), reason=f'pip install "mnist-lightning[{name}]"'
    )
    for name, packages in PACKAGES.items()
}
EACH = [pytest.param(name, marks=SKIPPED[name]) for name in PACKAGES]
INSTALLED = [name for name, packages in PACKAGES.items() if all(find_spec(package) for package in packages)]


def saved(path: Path, module: MNISTClassifier) -> Path:
    """A checkpoint of a network that was not trained."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}, path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RUN/checkpoints/best.ckpt of the smallest network; its data set is not at hand."""
    monkeypatch.setenv("MNIST_LIGHTNING_DATA", str(tmp_path / "nowhere"))
    return saved(tmp_path / "mine" / "checkpoints" / "best.ckpt", MNISTClassifier(2, 1, 0, seed=1))


def network(path: Path) -> Callable[[Tensor], Tensor]:
    """What the network of a checkpoint says of raw images [N, 1, 28, 28]: probabilities [N, 10]."""
    module = load_classifier(path).float()
    return lambda pixels: probabilities(module(pixels))


def largest_difference(path: Path, checkpoint: Path, pixels: Tensor, batch: int, *, raw: bool = False) -> float:
    loaded, wanted = FORMATS[path.suffix[1:]].load(path, None), network(checkpoint)
    with torch.inference_mode():
        parts = [(loaded(x if raw else scale(x)) - wanted(x)).abs().max() for x in pixels.split(batch)]
    return max(parts).item()


# --- what the files compute


@pytest.fixture(scope="session")
def trained(real_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run on some of real MNIST."""
    data = DataConfig(root=str(real_mnist), download=False, train_size=3000, test_size=500)
    trainer = TrainerConfig(max_epochs=1, accelerator="cpu", precision="32-true")
    config = RunConfig("adam", lr=0.003, model=ModelConfig(4, 2, 1), data=data, trainer=trainer)
    directory = tmp_path_factory.mktemp("trained") / "adam"
    assert train(config, directory).accuracy_test > 0.8
    return directory


@pytest.mark.parametrize("raw", [False, True], ids=["float", "uint8"])
@pytest.mark.parametrize("name", EACH)
def test_a_file_says_of_10_000_real_images_what_the_network_says(
    name: str, raw: bool, trained: Path, real_mnist: Path, tmp_path: Path
) -> None:
    (written,) = export(trained, name, tmp_path, preprocess=raw)
    assert (written.dataset, written.images) == ("mnist", 1000)
    assert written.difference <= 1e-5
    pixels = load_dataset(DataConfig(root=str(real_mnist), download=False)).test.images
    assert len(pixels) == 10_000
    best = trained / "checkpoints" / "best.ckpt"
    assert largest_difference(written.path, best, pixels, 1000, raw=raw) <= 1e-5
    for batch in (1, 7):
        assert largest_difference(written.path, best, pixels[:22], batch, raw=raw) <= 1e-5


@pytest.mark.parametrize("sizes", [(1, 0, 0), (3, 4, 0), (2, 0, 2), (5, 1, 3)], ids=str)
def test_a_network_of_any_depth_is_exported(sizes: tuple[int, int, int], tmp_path: Path) -> None:
    path = saved(tmp_path / "net.ckpt", MNISTClassifier(*sizes, seed=2))
    assert all(written.difference <= 1e-5 for written in export(path, INSTALLED))


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_whatever_a_run_computed_in_its_files_compute_in_float32(
    precision: str, tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    train(tiny(**{"trainer.precision": precision, "trainer.max_epochs": 1}), tmp_path / "run")
    for written in export(tmp_path / "run", INSTALLED):
        found = FORMATS[written.path.suffix[1:]].load(written.path, None)(torch.zeros(2, 1, 28, 28))
        assert (found.dtype, found.shape) == (torch.float32, (2, 10))
        assert written.difference <= 1e-5


def test_runs_that_were_trained_together_are_exported_one_by_one(
    tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    directories = [tmp_path / "a", tmp_path / "b"]
    results = train_many([tiny(lr=0.1), tiny(lr=0.01)], directories)
    assert [result.engine for result in results] == ["fused", "fused"]
    for directory in directories:
        for written in export(directory, INSTALLED, tmp_path / "models"):
            assert (written.path.stem, written.dataset, written.images) == (directory.name, "mnist", 64)


@SKIPPED["onnx"]
@pytest.mark.parametrize(("raw", "number"), [(False, "tensor(float)"), (True, "tensor(uint8)")])
def test_an_onnx_file_names_its_input_and_output_with_their_types_and_shapes(
    raw: bool, number: str, checkpoint: Path
) -> None:
    (written,) = export(checkpoint, "onnx", preprocess=raw)
    session = needed("onnx", "onnxruntime").InferenceSession(written.path)
    ((put_in,), (comes_out,)) = session.get_inputs(), session.get_outputs()
    assert (put_in.name, put_in.type, put_in.shape) == ("images", number, ["batch", 1, 28, 28])
    assert (comes_out.name, comes_out.type, comes_out.shape) == ("probabilities", "tensor(float)", ["batch", 10])


# --- where nothing of this package is


ONNX_ALONE = """
import sys
sys.path.append(sys.argv[1])
import json, numpy as np, onnxruntime
for package in ("torch", "lightning", "mnist_lightning", "onnx"):
    try: __import__(package)
    except ImportError: continue
    sys.exit(f"{package} can be imported")
session = onnxruntime.InferenceSession(sys.argv[2])
images = np.load(sys.argv[3])
parts = [session.run(None, {"images": part})[0] for part in np.array_split(images, 10)]
print(json.dumps(np.concatenate(parts).argmax(1).tolist()))
"""


@SKIPPED["onnx"]
def test_where_only_numpy_and_onnxruntime_are_an_onnx_file_gives_the_same_digits(
    trained: Path, real_mnist: Path, tmp_path: Path
) -> None:
    import numpy as np

    (written,) = export(trained, "onnx", tmp_path, preprocess=True)
    pixels = load_dataset(DataConfig(root=str(real_mnist), download=False)).test.images
    np.save(tmp_path / "images.npy", pixels.numpy())
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("numpy", "numpy.libs", "onnxruntime"):
        there = [Path(place) / name for place in sys.path if (Path(place) / name).is_dir()]
        if there:  # not every numpy has libraries beside it
            (packages / name).symlink_to(there[0])
    command = [sys.executable, "-I", "-S", "-c", ONNX_ALONE, packages, written.path, tmp_path / "images.npy"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with torch.inference_mode():
        wanted = torch.cat([network(trained / "checkpoints/best.ckpt")(x).argmax(1) for x in pixels.split(1000)])
    assert json.loads(done.stdout) == wanted.tolist()


PT2_ALONE = """
import sys
sys.modules["lightning"] = sys.modules["mnist_lightning"] = sys.modules["torchvision"] = None
import torch
files = {"mnist_lightning.json": ""}
program = torch.export.load(sys.argv[1], extra_files=files).module()
print(files["mnist_lightning.json"])
print(program(torch.zeros(3, 1, 28, 28)).shape)
"""


def test_where_only_torch_is_a_pt2_file_is_a_function_that_says_what_was_trained(checkpoint: Path) -> None:
    (written,) = export(checkpoint, "pt2")
    done = subprocess.run([sys.executable, "-c", PT2_ALONE, written.path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said, shape = done.stdout.splitlines()
    assert json.loads(said)["configuration"]["num_conv"] == 1
    assert shape == "torch.Size([3, 10])"


@pytest.mark.parametrize("name", EACH)
def test_a_file_holds_its_configuration_and_the_checkpoints_digest_and_no_path_of_this_machine(
    name: str, checkpoint: Path
) -> None:
    (written,) = export(checkpoint, name)
    content = written.path.read_bytes().replace(b'\\"', b'"')  # JSON within JSON
    assert b'"num_channels": 2, "num_conv": 1, "num_dense": 0, "optimizer": "rmsprop"' in content
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest().encode() in content
    assert str(Path(formats.__file__).parent).encode() not in content
    assert str(checkpoint.parents[1]).encode() not in content


# --- which files are kept


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_files_go_into_the_runs_directory_and_are_called_like_it(checkpoint: Path) -> None:
    run = checkpoint.parents[1]
    last = checkpoint.with_name("last.ckpt")
    last.write_bytes(checkpoint.read_bytes())
    assert [str(written.path) for written in export(run, "pt2")] == [f"{run}/mine.pt2"]
    assert [str(written.path) for written in export(str(last), ["pt2"])] == [f"{run}/mine_last.pt2"]
    assert names_in(run) == {"checkpoints", "mine.pt2", "mine_last.pt2", ".export.sha256"}


def test_it_is_the_same_run_from_within_its_directory(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkpoint.parent)
    assert [written.path for written in export("best.ckpt", "pt2")] == [checkpoint.parents[1] / "mine.pt2"]
    monkeypatch.chdir(checkpoint.parents[1])
    assert [str(written.path) for written in export(".", "pt2", "models")] == ["models/mine.pt2"]


def test_files_of_a_checkpoint_that_was_moved_go_beside_it_under_its_name(checkpoint: Path, tmp_path: Path) -> None:
    moved = checkpoint.rename(tmp_path / "seven.ckpt")
    assert [written.path for written in export(moved, "pt2")] == [tmp_path / "seven.pt2"]


def test_exported_again_a_file_has_the_same_bytes_and_its_predecessor_is_replaced(
    checkpoint: Path, tmp_path: Path
) -> None:
    first = [(w.path, w.path.read_bytes()) for w in export(checkpoint, INSTALLED)]
    assert [(w.path, w.path.read_bytes()) for w in export(checkpoint, INSTALLED)] == first
    saved(checkpoint, MNISTClassifier(2, 1, 0, seed=5))
    again = export(checkpoint, INSTALLED)
    assert [w.aside for w in again] == [None] * len(INSTALLED)
    assert all(w.path.read_bytes() != content for w, (_, content) in zip(again, first, strict=True))
    names = {f"mine.{name}" for name in INSTALLED}
    assert names_in(checkpoint.parents[1]) == {"checkpoints", ".export.sha256", *names}


def test_the_seal_is_what_sha256sum_reads(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, "pt2", tmp_path)
    export(checkpoint, "pt2", tmp_path)
    digest = hashlib.sha256((tmp_path / "mine.pt2").read_bytes()).hexdigest()
    assert (tmp_path / ".export.sha256").read_text() == f"{digest}  mine.pt2\n"


def test_a_file_that_is_not_as_export_left_it_is_kept_and_that_is_said(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = checkpoint.parents[1] / "mine.pt2"
    for number, kept in enumerate(("mine.bak.pt2", "mine.bak2.pt2")):
        mine.write_text(f"a year of work {number}")
        assert main([str(checkpoint), "--to", "pt2"]) == 0
        assert capsys.readouterr().out.endswith(f" of synthetic; what was there is kept as {kept}\n")
        assert mine.with_name(kept).read_text() == f"a year of work {number}"


def test_a_file_that_computes_something_else_is_not_kept_nor_are_its_neighbours(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = formats.Classifier(MNISTClassifier(2, 1, 0, seed=9).net)
    wrong = FORMATS["pt2"]._replace(content=lambda _, description: formats.pt2_content(other, description))
    monkeypatch.setitem(FORMATS, "pt2", wrong)
    monkeypatch.setitem(FORMATS, "safetensors", formats.Format(formats.pt2_content, formats.load_pt2))
    monkeypatch.setitem(PACKAGES, "safetensors", ())
    run = checkpoint.parents[1]
    (run / "mine.pt2").write_text("a year of work")
    assert main([str(run), "--to", "safetensors,pt2"]) == 6
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"mnist-lightning: error: {checkpoint}: refused, as pt2 its probabilities differ by ")
    assert said.err.count("\n") == 1
    assert names_in(run) == {"checkpoints", "mine.pt2"}
    assert (run / "mine.pt2").read_text() == "a year of work"


def test_a_difference_of_more_than_a_hundred_thousandth_is_refused_in_these_words(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write.Compared, "difference", lambda *_: 1.01e-5)
    what = "as pt2 its probabilities differ by 1.0e-05, more than 1e-05; nothing was kept, choose another run or format"
    with pytest.raises(RefusedError) as refused:
        export(checkpoint, "pt2")
    assert str(refused.value) == f"{checkpoint}: refused, {what}"
    monkeypatch.setattr(write.Compared, "difference", lambda *_: 1e-5)
    assert [written.difference for written in export(checkpoint, "pt2")] == [1e-5]


@pytest.mark.parametrize("wrong", [lambda p: p[:, :9], lambda p: p * torch.nan], ids=["of another shape", "not finite"])
def test_an_answer_of_another_shape_or_not_finite_differs_without_bound(
    wrong: Callable[[Tensor], Tensor], checkpoint: Path
) -> None:
    compared = write.Compared(load_classifier(checkpoint), images.images_of(None), preprocess=False)
    assert compared.difference(lambda x: compared.classifier(x)) <= 1e-7
    assert compared.difference(lambda x: wrong(compared.classifier(x))) == torch.inf


def test_it_is_compared_in_batches_of_1_and_7_and_more() -> None:
    batches = images.images_of(None).batches()
    assert [len(batch) for batch in batches] == [1, 7, 1, 7, 250, 250, 250, 234]
    few = images.Images(torch.zeros(9, 1, 28, 28), "few").batches()
    assert [len(batch) for batch in few] == [1, 7, 1]


def test_the_images_are_the_runs_if_its_files_are_at_hand_and_else_synthetic(
    tiny: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_LIGHTNING_DATA", str(tmp_path / "nowhere"))
    config = tiny(**{"trainer.max_epochs": 1})
    train(config, tmp_path / "run")
    assert images.images_of(tmp_path / "run").dataset == "mnist"
    text = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(text.replace(config.data.root, "/nowhere"))
    assert images.images_of(tmp_path / "run").dataset == "synthetic"
    monkeypatch.setenv("MNIST_LIGHTNING_DATA", config.data.root)
    assert images.images_of(tmp_path / "run").dataset == "mnist"
    (tmp_path / "run" / "config.yaml").write_text("nonsense: [")
    assert images.images_of(tmp_path / "run").dataset == "mnist"


# --- what is said


def test_the_user_sees_one_line_for_each_file_and_no_file_but_those(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "mnist_lightning.export", checkpoint, "--to", ",".join(INSTALLED)]
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "empty", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    run = checkpoint.parents[1]
    assert [line.partition(": ")[0] for line in lines] == [f"{run}/mine.{name}" for name in INSTALLED]
    for line in lines:
        size = (run / Path(line.partition(": ")[0]).name).stat().st_size
        assert f": {size / 1e3:.0f} kB, probabilities differ by at most " in line
        assert line.endswith(" on 1,000 test images of synthetic")
    assert names_in(tmp_path / "empty") == set()
    assert names_in(run) == {"checkpoints", ".export.sha256", *(f"mine.{name}" for name in INSTALLED)}


@pytest.mark.parametrize("given", ["tflite", "pt2,tflite", "", "pt2,"])
def test_an_unknown_format_is_refused_with_those_there_are(
    given: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = given.rpartition(",")[2]
    assert main([str(checkpoint), "--to", given]) == 2
    line = f"--to={unknown}: no such format; use onnx, pt2, safetensors"
    assert capsys.readouterr().err == f"mnist-lightning: error: {line}\n"


@pytest.mark.parametrize(("name", "package"), [(n, p) for n, packages in PACKAGES.items() for p in packages])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    name: str, package: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PACKAGES, name, (package,))
    monkeypatch.setitem(sys.modules, package, None)
    assert main([str(checkpoint), "--to", f"pt2,{name}"]) == 2
    line = f'--to={name}: {package} is not installed; pip install "mnist-lightning[{name}]"'
    assert capsys.readouterr().err == f"mnist-lightning: error: {line}\n"
    assert names_in(checkpoint.parents[1]) == {"checkpoints"}


def test_a_sweeps_directory_stands_for_its_best_run_which_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = RunConfig(model=ModelConfig(2, 1, 0), data=DataConfig("synthetic", train_size=64, test_size=64))
    runs = [replace(tiny, lr=lr, trainer=TrainerConfig(max_epochs=1)) for lr in (0.1, 0.001)]
    best = max((train(run, f"sweep/{run.lr}") for run in runs), key=lambda result: result.accuracy_test)
    where = f"sweep/{best.learning_rate:g}"
    assert main(["sweep", "--to", "pt2"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"the best run of sweep: {best.learning_rate:g} (test accuracy ")
    assert said.out.startswith(f"{where}/{best.learning_rate:g}.pt2: ")


def test_what_is_no_checkpoint_is_refused_as_by_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("best.ckpt").write_text("nothing of the kind")
    Path("empty").mkdir()
    for name in ("best.ckpt", "empty", "missing.ckpt"):
        assert main([name, "--to", "pt2"]) == 6
        said = capsys.readouterr().err
        assert said.startswith(f"mnist-lightning: error: {name}: ")
        assert "give the path of a last.ckpt or best.ckpt" in said
    assert names_in(tmp_path) == {"best.ckpt", "empty"}


def test_a_diverged_network_is_refused(tmp_path: Path) -> None:
    module = MNISTClassifier(1, 0, 0)
    with torch.no_grad():
        module.net.get_parameter("output.bias").fill_(torch.nan)
    with pytest.raises(RefusedError, match="its weights are not finite"):
        export(saved(tmp_path / "net.ckpt", module), "pt2")


def test_where_nothing_can_be_written_that_is_said(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OutputError, match=r"file/mine\.pt2: cannot be written \(File exists\); free the disk or choose"
    ):
        export(checkpoint, "pt2", tmp_path / "file")
    (tmp_path / "taken" / "mine.pt2").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"taken/mine\.pt2: cannot be written"):
        export(checkpoint, "pt2", tmp_path / "taken")
    assert names_in(tmp_path / "taken") <= {"mine.pt2", ".export.sha256"}


def test_a_network_that_cannot_be_expressed_is_refused_in_one_line(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> bytes:
        raise RuntimeError("no such operator\nin many lines")

    monkeypatch.setitem(FORMATS, "pt2", FORMATS["pt2"]._replace(content=cannot))
    what = "cannot be written as pt2 (no such operator in many lines); choose another format"
    with pytest.raises(RefusedError) as refused:
        export(checkpoint, "pt2")
    assert str(refused.value) == f"{checkpoint}: refused, {what}"


def test_weights_that_one_onnx_file_cannot_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_LARGEST_ONNX", 1000)
    what = r"--to=onnx: 0\.0 GB of weights, and one file holds 2 GB; use pt2 or safetensors"
    with pytest.raises(RefusedError, match=what):
        formats.onnx_content(formats.Classifier(MNISTClassifier(2, 1, 0).net), "{}")


def test_formats_are_taken_once_in_the_order_given() -> None:
    assert write.formats_of(" pt2, pt2 ") == ["pt2"]
    with pytest.raises(ConfigError, match="--to=: no such format"):
        write.formats_of([])


def test_an_exported_file_prints_as_its_line() -> None:
    written = write.Exported(Path("mine.onnx"), 1_234_567, 2.5e-7, 1000, "mnist")
    line = "mine.onnx: 1.2 MB, probabilities differ by at most 2.5e-07 on 1,000 test images of mnist"
    assert str(written) == line
    kept = replace(written, difference=0.0, size=999, aside=Path("models/mine.bak.onnx"))
    assert str(kept) == (
        "mine.onnx: 1 kB, probabilities differ by at most 0 on 1,000 test images of mnist; "
        "what was there is kept as mine.bak.onnx"
    )
