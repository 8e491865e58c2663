"""Does reduced precision learn the same? `python -m benchmarks.precision --json FILE`.

A sub-grid, 3 optimizers x 2 learning rates x 3 seeds of one network, trained in 32-true and in another precision.
For each optimizer and learning rate: mean and standard deviation over the seeds in both, their difference, and
whether the ranges of the seeds overlap. Two sets of three equal-minded runs fail to overlap in 1 of 10 cases by
chance, so a few disjoint cells are expected and many are a finding.

Every finished run is in the file at once; repeating the command does what is missing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.common import Net, conditions, cores, markdown, report, write_json

REFERENCE = "32-true"
METRICS = ("accuracy_test", "loss_test")
Run = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="bf16-mixed", help="compared with 32-true")
    parser.add_argument("--optimizers", default="adam,sgd,rmsprop")
    parser.add_argument("--lrs", default="0.001,0.01")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--net", default="32/2/1")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--train-size", type=int)
    parser.add_argument("--test-size", type=int)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-root", help="default $MNIST_LIGHTNING_DATA")
    parser.add_argument("--emulate", action="store_true", help="bf16 by rounding (emulated_bf16.py), without hardware")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args(arguments)
    settings = {k: v for k, v in vars(options).items() if k not in ("json", "data_root", "threads", "seeds")}
    result = _stored(options.json, settings) or report("precision", settings) | {"runs": []}
    done = {_key(run) for run in result["runs"]}
    grid = [
        {"optimizer": optimizer, "lr": float(lr), "seed": seed, "precision": precision}
        for seed in range(options.seeds)  # a first answer for every cell comes early
        for optimizer in options.optimizers.split(",")
        for lr in options.lrs.split(",")
        for precision in (REFERENCE, options.precision)
    ]
    for number, run in enumerate(grid, start=1):
        if _key(run) in done:
            continue
        result["runs"].append(run | train_one(run, options))
        write_json(options.json, result)
        last = result["runs"][-1]
        print(f"{number} of {len(grid)}  {_key(run)}  accuracy {last['accuracy_test']:.4f}  {last['seconds']:.0f} s")
    result["cells"] = cells(result["runs"], options.precision)
    result["verdict"] = verdict(result["cells"])
    write_json(options.json, result)
    print(table(result))
    return 0


def _stored(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    stored = json.loads(path.read_text())
    if stored["settings"] != settings:
        raise SystemExit(f"{path}: was measured with other settings; choose another file, or delete it")
    return stored


def _key(run: Run) -> str:
    return f"{run['optimizer']} lr {run['lr']:g} seed {run['seed']} {run['precision']}"


def train_one(run: Run, options: argparse.Namespace) -> Run:
    """The record's numbers. A metric that is not finite is None: JSON has no other word for it."""
    import torch

    from benchmarks.emulated_bf16 import emulated_bf16
    from mnist_lightning.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainerConfig
    from mnist_lightning.training.run import train

    torch.set_num_threads(options.threads)
    root = options.data_root or os.environ.get("MNIST_LIGHTNING_DATA") or "data"
    config = RunConfig(
        optimizer=OptimizerConfig(run["optimizer"]),
        lr=run["lr"],
        seed=run["seed"],
        model=ModelConfig(*Net.parse(options.net)),
        data=DataConfig(options.data, root=root, train_size=options.train_size, test_size=options.test_size),
        trainer=TrainerConfig(
            max_epochs=options.epochs, precision=run["precision"], accelerator="cpu", enable_progress_bar=False
        ),
    )
    emulated = options.emulate and run["precision"] != REFERENCE
    if emulated:
        config.trainer.precision = REFERENCE
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory, emulated_bf16() if emulated else nullcontext():
        record = train(config, directory)
    numbers = {name: getattr(record, name) for name in (*METRICS, "samples_per_second")}
    finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {
        **finite,
        "status": record.status,
        "ran": "bf16, emulated" if emulated else record.precision,
        "seconds": time.perf_counter() - started,
    }


def cells(runs: list[Run], precision: str) -> list[dict[str, Any]]:
    """For each optimizer, learning rate and metric: {reference, other: {mean, std, values}, difference, overlap}."""
    compared = []
    for optimizer, lr in dict.fromkeys((run["optimizer"], run["lr"]) for run in runs):
        for metric in METRICS:
            own = [run for run in runs if (run["optimizer"], run["lr"]) == (optimizer, lr)]
            sides = {
                mode: [run[metric] for run in own if run["precision"] == mode and run[metric] is not None]
                for mode in (REFERENCE, precision)
            }
            if all(sides.values()):
                compared.append({"optimizer": optimizer, "lr": lr, "metric": metric, **compare(*sides.values())})
    return compared


def compare(reference: list[float], other: list[float]) -> dict[str, Any]:
    """Two sets of values over seeds. `spread` is the larger of the two standard deviations."""
    described = [
        {"mean": statistics.mean(v), "std": statistics.stdev(v) if len(v) > 1 else 0.0, "values": v}
        for v in (reference, other)
    ]
    return {
        "reference": described[0],
        "other": described[1],
        "difference": described[1]["mean"] - described[0]["mean"],
        "spread": max(side["std"] for side in described),
        "overlap": max(min(reference), min(other)) <= min(max(reference), max(other)),
    }


def chance(seeds: int) -> float:
    """That the ranges of two equally distributed sets are disjoint: 2 of all orders, 1 in 10 for three seeds."""
    return 2 / math.comb(2 * seeds, seeds)


def verdict(compared: list[dict[str, Any]]) -> str:
    apart = [cell for cell in compared if not cell["overlap"]]
    said = f"ranges of the seeds are disjoint in {len(apart)} of {len(compared)} comparisons; by chance about "
    seeds = min((len(cell["reference"]["values"]) for cell in compared), default=1)
    return f"{said}{chance(seeds) * len(compared):.1f} with {seeds} seeds"


def table(result: dict[str, Any]) -> str:
    """Each cell of the sub-grid in both precisions, and the verdict, in Markdown."""
    settings = result["settings"]
    rows = [
        [
            f"{cell['optimizer']}, lr {cell['lr']:g}, {cell['metric']}",
            *(f"{cell[side]['mean']:.5f} ± {cell[side]['std']:.5f}" for side in ("reference", "other")),
            f"{cell['difference']:+.5f}",
            "yes" if cell["overlap"] else "no",
        ]
        for cell in result.get("cells", [])
    ]
    size = "all" if settings["train_size"] is None else f"{settings['train_size']:,}"
    head = f"{settings['net']}, {settings['epochs']} epochs, {size} training images of {settings['data']}; "
    head += "bf16 emulated by rounding; " if settings.get("emulate") else ""
    head += f"mean ± standard deviation over the seeds. {conditions(result)}."
    header = ["cell", REFERENCE, settings["precision"], "difference", "ranges overlap"]
    return f"{head}\n\n{markdown(header, rows)}\n\n{result.get('verdict', 'not finished')}."


if __name__ == "__main__":
    sys.exit(main())
