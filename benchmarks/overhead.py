"""What is paid besides training: `python -m benchmarks.overhead --json FILE`.

commands     wall seconds of `--help`, `--cfg job`, and of `import mnist_lightning` less a bare interpreter
runs         seconds per run outside its training and evaluation batches, many runs in one process, by `train()`
             and by a real `-m` sweep: building, checkpoints, records, Lightning's set-up; and the process's memory
composition  Hydra's part: seconds to compose and check the 216 configurations of the report's grid
growth       a sweep of which nearly all runs are finished: what another run, the start, the tables and an empty
             repetition cost with 10, 100, 216, 1000 records
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import Net, environment, report, shown, summary, text_table, timed, write_json
from benchmarks.sweeps import CLOCK, MODULE, clock_override, configuration, overrides, run_sweep, tiny

Measured = dict[str, Any]
NEW_RUNS = 6  # trained on top of the stored ones in `growth`
PARTS = "commands,runs,composition,growth"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=PARTS)
    parser.add_argument("--repeat", type=int, default=10, help="of each command")
    parser.add_argument("--runs", default="8/2/1=100,32/2/1=12", help="network=runs in one process")
    parser.add_argument("--sweep-runs", type=int, default=20)
    parser.add_argument("--records", default="10,100,216,1000", help="sizes of the finished sweeps")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    result = report("overhead", {k: v for k, v in vars(options).items() if k != "json"})
    parts: dict[str, Callable[[], Measured]] = {
        "commands": lambda: commands(options.repeat),
        "runs": lambda: runs(options.runs, options.sweep_runs),
        "composition": lambda: {"full_grid": in_child("composition")},
        "growth": lambda: {n: growth(int(n)) for n in options.records.split(",")},
    }
    for name in options.parts.split(","):
        result[name] = parts[name]()
        write_json(options.json, result)
        print(f"{name}\n{table(result[name])}\n", flush=True)
    return 0


def in_child(function: str, *arguments: Any) -> Any:
    """What a function of this module returns, called in a fresh process."""
    code = (
        f"import json, sys; from benchmarks import overhead as module; answer = module.{function}(*{arguments!r}); "
        "print(); print(json.dumps(answer))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def commands(repeat: int) -> Measured:
    """Wall seconds, the commands taking turns. The first round, which fills the disk cache, is not counted."""
    kinds = {
        "bare python": [sys.executable, "-c", "pass"],
        "import mnist_lightning": [sys.executable, "-c", "import mnist_lightning"],
        "import lightning": [sys.executable, "-c", "import lightning"],
        "--help": [*MODULE, "--help"],
        "--cfg job": [*MODULE, "--cfg", "job"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as elsewhere:
        for turn in range(repeat + 1):
            for name, command in kinds.items():
                wall = timed(command, env=environment(), cwd=elsewhere)
                if turn:
                    seconds[name].append(wall)
    bare = seconds["bare python"]
    for name in ("import mnist_lightning", "import lightning"):
        seconds[name] = [wall - least for wall, least in zip(seconds[name], bare, strict=True)]
    return {f"{name}, s": summary(samples) | {"samples": samples} for name, samples in seconds.items()}


def runs(networks: str, sweep_runs: int) -> Measured:
    found: Measured = {}
    for network, count in (pair.split("=") for pair in networks.split(",")):
        found |= _without_first(f"{network} by train()", **in_child("runs_in_process", network, int(count)))
        if not sweep_runs:
            continue
        with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
            keys = overrides(tiny(Net.parse(network)))
            sweep = run_sweep(Path(directory), [*keys, clock_override(), f"seed=range(0,{sweep_runs})"])
        # the first run has no record before it that would mark its start
        found |= _without_first(f"{network} by -m", [0.0, *sweep.outside_batches], sweep.rss_mib)
        found[f"{network} by -m, start to first record, s"] = summary([sweep.until_first])
        found[f"{network} by -m, last record to end, s"] = summary([sweep.after_last])
    return found


def _without_first(name: str, seconds: list[float], rss_mib: list[float]) -> Measured:
    """The first run of a process pays for what is loaded late, and is left out."""
    late = min(10, len(rss_mib)) - 1
    return {
        f"{name}, outside batches, s per run": summary(seconds[1:]) | {"samples": seconds[1:]},
        f"{name}, memory after run {late + 1}, MiB": summary([rss_mib[late]]),
        f"{name}, memory after run {len(rss_mib)}, MiB": summary([rss_mib[-1]]) | {"samples": rss_mib},
    }


def runs_in_process(network: str, count: int) -> dict[str, list[float]]:
    """{seconds: of each run outside its batches, rss_mib: after each run}; `train()` in this process."""
    from benchmarks.batch_clock import FILE, resident_mib
    from mnist_lightning.training.run import train

    seconds, rss = [], []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        for seed in range(count):
            directory = Path(temporary) / str(seed)
            config = configuration(tiny(Net.parse(network)), seed=seed, callbacks=[CLOCK])
            started = time.perf_counter()
            train(config, directory)
            wall = time.perf_counter() - started
            seconds.append(wall - json.loads((directory / FILE).read_text())["seconds"])
            rss.append(resident_mib())
            shutil.rmtree(directory)  # a hundred checkpoints would fill a small disk
    return {"seconds": seconds, "rss_mib": rss}


def composition() -> dict[str, Any]:
    """Seconds for each of the report's 216 configurations: composed by Hydra as in a sweep, checked, and named."""
    from itertools import product

    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from mnist_lightning.command import cli
    from mnist_lightning.config import parse
    from mnist_lightning.sweep.sweep import without_hydra

    cli.register()
    seconds = []
    with initialize_config_module("mnist_lightning.conf", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        grid = loader.load_configuration("config", ["experiment=full_grid"], RunMode.MULTIRUN)
        choices = [[f"{key}={v}" for v in str(values).split(",")] for key, values in grid.hydra.sweeper.params.items()]
        for job in product(*choices):
            started = time.perf_counter()
            assert parse(without_hydra(loader.load_sweep_config(grid, list(job)))).run_name
            seconds.append(time.perf_counter() - started)
    return {"s per configuration": summary(seconds), "s for all": summary([sum(seconds)])}


def growth(records: int) -> Measured:
    """Costs in a sweep directory with so many records, all but the last few of them made up."""
    from hydra import compose, initialize_config_module

    from mnist_lightning.command import cli
    from mnist_lightning.config import parse
    from mnist_lightning.records.results import save
    from mnist_lightning.training.record import describe

    arguments = [*overrides(tiny(Net(2, 1, 0))), clock_override()]
    cli.register()
    with initialize_config_module("mnist_lightning.conf", version_base="1.3"):
        config = parse(compose("config", overrides=arguments))
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        for seed in range(records - NEW_RUNS):
            config.seed = seed
            result = describe(config)
            result.status, result.train_size, result.test_size = "completed", 128, 64
            for name in ("loss", "mse", "mae", "accuracy", "loss_test", "mse_test", "mae_test", "accuracy_test"):
                setattr(result, name, (seed % 97 + 1) / 100)
            save(result, Path(temporary) / config.run_name)
        arguments.append(f"seed=range(0,{records})")
        sweep = run_sweep(Path(temporary), arguments)
        again = run_sweep(Path(temporary), arguments)
    return {
        "another run, outside batches, s": summary(sweep.outside_batches) | {"samples": sweep.outside_batches},
        "start to first record, s": summary([sweep.until_first]),
        "last record to end (tables, figures, page), s": summary([sweep.after_last]),
        "repetition, nothing to do, s": summary([again.wall]),
    }


def table(measured: Measured) -> str:
    """One line a figure; figures for several numbers of records side by side."""
    nested = {k: v for k, v in measured.items() if "median" not in v}
    if not nested:
        return text_table(["", "median [min..max]"], [[name, shown(values)] for name, values in measured.items()])
    names = next(iter(nested.values())).keys()
    rows = [[name, *(shown(part[name], 3) for part in nested.values())] for name in names]
    return text_table(["", *nested], rows)


if __name__ == "__main__":
    sys.exit(main())
