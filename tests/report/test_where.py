"""Where the records lie: the report looks for a run's files in the directory in which its record was found."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from mnist_lightning.records.results import RunResult, save
from mnist_lightning.report.__main__ import main
from mnist_lightning.report.about import about_table
from mnist_lightning.report.curves import link
from mnist_lightning.report.figures import draw_figures
from mnist_lightning.report.frame import frame_of, load_frame
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.state import State, read_state
from mnist_lightning.report.stored import Stored, read_stored
from report_cases import planned, record, store


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take seconds, and show the records alone."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def named_by_the_user(directory: Path, runs: dict[str, RunResult]) -> None:
    """Stores runs with their files, each in a directory of the given name."""
    store(list(runs.values()), directory)
    for name, run in runs.items():
        (directory / run.run_name).rename(directory / name)


TWO = {
    "r1": record("RMSprop", accuracy=0.95, epochs=1, fingerprint="a" * 16, run_name="RMSprop_a"),
    "r r<2>": record("RMSprop", accuracy=0.97, epochs=30, fingerprint="b" * 16, run_name="RMSprop_b"),
}


@pytest.mark.usefixtures("no_figures")
def test_the_files_of_runs_in_directories_of_the_users_names_are_found_and_linked(tmp_path: Path) -> None:
    named_by_the_user(tmp_path, TWO)
    results, state = read_state(tmp_path)
    stored = read_stored(Ranking(frame_of(results, tmp_path, state.places)), tmp_path)
    assert stored.predictions is not None
    assert stored.curves
    assert main([str(tmp_path)]) == 0
    addresses = set(re.findall(r'href="([^"#:]+/)"', (tmp_path / "report.html").read_text()))
    assert addresses == {"r1/", "r%20r%3C2%3E/"}
    sheet: Any = openpyxl.load_workbook(tmp_path / "results.xlsx")["Results"]
    linked = {cell.hyperlink.target for row in sheet.iter_rows() for cell in row if cell.hyperlink}
    assert linked == addresses


@pytest.mark.parametrize("with_config", [True, False])
def test_runs_that_differ_in_their_epochs_alone_are_named_by_them(with_config: bool, tmp_path: Path) -> None:
    for name, run in TWO.items():
        save(run, tmp_path / name)
        if with_config:
            (tmp_path / name / "config.yaml").write_text(json.dumps({"trainer": {"max_epochs": run.epochs}}))
    ranking = Ranking(load_frame(tmp_path))
    key = "max_epochs" if with_config else "epochs"
    assert ranking.frame["further"].tolist() == [f"{key}=1", f"{key}=30"]
    names = [ranking.name(run) for run in ranking.ranked_settings.itertuples()]
    assert len(set(names)) == 2


def test_a_low_runs_curve_is_read_where_its_record_lies(tmp_path: Path) -> None:
    save(record(accuracy=0.1), tmp_path / "r1")
    curve = "epoch,train_loss\n" + "".join(f"{epoch},0.09\n" for epoch in range(1, 9))
    (tmp_path / "r1" / "metrics.csv").write_text(curve)
    assert load_frame(tmp_path)["verdict"].tolist() == ["collapsed"]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("SGD_lr1e-03+x", "SGD_lr1e-03+x/"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29/"),
        ('"><img src=x>', "%22%3E%3Cimg%20src%3Dx%3E/"),
        ("not \udcff text", "not%20%FF%20text/"),
        ("", ""),
    ],
)
def test_a_link_to_a_directory_means_nothing_but_that_directory(name: str, address: str) -> None:
    assert link(name) == address


def test_a_renamed_run_is_not_called_a_copy(tmp_path: Path) -> None:
    first, *_ = planned(tmp_path)
    (tmp_path / first.run_name).rename(tmp_path / "mybest")
    _, state = read_state(tmp_path)
    again = "rename it back, or the sweep will train it again"
    assert state.odd() == {"Renamed": f"mybest (is {first.run_name}); {again}"}
    assert state.parts() == ["1 missing (1 never begun)"]


def test_missing_predictions_are_not_explained_by_a_version() -> None:
    ranking = Ranking(frame_of([replace(record(), num_parameters=None)]))
    figures = draw_figures(ranking, Stored())
    assert figures.missing["confusion_matrix"] == "the best run has no predictions.npz"


def test_about_says_that_diverged_runs_are_kept() -> None:
    told = {
        name: dict(about_table(Ranking(frame_of([record()])), stored).rows)["To resume"]
        for name, stored in {
            "sweep": Stored(state=State(planned=1)),
            "no plan": Stored(),
            "run": Stored(linked=False),
        }.items()
    }
    assert "diverged ones too, since training again would give the same" in told["sweep"]
    assert "a run that is stored is kept, also if it diverged" in told["run"]
    assert "There is no plan" in told["no plan"]
