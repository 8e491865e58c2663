"""Hand-made sweeps for the tests of the report: records, and the files that training leaves beside them."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from mnist_lightning.records.plan import PLAN
from mnist_lightning.records.predictions import Predictions, make_predictions, save_predictions
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.report import write_report
from mnist_lightning.report.frame import frame_of
from mnist_lightning.report.verdicts import COLLAPSED, FLAT, UNCLEAR

HOSTILE = (
    '=cmd|" /C calc"!A0',
    "@SUM(1)",
    "+1+1",
    "-2+3",
    "\t=1",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "</style><script>alert(1)</script>",
    "a\nb\r\x00\x1b[31mred\x07",
    "\ud800 lone \uffff",
    "\u202egnp.exe",
    "$\\frac{1}{",
    "x" * 40_000,
    "--><script>alert(1)</script>",
    "../../etc",
    "{{ 7*7 }}",
    "{% raw %}",
)


def record(
    optimizer: str = "Adam",
    loss: str = "mse",
    lr: float = 0.001,
    accuracy: float = 0.9,
    size: str = "32/2/1",
    **more: object,
) -> RunResult:
    """A completed run on MNIST under the study's conditions, unless `more` says otherwise."""
    c, k, d = map(int, size.split("/"))
    seed = int(str(more.get("seed", 0)))
    name = f"{optimizer}_{loss}_lr{lr:.0e}_num_channel{c}_num_conv{k}_num_dense{d}_{seed:08x}"
    made = RunResult(
        optimizer=optimizer, loss_func=loss, learning_rate=lr, loss=0.01, mse=0.01, mae=0.02, accuracy=accuracy,
        loss_test=0.012, mse_test=0.012, mae_test=0.021, accuracy_test=accuracy, best_epoch=3,
        num_parameters=1000 * c * d + k, num_channels=c, num_conv=k, num_dense=d, binary_accuracy=0.8 + 0.2 * accuracy,
        binary_accuracy_test=0.8 + 0.2 * accuracy, status="completed", dataset="mnist", train_size=60_000,
        test_size=10_000, batch_size=64, epochs=20, seed=seed, precision="32-true", engine="lightning", group_size=1,
        device="cpu (test)", duration_seconds=4.5, samples_per_second=1e4, fingerprint="ab12cd34ef567890",
        run_name=name, version="0.1.0", torch_version="2.15.0", val_size=0, loss_val=0.012, accuracy_val=accuracy,
    )  # fmt: skip
    return replace(made, **more)  # pyright: ignore[reportArgumentType] - fields by name


def failed(**more: object) -> RunResult:
    nothing = dict.fromkeys(("loss", "accuracy", "accuracy_test", "binary_accuracy_test", "duration_seconds"), math.nan)
    return replace(record(**more), status="failed", error="RuntimeError: out of memory", epochs=None, **nothing)  # pyright: ignore - fields by name


def diverged(optimizer: str = "Adam", loss: str = "mse", lr: float = 0.001) -> RunResult:
    lost = {"accuracy_test": math.nan, "loss": math.inf, "error": "loss is not finite"}
    return replace(record(optimizer, loss, lr), status="diverged", **lost)  # pyright: ignore - fields by name


def predictions_of(true: np.ndarray, said: np.ndarray) -> Predictions:
    """What a network says of as many images, with a confidence of 0.9."""
    p = np.full((len(true), 10), 0.01)
    p[np.arange(len(true)), said] = 0.91
    images = np.zeros((len(true), 1, 28, 28), np.uint8)
    return make_predictions(p, images, true, images, true, seed=0)


def quickstart() -> list[RunResult]:
    """18 runs: 3 optimizers, 2 losses, 3 learning rates; those at 0.1 and all of SGD collapsed."""
    runs = []
    for i, (o, loss, lr) in enumerate(product(("Adam", "RMSprop", "SGD"), ("mae", "mse"), (0.001, 0.01, 0.1))):
        lost = o == "SGD" or lr == 0.1
        more = {"duration_seconds": 4.0 + i, "train_size": 3000, "test_size": 1000, "epochs": 4, "dataset": "synthetic"}
        runs.append(record(o, loss, lr, 0.1 + 0.001 * i if lost else 0.97 - 0.01 * i, "4/2/1", **more))
    return runs


def full_grid(seeds: int = 1) -> list[RunResult]:
    """The study's 216 settings, each with so many seeds."""
    rng = random.Random(0)
    grid = product(
        ("Adam", "SGD", "RMSprop"), ("mse", "mae"), (0.001, 0.01, 0.1), (32, 64), (2, 3), (1, 3, 5), range(seeds)
    )
    return [
        record(o, loss, lr, 0.1 if rng.random() < 0.3 else rng.uniform(0.8, 0.995), f"{c}/{k}/{d}", seed=s)
        for o, loss, lr, c, k, d, s in grid
    ]


def many(n: int) -> list[RunResult]:
    """n runs over the study's grid and many seeds, some diverged, some failed."""
    seeds = -(-n // 216)
    runs = full_grid(seeds)[:n]
    for i in range(0, n, 50):
        runs[i] = replace(runs[i], status="diverged", accuracy_test=math.nan, loss=math.inf, error="loss is not finite")
        nothing = {"accuracy_test": math.nan, "loss": math.nan, "epochs": None}
        runs[i + 1] = replace(runs[i + 1], status="failed", error="RuntimeError: out of memory", **nothing)
    return runs


def judged(results: list[RunResult]) -> pd.DataFrame:
    """The frame as if each run's curve were there: of those hardly better than guessing the error no longer falls."""
    frame = frame_of(results)
    low = frame["verdict"] == UNCLEAR
    return frame.assign(verdict=frame["verdict"].mask(low, COLLAPSED), collapsed=low, why=frame["why"].mask(low, FLAT))


def reported(base: Path) -> Path:
    """A quickstart sweep with its report, made once per test session in its base directory. Read only."""
    directory = base / "reported"
    if not directory.exists():
        write_report(quickstart(), store(quickstart(), directory))
    return directory


def store(results: list[RunResult], directory: Path, wrong: int = 30) -> Path:
    """Records, metrics.csv and predictions.npz as training stores them; `wrong` of 200 predictions are mistakes."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 10
    images = rng.integers(0, 256, (200, 1, 28, 28), dtype=np.uint8)
    p = np.full((200, 10), 0.02)
    said = np.where(np.arange(200) < wrong, (labels + 1) % 10, labels)
    p[np.arange(200), said] = 0.82 - 0.001 * np.arange(200)
    predictions = make_predictions(p, images, labels, images, labels, seed=0)
    head = "epoch,train_loss,train_mse,train_accuracy,val_loss,val_mse,val_accuracy\n"
    for r in results:
        where = directory / r.run_name
        save(r, where)
        epochs = [f"{e},{1 / e},{0.1 / e},{0.9 - 0.5 / e},{1 / e},{0.12 / e},{0.9 - 0.4 / e}\n" for e in range(1, 5)]
        if r.accuracy_test <= 0.2:
            epochs = [f"{e},0.18,0.18,0.1,0.18,0.18,0.1\n" for e in range(1, 5)]
        (where / "metrics.csv").write_text(head + "".join(epochs))
        save_predictions(predictions, where)
    return directory


def planned(directory: Path, num: int = 3, without: int = 0) -> list[RunResult]:
    """A sweep's directory with the plan of `num` runs, of which the last `without` have no record; all the runs."""
    rates = [0.001 * (i + 1) for i in range(num)]
    runs = [replace(record(lr=lr, accuracy=0.9 - lr), fingerprint=f"{i:016x}") for i, lr in enumerate(rates)]
    runs = [replace(r, run_name=f"{r.run_name[:-8]}{i:08x}") for i, r in enumerate(runs)]
    plan = {r.fingerprint: {"run_name": r.run_name, "config": config_of(r)} for r in runs}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / PLAN).write_text(json.dumps({"runs": plan, "data": {}, "versions": {}}))
    for r in runs[: num - without]:
        save(r, directory / r.run_name)
    return runs


def config_of(r: RunResult) -> dict[str, object]:
    """What a plan says of a run."""
    model = {"num_channels": r.num_channels, "num_conv": r.num_conv, "num_dense": r.num_dense}
    optimizer = {"name": r.optimizer.lower(), "options": {}}
    return {"optimizer": optimizer, "lr": r.learning_rate, "loss": r.loss_func, "seed": r.seed, "model": model}
