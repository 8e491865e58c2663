"""Shared fixtures: a small data set in MNIST's files, the real one where it is, the command line in process."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch: two processes with two threads each slow each other tenfold
    os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch

from commands import Command, exit_code, forked, own_mounts, start_forked, start_real
from mnist_lightning import MNISTClassifier, report
from mnist_lightning.command import cli
from mnist_lightning.config import DataConfig, ModelConfig, RunConfig, TrainerConfig, parse
from mnist_lightning.data import datasets
from mnist_lightning.data.synthetic import synthetic_digits
from mnist_lightning.numerics import one_pass
from mnist_lightning.training import fast_updates

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background; what tests start would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)
REAL_MNIST = os.environ.get("MNIST_LIGHTNING_DATA", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that kill and wait come first: while one process waits the others compute, and no long one is left last."""
    items.sort(key=lambda item: item.get_closest_marker("faults") is None)


@pytest.fixture
def worth_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every training is long enough for its updates to be compiled, and every parameter large enough."""
    if not one_pass.updates_in_one_pass("sgd", torch.float32):
        pytest.skip("there is no C++ compiler that works")
    monkeypatch.setattr(fast_updates, "WORTH_COMPILING", 0)
    monkeypatch.setattr(one_pass, "PIECE", 0)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`run("lr=0.1", "-m")`: the command line in a directory of its own; its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(report, "write_report", report.write_tables)  # figures take seconds; test_report_* has them

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = cli.main(list(arguments))
        printed = capfd.readouterr()
        return Outcome(code, str(printed.out), str(printed.err))

    return call


def data_in(root: Path, **changes: object) -> DataConfig:
    """The data set whose files lie below `root`, with other fields as given."""
    return DataConfig(root=str(root), download=False, **changes)  # pyright: ignore[reportArgumentType] - fields by name


@pytest.fixture
def no_cached_data() -> Iterator[None]:
    """What was read before is read again."""
    datasets.forget_data()
    yield
    datasets.forget_data()


def write_idx(path: Path, values: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.to(torch.uint8).numpy().tobytes())


def write_mnist(root: Path, num_train: int = 192, num_test: int = 64, folder: str = "MNIST") -> Path:
    """Synthetic digits in the four files of an MNIST-like data set, as torchvision lays them out."""
    for prefix, count, seed in (("train", num_train, 5), ("t10k", num_test, 6)):
        images, labels = synthetic_digits(count, seed)
        write_idx(root / folder / "raw" / f"{prefix}-images-idx3-ubyte", images[:, 0])
        write_idx(root / folder / "raw" / f"{prefix}-labels-idx1-ubyte", labels)
    return root


@pytest.fixture(scope="session")
def mini_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with 192 training and 64 test images. Read only."""
    return write_mnist(tmp_path_factory.mktemp("data"))


@pytest.fixture
def tiny(mini_mnist: Path) -> Callable[..., RunConfig]:
    """`tiny(lr=0.1, **{"trainer.max_epochs": 3})`: the smallest configuration that trains, with changes."""
    from mnist_lightning.training.runtime import freeze_imports

    freeze_imports()  # each run ends with a garbage collection: 0.2 s among all that a test process has imported

    def make(**changes: object) -> RunConfig:
        base = RunConfig(
            model=ModelConfig(2, 1, 0),
            data=DataConfig(root=str(mini_mnist)),
            trainer=TrainerConfig(max_epochs=2, accelerator="cpu", precision="32-true"),
        )
        for key, value in changes.items():
            section, _, name = key.rpartition(".")
            setattr(getattr(base, section) if section else base, name, value)
        return parse(vars(base) | {k: vars(v) for k, v in vars(base).items() if hasattr(v, "identity")})

    return make


@pytest.fixture(scope="session")
def tiny_arguments(mini_mnist: Path) -> list[str]:
    """The same as overrides for the command line."""
    model = ["model.num_channels=2", "model.num_conv=1", "model.num_dense=0"]
    return [
        *model,
        f"data.root={mini_mnist}",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "trainer.precision=32-true",
    ]


@pytest.fixture(scope="session")
def real_mnist() -> Path:
    root = Path(REAL_MNIST)
    if not REAL_MNIST or not (root / "MNIST" / "raw").is_dir():
        pytest.skip("real MNIST not found: set MNIST_LIGHTNING_DATA to torchvision's root directory of it")
    return root


@pytest.fixture(scope="session")
def start_in(tiny_arguments: list[str]) -> Iterator[Callable[[Path], Callable[..., Command]]]:
    """`start_in(directory)("-m", "lr=0.1,0.2")` starts the command there, on the smallest network; see `start`."""
    started: list[Command] = []

    def bind(directory: Path) -> Callable[..., Command]:
        def call(*arguments: str, real: bool = False, **environment: str) -> Command:
            output = next(o for i in itertools.count() if not (o := directory / f".output{i}").exists())
            output.mkdir()
            how = start_real if real else start_forked
            started.append(how([*tiny_arguments, *arguments], directory, output, **environment))
            return started[-1]

        return call

    yield bind
    for command in started:
        command.kill()


@pytest.fixture
def start(start_in: Callable[[Path], Callable[..., Command]], tmp_path: Path) -> Callable[..., Command]:
    """`start("-m", "lr=0.1,0.2")`: the command in a process group of its own, in tmp_path.

    Forked from a process that has imported everything; `real=True`: by a new interpreter, with figures.
    """
    return start_in(tmp_path)


@pytest.fixture(scope="session")
def mounts() -> None:
    """Skips where a process may not have mounts of its own: unprivileged user namespaces are off on some systems."""

    def work() -> int:
        own_mounts()
        return os.system("mount -t tmpfs none /mnt")

    if exit_code(forked(work)) != 0:
        pytest.skip("no user namespaces here: a disk cannot be made full or read-only for a test")


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Fails a test that takes a minute: it waits for something that never comes."""

    def fail(*_: object) -> None:
        raise TimeoutError("still waiting after 60 s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A path at which nothing must have appeared when the test is over."""
    from attack_files import Call

    path = tmp_path / "canary"
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "canary_module.py").write_text(f"open({str(path)!r}, 'w').close()")
    Path(f"{path}.pickle").write_bytes(pickle.dumps(Call(os.system, f"touch {path}")))
    monkeypatch.syspath_prepend(modules)
    yield path
    sys.modules.pop("canary_module", None)
    assert not os.path.lexists(path)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: a kill hits a file there as anywhere, a hundred times as often."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.fixture
def break_off(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is raised, if anything, when a training begins its second epoch; the epochs that were begun follow it."""
    plan: list[object] = [None]
    begin_epoch = MNISTClassifier.on_train_epoch_start

    def noted(module: MNISTClassifier) -> None:
        plan.append(module.current_epoch)
        if module.current_epoch == 1 and isinstance(plan[0], BaseException):
            raise plan[0]
        begin_epoch(module)

    monkeypatch.setattr(MNISTClassifier, "on_train_epoch_start", noted)
    return plan
