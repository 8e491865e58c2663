"""What the benchmarks share: cases and their arithmetic, statistics, hardware and versions, JSON.

Imports neither torch nor this library at the top: the Keras worker lives in an interpreter that has neither.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BATCH = 64
LEARNING_RATE = 0.001
SIDE, CLASSES = 28, 10
SYNTHETIC_DISTINCT, SYNTHETIC_COPIES = 100, (500, 50)  # not the size of MNIST: that is checked to be MNIST
CASES = "32/2/1,32/2/5,64/3/3"
OPTIMIZERS = "adam,sgd,rmsprop"
RAW_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class Net(NamedTuple):
    """The study's architecture, written `32/2/1`: channels, convolutions after the first, hidden dense layers."""

    num_channels: int
    num_conv: int
    num_dense: int

    @classmethod
    def parse(cls, text: str) -> Net:
        return cls(*(int(number) for number in text.split("/")))

    def __str__(self) -> str:
        return f"{self.num_channels}/{self.num_conv}/{self.num_dense}"

    def convolutions(self) -> list[tuple[int, int, int]]:
        """(channels in, channels out, side of the image) of each 3x3 convolution, the first included."""
        layers = [(1, self.num_channels, SIDE)]
        for i in range(self.num_conv):
            layers.append((layers[-1][1], 2 * layers[-1][1], SIDE >> i))
        return layers

    def denses(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each dense layer, the output layer included."""
        widths = [self.num_channels * 2**self.num_conv * (SIDE >> self.num_conv) ** 2]
        widths += [int(2000 * (self.num_dense - i) / (self.num_dense + 1)) for i in range(self.num_dense)]
        return list(zip(widths, [*widths[1:], CLASSES], strict=True))


def forward_flops(net: Net) -> tuple[int, int]:
    """(of the first layer, of the whole net): floating point operations for one image, a multiply-add being two.

    Convolutions and dense layers only: they are more than 99 % of the arithmetic.
    """
    convolutions = [2 * 9 * before * after * side * side for before, after, side in net.convolutions()]
    return convolutions[0], sum(convolutions) + sum(2 * before * after for before, after in net.denses())


def step_flops(net: Net, batch: int = BATCH) -> int:
    """Of one training step. Each layer's backward is two products as large as its forward, one for the weights'
    gradient and one for the inputs'; the images need no gradient, so the first layer has only one."""
    first, all_layers = forward_flops(net)
    return batch * (3 * all_layers - first)


def summary(samples: Sequence[float]) -> dict[str, float]:
    """{median, min, max, n} of samples in any unit."""
    return {"median": statistics.median(samples), "min": min(samples), "max": max(samples), "n": len(samples)}


def geometric_mean(ratios: Iterable[float]) -> float:
    """The geometric mean; NaN of no ratio at all."""
    values = list(ratios)
    return statistics.geometric_mean(values) if values else math.nan


def fit_line(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Least squares y = intercept + slope x, and the exponent p of y ~ x^p (the slope between the logarithms).

    p is 1 for a cost that is proportional, 0 for one that does not grow; a fixed cost pulls it down.
    """
    slope, intercept = statistics.linear_regression(x, y)
    exponent = statistics.linear_regression([math.log(v) for v in x], [math.log(v) for v in y]).slope
    return {"intercept": intercept, "slope": slope, "exponent": exponent}


def shown(values: dict[str, float], digits: int = 2) -> str:
    """`12.34 [12.01..13.20] n=5`; a single sample has no spread: `12.34 n=1`."""
    median, low, high = (f"{values[k]:,.{digits}f}" for k in ("median", "min", "max"))
    spread = f" [{low}..{high}]" if values["n"] > 1 else ""
    return f"{median}{spread} n={values['n']}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that can also be read in a terminal: the first column left, the others right."""
    widths = [max(3, *(len(row[i]) for row in (header, *rows))) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for first, *rest in (header, rule, *rows):
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def conditions(result: dict[str, Any]) -> str:
    """Hardware, versions and date of a measurement in one line."""
    hardware, versions = result["hardware"], result["versions"]
    flags = [name for name, there in hardware["flags"].items() if there]
    names = [f"{name} {versions[name]}" for name in ("python", "torch", "lightning") if name in versions]
    parts = [hardware["cpu"], f"{hardware['cores']} cores", " ".join(flags), *names, result["date"][:10]]
    return ", ".join(filter(None, parts))


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware() -> dict[str, Any]:
    """CPU model, cores, the flags that decide about bf16, memory in GiB, load (1 min) when this was called."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    fields = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    flags = set(fields.get("flags", "").split())
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": cores(),
        "flags": {name: name in flags for name in wanted},
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(terse=True),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Python's, the packages' and the source's, as far as this interpreter has them."""
    versions_here = {"python": platform.python_version()}
    for package in ("torch", "torchvision", "lightning", "hydra-core", "numpy", "joblib", "tensorflow", "keras"):
        try:
            versions_here[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    if shutil.which("git"):
        versions_here["commit"] = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return versions_here


def report(benchmark: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The head of every JSON file: what was measured, when, on what, with which versions and settings."""
    return {
        "benchmark": benchmark,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "hardware": hardware(),
        "versions": versions(),
        "settings": settings,
    }


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Whole or not at all, on disk when this returns. No path: nothing is written."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


@contextmanager
def data_root(data: str, root: str | None) -> Iterator[Path]:
    """A directory with MNIST's four files in torchvision's layout; synthetic digits in a temporary one."""
    if data == "mnist":
        directory = Path(root or os.environ.get("MNIST_LIGHTNING_DATA") or "data").resolve()
        if not all((directory / "MNIST" / "raw" / name).is_file() for name in RAW_FILES):
            raise SystemExit(f"{directory}: no MNIST/raw with its four files; give --data-root or --data synthetic")
        yield directory
        return
    from mnist_lightning.data.synthetic import synthetic_digits

    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        raw = Path(temporary) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        images, labels = synthetic_digits(SYNTHETIC_DISTINCT, 0)  # a millisecond each, so they are repeated
        for part, copies in enumerate(SYNTHETIC_COPIES):
            count = SYNTHETIC_DISTINCT * copies
            write_idx(raw / RAW_FILES[2 * part], (count, SIDE, SIDE), images.numpy().tobytes() * copies)
            write_idx(raw / RAW_FILES[2 * part + 1], (count,), labels.numpy().astype("uint8").tobytes() * copies)
        yield Path(temporary)


def write_idx(path: Path, shape: tuple[int, ...], content: bytes) -> None:
    """A file of bytes in MNIST's format."""
    path.write_bytes(struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + content)


def environment(threads: int | None = None) -> dict[str, str]:
    """For a subprocess: finds this folder as a package; `threads` for every library that computes.

    0 threads: whatever the libraries choose, though this process may have been told a number.
    """
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    if threads is not None:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
        variables = {k: v for k, v in variables.items() if k not in names}
        variables |= {name: str(threads) for name in names if threads}
    return variables


def timed(command: Sequence[str], **options: Any) -> float:
    """Wall seconds of a command that must end well. What it said is shown when it does not."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, **options)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}")
    return seconds
