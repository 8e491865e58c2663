"""outputs/reference, and what README and docs say of it: every number is that of the stored records."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, stdev

import pandas as pd
import pytest

from mnist_lightning import errors, load_results
from mnist_lightning.report.findings import findings
from mnist_lightning.report.frame import load_frame

ROOT = Path(errors.__file__).parents[2]
REFERENCE, DOCUMENT = ROOT / "outputs" / "reference", ROOT / "docs" / "findings.md"
pytestmark = pytest.mark.skipif(not DOCUMENT.is_file(), reason="not a checkout")
FULL, SMALL = "findings_full_size", "findings"
PARTS = {
    "findings_bf16": "bf16-mixed, alone",
    "findings_fused": "32-true, fused",
    "findings_torch": "torch's own rules",
}
PAIRS = [("Adam", 0.001), ("Adam", 0.01), ("RMSprop", 0.001), ("RMSprop", 0.01)]


@cache
def frame(name: str) -> pd.DataFrame:
    return load_frame(REFERENCE / name)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as Markdown has it."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (header, ["---"] * len(header), *rows))


def seeds_of(runs: pd.DataFrame, optimizer: str, rate: float) -> str:
    """The test accuracy of a setting with squared error, mean and deviation; each seed's where some did not learn."""
    of_setting = runs[(runs["optimizer"] == optimizer) & (runs["learning_rate"] == rate) & (runs["loss_func"] == "mse")]
    values = of_setting.sort_values("seed")["accuracy_test"].tolist()
    if min(values) <= 0.2:
        return ", ".join(f"{value:.3f}" for value in values)
    return f"{fmean(values):.4f} ± {stdev(values):.4f}"


def what_was_run() -> str:
    rows = []
    for name in (FULL, SMALL, *PARTS):
        runs = frame(name)
        one = runs.iloc[0]
        hours = runs["duration_seconds"].sum() / 3600
        commits = ", ".join(sorted({commit[:7] for commit in runs["commit"] if commit}))
        size = f"{one.architecture}, {one.epochs} epoch{'s' * int(one.epochs != 1)} of {one.train_size:,} images"
        devices = "; ".join(sorted(set(runs["device"])))
        rows.append([f"`{name}`", len(runs), size, devices, f"{hours:.1f}", commits])
    return table(["sweep", "runs", "network and data", "hardware", "hours", "commit"], rows)


def finding_by_finding() -> str:
    """Each finding, and what either experiment says of it."""
    rows = []
    for full, small in zip(findings(frame(FULL)), findings(frame(SMALL)), strict=True):
        told = [f"**{f.verdict}**: {', '.join(filter(None, [f.ours, f.interval]))}" for f in (full, small)]
        rows.append([full.claim, full.published, *told])
    return table(["finding", "the study", "32/2/1, one epoch", "8/2/1, five epochs of half"], rows)


def reasons() -> str:
    """Why each verdict of either experiment is what it is."""
    rows = []
    for full, small in zip(findings(frame(FULL)), findings(frame(SMALL)), strict=True):
        rows.append([full.claim, full.why, small.why])
    return table(["finding", "32/2/1, one epoch", "8/2/1, five epochs of half"], rows)


def precision_and_engine() -> str:
    names = ["32-true, alone", *PARTS.values()]
    sweeps = [frame(SMALL), *(frame(name) for name in PARTS)]
    rows = []
    for optimizer, rate in PAIRS:
        told = [
            seeds_of(runs, optimizer if name != PARTS["findings_torch"] else f"Torch{optimizer}", rate)
            for name, runs in zip(names, sweeps, strict=True)
        ]
        rows.append([f"{optimizer} {rate:g}", *told])
    return table(["mse, seeds 0, 1, 2", *names], rows)


@pytest.mark.parametrize("made", [what_was_run, finding_by_finding, reasons, precision_and_engine])
def test_the_tables_of_the_document_are_those_of_the_records(made) -> None:
    assert made() in DOCUMENT.read_text(), f"put this into docs/findings.md:\n{made()}"


@pytest.mark.parametrize("name", [FULL, SMALL])
def test_all_54_runs_are_there_none_failed_and_each_has_an_epoch(name: str) -> None:
    runs = frame(name)
    assert len(runs) == 54
    assert set(runs["status"]) <= {"completed", "diverged"}
    assert runs["epochs"].min() >= 1
    assert sorted(runs["seed"].unique()) == [0, 1, 2]
    assert set(runs["dataset"]) == {"mnist"}


@pytest.mark.parametrize("name", [FULL, SMALL])
def test_the_csv_is_that_of_the_records_without_the_columns_that_came_later(name: str) -> None:
    from mnist_lightning.records.results import to_csv

    records = sorted(load_results(REFERENCE / name), key=lambda r: r.run_name)
    stored = list(csv.reader((REFERENCE / name / "results.csv").read_text().splitlines()))
    assert stored == [row[: len(stored[0])] for row in csv.reader(to_csv(records).splitlines())]


@pytest.mark.parametrize("name", [FULL, SMALL])
def test_no_verdict_rests_on_one_seed(name: str) -> None:
    assert all(finding.seeds >= 2 for finding in findings(frame(name)) if finding.is_decided)


def test_the_readme_says_what_the_records_say() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    full, small = ([f.verdict for f in findings(frame(name))] for name in (FULL, SMALL))
    assert (full.count("does not hold"), small.count("does not hold")) == (0, 0)
    assert f"Of its {len(full)} findings {full.count('holds')} hold after one epoch" in readme
    assert f"and {small.count('holds')} after five epochs" in readme
    mean = frame(FULL).groupby("setting")["accuracy_test"].mean()
    assert mean.idxmax() == "Adam mse 0.001 32/2/1"
    assert f"was our best setting, {mean.max():.4f} in the mean" in readme
    for name, optimizer, number in ((SMALL, "RMSprop", 3), (FULL, "RMSprop", 3), ("findings_torch", "TorchRMSprop", 0)):
        runs = frame(name)
        at = runs[(runs["optimizer"] == optimizer) & (runs["learning_rate"] == 0.01) & (runs["loss_func"] == "mse")]
        assert (len(at), (at["verdict"] == "learned").sum()) == (3, number)
    for name in (SMALL, FULL):
        for claim in ("Adam at 0.1 does not learn", "RMSprop at 0.1 does not learn"):
            assert next(f for f in findings(frame(name)) if f.claim == claim).verdict == "holds"
