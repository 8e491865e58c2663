"""How long the command takes for a finished sweep of 216 runs: it composes them, finds all of them done, and reports.

    python -m benchmarks.resume [--json FILE] [--dir DIRECTORY]

The records are made up and saved as a run saves its own; no network is trained. Prints the seconds of the whole
command, of Hydra composing 216 configurations, and of the rest; checks that nothing was trained and no record touched.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from benchmarks.common import report, write_json

EPOCHS = 20
ARGUMENTS = ["-m", "experiment=full_grid", "data=synthetic"]
METRICS = ("loss", "mse", "mae", "accuracy", "binary_accuracy")
HEADER = ",".join(["epoch", *(f"{part}_{m}" for part in ("train", "val") for m in METRICS)]) + "\n"


def store_finished_sweep(root: Path) -> int:
    """A record, a table of epochs and a checkpoint for each run of the grid in `root`; how many."""
    from omegaconf import OmegaConf

    from mnist_lightning.config import conf_dir, parse
    from mnist_lightning.records.results import save
    from mnist_lightning.training.record import describe

    params = OmegaConf.load(conf_dir() / "experiment" / "full_grid.yaml").hydra.sweeper.params
    names = [str(name) for name in params]
    for values in itertools.product(*(str(params[name]).split(",") for name in names)):
        chosen = OmegaConf.create({"data": {"name": "synthetic"}})
        for name, value in zip(names, values, strict=True):
            key = "optimizer.name" if name == "optimizer" else name
            OmegaConf.update(chosen, key, value if key in ("optimizer.name", "loss") else json.loads(value))
        config = parse(chosen)
        result = describe(config)
        score = 0.9 + (int(config.fingerprint, 16) % 999) / 10_000
        result.status, result.epochs, result.best_epoch, result.num_parameters = "completed", EPOCHS, EPOCHS, 100_000
        for metric in ("accuracy", "binary_accuracy", "accuracy_test", "binary_accuracy_test", "accuracy_val"):
            setattr(result, metric, score)
        for metric in ("loss", "mse", "mae", "loss_test", "mse_test", "mae_test", "loss_val"):
            setattr(result, metric, 1 - score)
        result.duration_seconds = result.samples_per_second = 100.0
        directory = root / config.run_name
        save(result, directory)
        (directory / "checkpoints").mkdir()
        (directory / "checkpoints" / "last.ckpt").write_bytes(b"weights")
        rows = (",".join(map(str, [e, *[f"{math.exp(-e / 5):.6f}"] * 10])) for e in range(1, EPOCHS + 1))
        (directory / "metrics.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return math.prod(len(str(value).split(",")) for value in params.values())


def records(root: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.glob("*/result.json")}


def measure(root: Path) -> dict[str, float]:
    started = time.perf_counter()
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    from mnist_lightning import train  # noqa: F401 - its time is of importing torch and Lightning
    from mnist_lightning.command import cli

    imports = time.perf_counter() - started
    runs = store_finished_sweep(root)
    before = records(root)
    composing = 0.0
    compose = ConfigLoaderImpl.load_sweep_config

    def timed(*arguments, **options):
        nonlocal composing
        began = time.perf_counter()
        try:
            return compose(*arguments, **options)
        finally:
            composing += time.perf_counter() - began

    seconds = []
    for _ in range(2):  # the first one writes the plan
        composing, started = 0.0, time.perf_counter()
        with patch.object(ConfigLoaderImpl, "load_sweep_config", timed), redirect_stdout(StringIO()) as printed:
            code = cli.main([*ARGUMENTS, f"hydra.sweep.dir={root}"])
        seconds.append(time.perf_counter() - started)
        assert code == 0, f"exit code {code}: {printed.getvalue()}"
        assert f"resuming: {runs} of {runs} done" in printed.getvalue()
        assert records(root) == before, "a record was touched"
    whole = seconds[-1]
    return {"runs": runs, "imports": imports, "command": whole, "composing": composing, "rest": whole - composing}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the numbers into this file")
    parser.add_argument("--dir", type=Path, help="keep the sweep in this new directory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(arguments.dir or Path(temporary) / "sweep")
    for name, value in found.items():
        print(f"{name:>10} {value:8.2f}")
    write_json(arguments.json, report("resume", {}) | found)


if __name__ == "__main__":
    main()
