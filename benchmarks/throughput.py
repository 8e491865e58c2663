"""Training throughput beside the alternatives: `python -m benchmarks.throughput --json FILE`.

Every contender builds model and data in a process of its own and warms up. Then they take turns, one round of
`--steps` steps each, `--rounds` times, so that a slow minute of the machine hits all of them. Same images, same
network, batches of 64, squared error on the softmax, learning rate 0.001.
"""

from __future__ import annotations

import argparse
import math
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
    cores,
    data_root,
    geometric_mean,
    report,
    step_flops,
    summary,
    text_table,
    write_json,
)
from benchmarks.contenders import CONTENDERS, MATMUL_SIDE
from benchmarks.worker import Worker, WorkerError

Row = dict[str, Any]
MEASURED = "keras,plain-torch,lightning,ours-32,ours"
PEERS = ("keras", "lightning")
PAUSE_SECONDS = 0.2  # OpenMP's and TensorFlow's threads spin for a while after their last piece of work


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    unknown = [name for name in options.contenders.split(",") if name not in CONTENDERS]
    if unknown:
        raise SystemExit(f"--contenders: {unknown[0]} is none of {', '.join(CONTENDERS)}")
    settings = {k: v for k, v in vars(options).items() if k not in ("json", "keras_python", "data_root")}
    result = report("throughput", {**settings, "batch": BATCH}) | {"rows": [], "summary": {}}
    with data_root(options.data, options.data_root) as root:
        for case in options.cases.split(","):
            for optimizer in options.optimizers.split(","):
                rows = measure(Net.parse(case), optimizer, root, options)
                result["rows"] += rows
                result["summary"] = geometric_means(result["rows"])
                write_json(options.json, result)  # after each case: an interrupt costs one
                print(table(rows), end="\n\n", flush=True)
    print(means_table(result["summary"]))
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
    worker = Worker(python, name, net, optimizer, root, options.threads)
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
            "ratio_to": {peer: geometric_mean(found) for peer, found in ratios.items() if found},
            "slowest_ratio_to": {peer: min(found) for peer, found in ratios.items() if found},
        }
    return means


def table(rows: list[Row]) -> str:
    header = [f"{rows[0]['case']} {rows[0]['optimizer']}", "precision", "images/s", "spread", "n", "ms/step"]
    header += [*(f"x {peer}" for peer in PEERS), "GFLOP/s", "of matmul"]
    lines = []
    for row in rows:
        if "ms_per_step" not in row:
            lines.append([row["contender"], *[""] * (len(header) - 1)])
            continue
        speed, step, rate = row.get("images_per_second"), row["ms_per_step"], row["gflop_per_second"]
        ratios = [row.get("ratio_to", {}).get(peer, math.nan) for peer in PEERS]
        lines.append([
            row["contender"],
            row["precision"],
            f"{speed['median']:.0f}" if speed else "",
            f"[{speed['min']:.0f}..{speed['max']:.0f}]" if speed else "",
            str(step["n"]),
            f"{step['median']:.1f}",
            *("" if math.isnan(ratio) else f"{ratio:.2f}" for ratio in ratios),
            f"{rate['median']:.0f}",
            f"{row['matmul_share']:.0%}" if "matmul_share" in row else "",
        ])  # fmt: skip
    errors = [f"{row['contender']}: {row['error']}" for row in rows if row["error"]]
    return "\n".join([text_table(header, lines), *errors])


def means_table(means: dict[str, Any]) -> str:
    header = ["geometric mean", "cases", "images/s", *(f"{word}x {p}" for p in PEERS for word in ("", "least "))]
    lines = []
    for name, mean in means.items():
        line = [name, str(mean["cases"]), f"{mean['images_per_second']:.0f}"]
        for peer in PEERS:
            line += [
                f"{mean[kind][peer]:.2f}" if peer in mean[kind] else "" for kind in ("ratio_to", "slowest_ratio_to")
            ]
        lines.append(line)
    return text_table(header, lines)


if __name__ == "__main__":
    sys.exit(main())
