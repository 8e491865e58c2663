"""Training throughput beside the alternatives: `python -m benchmarks.throughput --json FILE`.

Every contender builds model and data in a process of its own and warms up. Then they take turns, one round of
`--steps` steps each, `--rounds` times, so that a slow minute of the machine hits all of them. Same images, same
network, batches of 64, squared error on the softmax, learning rate 0.001.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import (
    BATCH,
    CASES,
    OPTIMIZERS,
    Net,
    conditions,
    cores,
    data_root,
    geometric_mean,
    markdown,
    report,
    step_flops,
    summary,
    write_json,
)
from benchmarks.contenders import CONTENDERS, MATMUL_SIDE
from benchmarks.worker import Worker, WorkerError

Row = dict[str, Any]
MEASURED = "keras,plain-torch,lightning,ours-32,ours"
PEERS = ("keras", "lightning", "before", "before-32")
PAUSE_SECONDS = 0.2  # OpenMP's and TensorFlow's threads spin for a while after their last piece of work


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if "before" in options.contenders and not options.against:
        raise SystemExit("--contenders before: give the other checkout with --against")
    unknown = [name for name in options.contenders.split(",") if name not in CONTENDERS]
    if unknown:
        raise SystemExit(f"--contenders: {unknown[0]} is none of {', '.join(CONTENDERS)}")
    settings = {k: v for k, v in vars(options).items() if k not in ("json", "keras_python", "data_root", "against")}
    result = report("throughput", {**settings, "batch": BATCH}) | {"rows": [], "summary": {}}
    with data_root(options.data, options.data_root) as root:
        for case in options.cases.split(","):
            for optimizer in options.optimizers.split(","):
                rows = measure(Net.parse(case), optimizer, root, options)
                result["rows"] += rows
                result["summary"] = geometric_means(result["rows"])
                write_json(options.json, result)  # after each case: an interrupt costs one
                print(table({**result, "rows": rows, "summary": {}}), end="\n\n", flush=True)
    print(table(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=CASES, help="num_channels/num_conv/num_dense, comma separated")
    parser.add_argument("--optimizers", default=OPTIMIZERS)
    parser.add_argument("--contenders", default=MEASURED)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="training steps a round")
    parser.add_argument("--warmup", type=int, default=8, help="steps before the first round")
    parser.add_argument("--threads", type=int, default=cores(), help="of each contender; default: the cores")
    parser.add_argument("--data", choices=("mnist", "synthetic"), default="mnist")
    parser.add_argument("--data-root", help="torchvision's root directory of MNIST; default $MNIST_LIGHTNING_DATA")
    parser.add_argument("--keras-python", default=sys.executable, help="an interpreter that has tensorflow")
    parser.add_argument(
        "--against", type=Path, help="another checkout with the same modules, for the contenders before and before-32"
    )
    parser.add_argument("--both", action="store_true", help="measure `ours` also where auto is 32-true")
    parser.add_argument("--json", type=Path)
    return parser


def measure(net: Net, optimizer: str, root: Path, options: argparse.Namespace) -> list[Row]:
    """One case: a row for each contender, with its samples or with why it has none."""
    rows: list[Row] = []
    workers: dict[str, Worker] = {}
    try:
        for name in [*options.contenders.split(","), "matmul-32", "matmul-bf16"]:
            if name == "matmul-bf16" and not any("bf16" in row["precision"] for row in rows):
                continue
            row: Row = {"case": str(net), "optimizer": optimizer, "contender": name, "precision": "", "error": ""}
            rows.append(row)
            try:
                _start(name, net, optimizer, root, options, workers, row)
            except WorkerError as error:
                row["error"] = str(error)
        rounds: dict[str, list[float]] = {name: [] for name in workers}
        for turn in range(options.rounds + 1):
            for row in rows:
                if row["contender"] in workers:
                    _take_turn(row, workers, options.steps if turn else options.warmup, rounds, warming_up=turn == 0)
    finally:
        for worker in workers.values():
            worker.close()
    for row in rows:
        if samples := rounds.get(row["contender"]):
            _fill(row, net, samples, options.steps)
    return _compare(rows, net)


def _start(
    name: str,
    net: Net,
    optimizer: str,
    root: Path,
    options: argparse.Namespace,
    workers: dict[str, Worker],
    row: Row,
) -> None:
    python = options.keras_python if name == "keras" else sys.executable
    if name == "keras" and not _has_tensorflow(python):
        raise WorkerError("tensorflow is not installed (--keras-python)")
    source = options.against / "src" if name.startswith("before") else None
    worker = Worker(python, name, net, optimizer, root, options.threads, source)
    row |= {"facts": worker.facts, "precision": worker.facts["precision"]}
    if name == "ours" and row["precision"] == "32-true" and "ours-32" in workers and not options.both:
        worker.close()
        raise WorkerError("auto is 32-true on this machine: see ours-32")
    workers[name] = worker


def _has_tensorflow(python: str) -> bool:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('tensorflow') is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def _take_turn(
    row: Row, workers: dict[str, Worker], steps: int, rounds: dict[str, list[float]], warming_up: bool
) -> None:
    name = row["contender"]
    try:
        seconds = workers[name].run(steps)
        if not warming_up:
            rounds[name].append(seconds)
    except WorkerError as error:
        row["error"] = str(error)
        workers.pop(name).close()
    time.sleep(PAUSE_SECONDS)


def _fill(row: Row, net: Net, samples: list[float], steps: int) -> None:
    is_matmul = row["contender"].startswith("matmul")
    flops = 2 * MATMUL_SIDE**3 if is_matmul else step_flops(net)
    row["seconds"], row["steps"] = samples, steps
    row["ms_per_step"] = summary([1000 * s / steps for s in samples])
    row["gflop_per_second"] = summary([flops * steps / s / 1e9 for s in samples])
    if not is_matmul:
        row["images_per_second"] = summary([BATCH * steps / s for s in samples])


def _compare(rows: list[Row], net: Net) -> list[Row]:
    """Adds the ratio of the medians to each peer, and the share of the matrix product's rate in that precision."""
    by_name = {row["contender"]: row for row in rows if "ms_per_step" in row}
    for row in by_name.values():
        if row["contender"].startswith("matmul"):
            continue
        row["gflop_per_step"] = step_flops(net) / 1e9
        row["ratio_to"] = {
            peer: by_name[peer]["ms_per_step"]["median"] / row["ms_per_step"]["median"]
            for peer in PEERS
            if peer in by_name
        }
        rate = by_name.get("matmul-bf16" if "bf16" in row["precision"] else "matmul-32")
        if rate:
            row["matmul_share"] = row["gflop_per_second"]["median"] / rate["gflop_per_second"]["median"]
    return rows


def geometric_means(rows: list[Row]) -> dict[str, Any]:
    """{contender: {images_per_second, ratio_to: {peer: mean, ...}, slowest_ratio_to, cases}} over all its cases."""
    means: dict[str, Any] = {}
    for name in dict.fromkeys(row["contender"] for row in rows if "images_per_second" in row):
        own = [row for row in rows if row["contender"] == name and "images_per_second" in row]
        ratios = {peer: [row["ratio_to"][peer] for row in own if peer in row["ratio_to"]] for peer in PEERS}
        means[name] = {
            "cases": len(own),
            "images_per_second": geometric_mean(row["images_per_second"]["median"] for row in own),
            "ratio_to": {peer: geometric_mean(values) for peer, values in ratios.items() if values},
            "slowest_ratio_to": {peer: min(values) for peer, values in ratios.items() if values},
        }
    return means


def table(result: dict[str, Any]) -> str:
    """Images per second of each case and contender, then the geometric means of the ratios, in Markdown."""
    rows = [row for row in result["rows"] if "images_per_second" in row]
    names = list(dict.fromkeys(row["contender"] for row in rows))
    speeds: dict[str, dict[str, str]] = {}
    for row in rows:
        share = f", {row['matmul_share']:.0%}" if "matmul_share" in row else ""
        speed = row["images_per_second"]
        cell = f"{speed['median']:,.0f} [{speed['min']:,.0f}..{speed['max']:,.0f}]{share}"
        speeds.setdefault(f"{row['case']} {row['optimizer']}", {})[row["contender"]] = cell
    lines = [[case, *(cells.get(name, "") for name in names)] for case, cells in speeds.items()]
    means = [result["summary"].get(name, {}) for name in names]
    for peer in PEERS:
        ratios = [_mean_and_least(mean, peer) if peer in mean.get("ratio_to", {}) else "" for mean in means]
        if any(ratios):
            lines.append([f"times {peer}, geometric mean", *ratios])
    return f"{_head(result)}\n\n{markdown(['case', *names], lines)}"


def _mean_and_least(mean: dict[str, Any], peer: str) -> str:
    return f"{mean['ratio_to'][peer]:.2f} (least {mean['slowest_ratio_to'][peer]:.2f})"


def _head(result: dict[str, Any]) -> str:
    """What was measured, on what, with which versions, and what could not be measured."""
    settings = result["settings"]
    versions: dict[str, str] = {}
    errors: dict[str, str] = {}
    for row in result["rows"]:
        versions |= {k: v for k, v in row.get("facts", {}).items() if k in ("tensorflow", "keras")}
        errors |= {row["contender"]: row["error"]} if row["error"] else {}
    notes = [*(f"{k} {v}" for k, v in versions.items()), *(f"{name}: {error}" for name, error in errors.items())]
    samples = f"n = {settings['rounds']} rounds of {settings['steps']} steps, {settings['threads']} threads"
    what = "Training images per second: median [least..most], share of the matrix product's rate"
    return f"{what}; {samples}, batches of {settings['batch']}. {'; '.join([conditions(result), *notes])}."


if __name__ == "__main__":
    sys.exit(main())
