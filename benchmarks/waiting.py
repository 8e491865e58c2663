"""What a person waits for, beside another version: `python -m benchmarks.waiting --against CHECKOUT --json FILE`.

Whole commands, in turns: this version and that of another checkout, in the same environment and on the same machine.
A grid of 216 until Hydra has written its multirun.yaml, until its plan is committed, and until its first record (of a
training of a tenth of a second); of 1,000 until the plan; the finished study repeated; the study refused; help.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, conditions, environment, markdown, report, shown, summary, write_json
from benchmarks.sweeps import MODULE

_TINY = [
    "data=synthetic",
    "data.train_size=128",
    "data.test_size=64",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
]
_GRID = [
    *("-m", *_TINY, "trainer.precision=32-true", "optimizer=adam,sgd,rmsprop", "loss=mse,mae", "lr=0.001,0.01,0.1"),
    *("model.num_channels=2,3", "model.num_conv=1,2", "model.num_dense=0,1,2"),
]
_SEEDS = ["-m", *_TINY, "trainer.precision=32-true", "model.num_channels=2", "seed=range(0,1000)"]
# The records of every run in a plan, as completed runs would have left them
_FINISH = """
import json, sys
from pathlib import Path
from mnist_lightning.records.results import RunResult, save
root = Path(sys.argv[1])
metrics = ("loss", "mse", "mae", "accuracy", "loss_test", "mse_test", "mae_test", "accuracy_test")
for i, (fingerprint, run) in enumerate(json.loads((root / "plan.json").read_text())["runs"].items()):
    config, name = run["config"], run["run_name"]
    said = {"dataset": "mnist", "train_size": 60000, "test_size": 10000, "seed": 0, "epochs": 20, "batch_size": 64}
    known = {"optimizer": name.split("_")[0], "loss_func": config["loss"], "learning_rate": config["lr"]}
    known |= {"status": "completed", "fingerprint": fingerprint, "run_name": name, **config["model"]}
    save(RunResult(**known, **said, **dict.fromkeys(metrics, (i % 97 + 1) / 100)), root / name)
"""

# Seconds in which a process composes and checks the study's 216 runs, and as many with five seeds: each by Hydra, where
# this version does that, or by one composition for each choice of groups
_COMPOSE = """
import time
from itertools import product
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf
from mnist_lightning.command import cli
from mnist_lightning.config import conf_dir, parse
try:
    from mnist_lightning.sweep.compositions import Compositions
except ImportError:
    Compositions = None
cli.register()
params = OmegaConf.load(conf_dir() / "experiment" / "full_grid.yaml").hydra.sweeper.params
choices = [[f"{key}={value}" for value in str(values).split(",")] for key, values in params.items()]
with initialize_config_module("mnist_lightning.conf", version_base="1.3"):
    loader = GlobalHydra.instance().config_loader()
    master = loader.load_configuration("config", ["experiment=full_grid"], run_mode=RunMode.MULTIRUN)
    for seeds in (1, 5):
        began = time.perf_counter()
        by_hydra = lambda job: parse(compose("config", job))
        composed = Compositions(loader, master).configuration if Compositions else by_hydra
        jobs = product(["experiment=full_grid"], *choices, [f"seed={i}" for i in range(seeds)])
        names = {composed(list(job)).run_name for job in jobs}
        assert len(names) == 216 * seeds
        print(time.perf_counter() - began)
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="the checkout of another version")
    parser.add_argument("--data-root", type=Path, required=True, help="where MNIST lies, for the study's own grid")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    sides = {"this version": ROOT} | ({"before": options.against.resolve()} if options.against else {})
    samples: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        studies = {side: finished(root, Path(temporary) / side, options.data_root) for side, root in sides.items()}
        for _ in range(options.repeat):
            for side, root in sides.items():
                for what, value in measured(root, Path(temporary) / "grid", studies[side], options.data_root).items():
                    samples.setdefault(what, {}).setdefault(side, []).append(value)
    result = report("waiting", {"repeat": options.repeat})
    result["waiting"] = {
        what: {side: summary(values) | {"samples": values} for side, values in of.items()}
        for what, of in samples.items()
    }
    write_json(options.json, result)
    print(table(result))
    return 0


def measured(root: Path, scratch: Path, study: Path, data: Path) -> dict[str, float]:
    """Seconds, and the peak memory of the larger grid, of one round of one side."""
    grid = until(root, [*_GRID, f"hydra.sweep.dir={scratch}"], scratch, "*/result.json")
    thousand = until(root, [*_SEEDS, f"hydra.sweep.dir={scratch}"], scratch, "plan.json")
    full = ["-m", "experiment=full_grid", f"data.root={data}"]
    composing = [float(line) for line in told(root, _COMPOSE).splitlines()]
    refused = [*full[:2], "data.root=/nonexistent", "data.download=false", f"hydra.sweep.dir={scratch}"]
    return {
        "216 runs composed and checked, s": composing[0],
        "1,080 runs composed and checked, s": composing[1],
        "216 runs: Hydra's start to the plan, s": grid["plan"] - grid["hydra"],
        "216 runs: command to the first record, s": grid["end"],
        "1,000 runs: Hydra's start to the plan, s": thousand["plan"] - thousand["hydra"],
        "1,000 runs: peak memory until then, MiB": thousand["mib"],
        "the finished study repeated, s": wall(root, [*full, f"hydra.sweep.dir={study}"], 0),
        "the study refused: no data, s": wall(root, refused, 4),
        "--help, s": wall(root, ["--help"], 0),
        "--version, s": wall(root, ["--version"], 0),
    }


def started(root: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    """The command of the version in a checkout."""
    quiet = subprocess.DEVNULL
    own = environment() | {"PYTHONPATH": str(root / "src")}
    return subprocess.Popen([*MODULE, *arguments], env=own, stdout=quiet, stderr=quiet, cwd=tempfile.gettempdir())


def told(root: Path, program: str, *arguments: str) -> str:
    """What a program prints in a process of its own, with the version in a checkout."""
    own = environment() | {"PYTHONPATH": str(root / "src")}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=own, check=True, stdout=subprocess.PIPE, text=True).stdout


def wall(root: Path, arguments: list[str], code: int) -> float:
    """Seconds that a command takes to its end."""
    began = time.time()
    ended = started(root, arguments).wait()
    assert ended == code, f"{arguments}: {ended}"
    return time.time() - began


def until(root: Path, arguments: list[str], directory: Path, pattern: str) -> dict[str, float]:
    """Seconds from the command to Hydra's file, to the plan, and to the first file like `pattern`; peak memory then."""
    shutil.rmtree(directory, ignore_errors=True)
    began = time.time()
    process = started(root, arguments)
    while not (there := next(directory.glob(pattern), None)):
        assert process.poll() is None, f"{arguments} ended"
        time.sleep(0.01)
    end = time.time() - began
    mib = peak_mib(process.pid)
    stamps = {
        name: (directory / file).stat().st_mtime - began
        for name, file in (("hydra", "multirun.yaml"), ("plan", "plan.json"))
    }
    process.send_signal(signal.SIGINT)
    process.wait()
    assert there
    return stamps | {"end": end, "mib": mib}


def peak_mib(pid: int) -> float:
    """The largest resident memory of a process so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def finished(root: Path, directory: Path, data: Path) -> Path:
    """A finished sweep of the study's grid: its plan by the command itself, its records by hand."""
    arguments = ["-m", "experiment=full_grid", f"data.root={data}", f"hydra.sweep.dir={directory}"]
    until(root, arguments, directory, "plan.json")
    for run in directory.iterdir():
        if run.is_dir():
            shutil.rmtree(run)
    told(root, _FINISH, str(directory))
    wall(root, arguments, 0)  # its tables
    return directory


def table(result: dict[str, Any]) -> str:
    """What one waits for, before and now, in Markdown."""
    sides = [side for side in ("before", "this version") if any(side in of for of in result["waiting"].values())]
    rows = [[what, *(shown(of[side]) for side in sides)] for what, of in result["waiting"].items()]
    head = f"Whole commands, in turns: median [least..most]. {conditions(result)}."
    return f"{head}\n\n{markdown(['what', *sides], rows)}"


if __name__ == "__main__":
    sys.exit(main())
