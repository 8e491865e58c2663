"""The README's tables from the JSON files: `python -m benchmarks.table` writes them, `--check` compares.

They stand between `<!-- benchmark:start -->` and `<!-- benchmark:end -->` in README.md, and between the same markers
with `precision` and `scaling` in benchmarks/README.md, with `parallel` in docs/clusters.md. A part whose JSON is not
there is left out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT, shown
from benchmarks.precision import REFERENCE
from benchmarks.throughput import PEERS

Result = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 where a table is not the JSON's"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--notes", type=Path, default=ROOT / "benchmarks" / "README.md")
    parser.add_argument("--clusters", type=Path, default=ROOT / "docs" / "clusters.md")
    options = parser.parse_args(arguments)
    stale: dict[Path, None] = {}
    for path, marker, parts in (
        (options.readme, "benchmark", {"throughput": throughput_table, "overhead": overhead_table}),
        (options.notes, "precision", {"precision": precision_table}),
        (options.notes, "scaling", {"scaling": scaling_table}),
        (options.clusters, "parallel", {"parallel": parallel_table}),
    ):
        before = path.read_text(encoding="utf-8")
        after = between(before, marker, tables(options.results, parts))
        if after == before:
            continue
        stale[path] = None
        if not options.check:
            path.write_text(after, encoding="utf-8")
    said = "is not what the JSON says; run python -m benchmarks.table" if options.check else "written"
    for path in stale:
        print(f"{path.name}: {said}")
    return int(options.check and bool(stale))


def tables(results: Path, parts: dict[str, Callable[[Result], str]]) -> str:
    found = [(results / f"{name}.json", build) for name, build in parts.items()]
    return "\n\n".join(build(json.loads(path.read_text())) for path, build in found if path.is_file())


def between(text: str, marker: str, content: str) -> str:
    """`text` with `content` between the markers. SystemExit where it does not have them, each once."""
    start, end = f"<!-- {marker}:start -->", f"<!-- {marker}:end -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise SystemExit(f"no place for the table: it needs {start} and {end} once")
    filling = f"\n\n{content}\n\n" if content else "\n"
    return re.sub(f"{re.escape(start)}.*?{re.escape(end)}", lambda _: start + filling + end, text, flags=re.DOTALL)


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """The first column left, the others right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def conditions(result: Result) -> str:
    """Hardware, versions and date in one line."""
    hardware, versions = result["hardware"], result["versions"]
    flags = [name for name, there in hardware["flags"].items() if there]
    names = [f"{name} {versions[name]}" for name in ("python", "torch", "lightning") if name in versions]
    parts = [hardware["cpu"], f"{hardware['cores']} cores", " ".join(flags), *names, result["date"][:10]]
    return ", ".join(filter(None, parts))


def throughput_table(result: Result) -> str:
    """Images per second of each case and contender, then the geometric means of the ratios."""
    rows = [row for row in result["rows"] if "images_per_second" in row]
    names = list(dict.fromkeys(row["contender"] for row in rows))
    speeds: dict[str, dict[str, str]] = {}
    for row in rows:
        share = f", {row['matmul_share']:.0%}" if "matmul_share" in row else ""
        found = row["images_per_second"]
        cell = f"{found['median']:,.0f} [{found['min']:,.0f}..{found['max']:,.0f}]{share}"
        speeds.setdefault(f"{row['case']} {row['optimizer']}", {})[row["contender"]] = cell
    lines = [[case, *(cells.get(name, "") for name in names)] for case, cells in speeds.items()]
    for peer in PEERS:
        means = [result["summary"].get(name, {}) for name in names]
        ratios = [
            f"{mean['ratio_to'][peer]:.2f} (least {mean['slowest_ratio_to'][peer]:.2f})"
            if peer in mean.get("ratio_to", {})
            else ""
            for mean in means
        ]
        lines.append([f"times {peer}, geometric mean", *ratios])
    settings = result["settings"]
    samples = f"n = {settings['rounds']} rounds of {settings['steps']} steps, {settings['threads']} threads"
    facts: dict[str, str] = {}
    for row in result["rows"]:
        facts |= {k: v for k, v in row.get("facts", {}).items() if k in ("tensorflow", "keras")}
    notes = [f"{name}: {error}" for name, error in _errors(result["rows"]).items()]
    head = (
        f"Training images per second: median [least..most], share of the matrix product's rate; {samples}, batches of "
    )
    head += f"{settings['batch']}. {'; '.join([conditions(result), *(f'{k} {v}' for k, v in facts.items()), *notes])}."
    return f"{head}\n\n{markdown(['case', *names], lines)}"


def _errors(rows: list[Result]) -> dict[str, str]:
    return {row["contender"]: row["error"] for row in rows if row["error"]}


PART_NAMES = {"composition": "composing and checking ", "growth": "a sweep of "}


def overhead_table(result: Result) -> str:
    """Fixed costs, one line each."""
    rows = [
        [PART_NAMES.get(part, "") + name, shown({k: values[k] for k in ("median", "min", "max", "n")})]
        for part in ("commands", "runs", "composition", "growth")
        for name, values in _flat(result.get(part, {})).items()
    ]
    head = f"Fixed costs: median [least..most]; imports beyond bare Python's. {conditions(result)}."
    return f"{head}\n\n{markdown(['what', 'cost'], rows)}"


def _flat(part: Result, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, values in part.items():
        if "median" in values:
            found[prefix + name] = values
        else:
            found |= _flat(values, f"{name} records: " if name.isdigit() else f"{name}: ")
    return found


def scaling_table(result: Result) -> str:
    """Seconds by number of runs, training images and arithmetic, each with the line through them."""
    settings, rows = result["settings"], []
    for part, unit in (("runs", "{} runs"), ("train_size", "{} images"), ("network", "{} channels")):
        if part not in result:
            continue
        found, fit = result[part], result[part]["fit"]
        law = f"{fit['intercept']:.2f} + {fit['slope']:.3g} x, ~ x^{fit['exponent']:.2f}"
        for size, point in found["points"].items():
            rows.append([unit.format(f"{int(size):,}"), f"{point['x']:g}", shown(point["seconds"]), law])
            law = ""
    head = f"{settings['net']}, {settings['threads']} threads, synthetic digits. x: runs, images, GFLOP a step. "
    head += f"Seconds: median [least..most]. {conditions(result)}."
    return f"{head}\n\n{markdown(['what', 'x', 'seconds', 'line, and power of x'], rows)}"


def parallel_table(result: Result) -> str:
    """Runs per minute of each way, and their ratio to the first."""
    settings, ways = result["settings"], result["ways"]
    base = next(iter(ways.values()))["runs_per_minute"]["median"]
    rows = []
    for way, found in ways.items():
        launcher, workers, threads = way.split(":")
        rate = found["runs_per_minute"]
        chosen = "the launcher's choice" if threads == "-" else threads
        rows.append([launcher, workers, chosen, shown(rate), f"{rate['median'] / base:.2f}"])
    head = (
        f"{settings['runs']} runs of {settings['net']}, {settings['steps']} training steps each, start and tables of "
    )
    head += f"the command included. Runs per minute: median [least..most]. {conditions(result)}."
    return (
        f"{head}\n\n{markdown(['launcher', 'processes', 'threads each', 'runs per minute', 'times the first'], rows)}"
    )


def precision_table(result: Result) -> str:
    """Each cell of the sub-grid in both precisions, and the verdict."""
    settings = result["settings"]
    sides = (REFERENCE, settings["precision"])
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
    header = ["cell", *sides, "difference", "ranges overlap"]
    return f"{head}\n\n{markdown(header, rows)}\n\n{result.get('verdict', 'not finished')}."


if __name__ == "__main__":
    sys.exit(main())
