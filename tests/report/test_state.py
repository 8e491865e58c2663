"""The report reads the plan: what is missing, at work or not of this plan is said wherever it speaks of runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import openpyxl
import pytest

from mnist_lightning.errors import RefusedError
from mnist_lightning.records import locks
from mnist_lightning.records.plan import PLAN
from mnist_lightning.records.results import RECORD, load_results, save, to_json
from mnist_lightning.report import write_report
from mnist_lightning.report.__main__ import main
from mnist_lightning.report.answers import FAILED, WINNER, answers
from mnist_lightning.report.frame import frame_of
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.state import State, Unfinished, What, enumerated, in_terminal, read_state, state_of
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.tables import failures_table
from mnist_lightning.report.terminal import closing, standing
from report_cases import config_of, planned, quickstart, record, store


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take seconds, and show the records alone."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def words(directory: Path) -> str:
    """Everything the page and the workbook say, in one text."""
    book = openpyxl.load_workbook(directory / "results.xlsx")
    cells = [str(cell.value) for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
    return "\n".join([(directory / "report.html").read_text(), *cells])


@pytest.mark.usefixtures("no_figures")
def test_two_records_of_three_planned_are_nowhere_called_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, gone = planned(tmp_path, without=1)
    assert main([str(tmp_path)]) == 0
    told = words(tmp_path)
    assert "All 2 runs" not in told
    assert "2 of 3 runs on MNIST" in told
    assert "3 runs planned: 2 completed; 1 missing (1 never begun)" in told
    assert "No; 1 missing<" in told
    assert told.count(gone.run_name) == 1  # in the workbook's failures; elsewhere by the keys that vary
    assert capsys.readouterr().out.splitlines()[-1] == "3 runs planned: 2 completed; 1 missing (1 never begun)"


@pytest.mark.usefixtures("no_figures")
def test_write_report_itself_reads_the_plan(tmp_path: Path) -> None:
    planned(tmp_path, without=1)
    write_report(load_results(tmp_path), tmp_path)
    assert "3 runs planned: 2 completed; 1 missing (1 never begun)" in words(tmp_path)


def test_a_whole_sweep_says_that_all_planned_runs_were_completed_and_nothing_more(tmp_path: Path) -> None:
    planned(tmp_path)
    results, state = read_state(tmp_path)
    told = answers(Ranking(frame_of(results)), Stored(state=state))[FAILED]
    assert (told.short, told.sentences) == ("No", ["All 3 planned runs were completed."])
    assert standing(results, state) == []


def test_without_a_plan_everything_is_as_before(tmp_path: Path) -> None:
    store(quickstart()[:3], tmp_path)
    results, state = read_state(tmp_path)
    assert (results, state) == (load_results(tmp_path), State())
    told = answers(Ranking(frame_of(results)), Stored(state=state))
    assert told[FAILED].sentences == ["All 3 runs were completed."]
    assert told[WINNER].question == "Which setting won, and by how much?"


def test_of_one_run_nobody_says_that_it_won_or_that_all_were_completed() -> None:
    told = answers(Ranking(frame_of([record()])), Stored())
    assert told[WINNER].question == "How good is the run?"
    assert told[FAILED].sentences == ["The run was completed."]


def test_of_an_unfinished_sweep_nobody_has_won_yet(tmp_path: Path) -> None:
    planned(tmp_path, without=1)
    results, state = read_state(tmp_path)
    told = answers(Ranking(frame_of(results)), Stored(state=state))[WINNER]
    assert told.question == "Which setting is ahead so far?"
    assert told.sentences[-1] == "Only of the 2 of 3 planned runs that have a record."


def what(directory: Path) -> list[str]:
    return [run.what for run in read_state(directory)[1].unfinished]


def test_a_run_without_a_record_is_never_begun_interrupted_or_at_work(tmp_path: Path) -> None:
    run = planned(tmp_path, 1, without=1)[0]
    where = tmp_path / run.run_name
    assert what(tmp_path) == ["never begun"]
    (where / ".hydra").mkdir(parents=True)
    with locks.waiting(where / locks.LOCK):
        assert what(tmp_path) == ["running"]
    assert what(tmp_path) == ["never begun"]
    (where / "config.yaml").touch()
    assert what(tmp_path) == ["interrupted"]
    save(run, where)
    assert what(tmp_path) == []


def test_looking_for_who_is_at_work_makes_no_file_and_the_killed_hold_nothing(tmp_path: Path) -> None:
    run = planned(tmp_path, 1, without=1)[0]
    where = tmp_path / run.run_name
    where.mkdir()
    (where / "config.yaml").touch()
    assert what(tmp_path) == ["interrupted"]
    assert [p.name for p in where.iterdir()] == ["config.yaml"]
    code = "import sys; from pathlib import Path; from mnist_lightning.records import locks\n"
    code += "with locks.waiting(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(where / locks.LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert what(tmp_path) == ["running"]
        holder.kill()
    assert what(tmp_path) == ["interrupted"]


def test_members_of_a_group_in_training_are_at_work_and_its_lock_is_gone_afterwards(tmp_path: Path) -> None:
    runs = planned(tmp_path, 3, without=3)
    places = [tmp_path / r.run_name for r in runs[:2]]
    with locks.together(tmp_path / ".fused" / "ab12.lock", places):
        assert what(tmp_path) == ["running", "running", "never begun"]
    assert what(tmp_path) == ["never begun"] * 3
    assert not list((tmp_path / ".fused").iterdir())
    with locks.waiting(places[0] / locks.LOCK):  # trained alone afterwards
        assert what(tmp_path) == ["running", "never begun", "never begun"]


def test_running_runs_are_told_beside_the_missing_and_are_no_failures(tmp_path: Path) -> None:
    runs = planned(tmp_path, 4, without=3)
    for r in runs[1:3]:
        (tmp_path / r.run_name).mkdir()
        (tmp_path / r.run_name / "config.yaml").touch()
    with locks.waiting(tmp_path / runs[1].run_name / locks.LOCK):
        results, state = read_state(tmp_path)
    assert state.parts() == ["1 running", "2 missing (1 interrupted, 1 never begun)"]
    table = failures_table(Ranking(frame_of(results)), state)
    names = [c.name for c in table.columns]
    told = [dict(zip(names, row, strict=True)) for row in table.rows]
    assert [(row["What"], row["Run"]) for row in told] == [("missing", r.run_name) for r in runs[2:]]
    assert (told[0]["Optimizer"], told[0]["Loss function"], told[0]["Learning rate"]) == ("Adam", "mse", 0.003)
    assert (told[0]["Channels"], told[0]["Seed"], told[0]["Why"][:6]) == (32, 0, "begun,")


@pytest.mark.usefixtures("no_figures")
def test_the_page_leads_to_the_directory_of_a_run_without_a_result_and_does_not_spell_its_name(tmp_path: Path) -> None:
    _, diverged, begun, _ = runs = planned(tmp_path, 4, without=2)
    save(replace(diverged, status="diverged"), tmp_path / diverged.run_name)
    (tmp_path / begun.run_name).mkdir()
    (tmp_path / begun.run_name / "config.yaml").touch()
    assert main([str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    failures = page[page.index('<h2 id="failures"') : page.index('<h2 id="about"')]
    assert re.findall('href="(.*?)"', failures) == [f"{quote(r.run_name, safe='+')}/" for r in (diverged, begun)]
    assert all(r.run_name not in re.sub("<.*?>", " ", page) for r in runs)


def test_a_copy_of_a_runs_directory_counts_once_and_is_named(tmp_path: Path) -> None:
    runs = planned(tmp_path)
    shutil.copytree(tmp_path / runs[0].run_name, tmp_path / "a copy")
    results, state = read_state(tmp_path)
    assert results == runs
    assert state.is_whole
    assert state.odd() == {
        "Copies": f"a copy (of {runs[0].run_name}); a record counts only in the directory of its run"
    }


def test_a_record_copied_over_another_runs_leaves_that_run_without_one(tmp_path: Path) -> None:
    runs = planned(tmp_path)
    shutil.copy(tmp_path / runs[0].run_name / RECORD, tmp_path / runs[1].run_name / RECORD)
    results, state = read_state(tmp_path)
    assert results == [runs[0], runs[2]]
    assert [(r.run_name, r.what) for r in state.unfinished] == [(runs[1].run_name, "refused")]
    assert list(state.copies) == [runs[1].run_name]


def test_a_renamed_directory_is_not_that_of_the_planned_run(tmp_path: Path) -> None:
    runs = planned(tmp_path)
    (tmp_path / runs[0].run_name).rename(tmp_path / "mine")
    results, state = read_state(tmp_path)
    assert (results, list(state.copies)) == (runs[1:], ["mine"])
    assert [r.what for r in state.unfinished] == ["never begun"]


def test_without_a_plan_an_exact_copy_counts_once_and_another_run_of_the_same_twice(tmp_path: Path) -> None:
    save(record(), tmp_path / "a")
    save(record(), tmp_path / "b")
    save(record(duration_seconds=9.0), tmp_path / "c")
    results, state = read_state(tmp_path)
    assert sorted(r.duration_seconds for r in results) == [4.5, 9.0]
    assert list(state.copies) == ["b"]


@pytest.mark.usefixtures("no_figures")
def test_a_record_of_no_planned_run_is_named_and_neither_counted_nor_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(tmp_path)
    better = replace(record(accuracy=0.98765), fingerprint="f" * 16, run_name="better")
    save(better, tmp_path / "better")
    assert main([str(tmp_path)]) == 0
    told = words(tmp_path)
    assert "better; neither counted nor ranked" in told
    assert "3 runs planned: 3 completed" in told
    assert "0.9877" not in told
    assert "not of this plan: better; neither counted nor ranked" in capsys.readouterr().out


@pytest.mark.usefixtures("no_figures")
def test_a_damaged_plan_is_said_and_prevents_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned(tmp_path, without=1)
    (tmp_path / PLAN).write_text('{"runs": ')
    assert main([str(tmp_path)]) == 0
    sentence = "plan.json: no plan of a sweep"
    assert sentence in words(tmp_path)
    assert "which runs are missing is not known" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("no_figures")
def test_a_damaged_record_is_named_with_exit_code_6_and_the_others_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = planned(tmp_path)
    (tmp_path / runs[0].run_name / RECORD).write_text("{")
    assert main([str(tmp_path)]) == 6
    out, err = capsys.readouterr()
    assert err.startswith(f"mnist-lightning: error: {tmp_path / runs[0].run_name / RECORD}: no whole record (damaged")
    assert err.count("\n") == 1
    assert "3 runs planned: 2 completed; 1 missing (1 with a wrong record)" in out
    told = words(tmp_path)
    assert f"{runs[0].run_name}/{RECORD}: no whole record" in told
    assert "3 runs planned: 2 completed; 1 missing (1 with a wrong record)" in told


@pytest.mark.parametrize("plan", [True, False])
def test_only_damaged_records_are_refused_and_a_directory_without_any_too(
    plan: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = planned(tmp_path / "s", 1)
    (tmp_path / "s" / run.run_name / RECORD).write_text("{")
    if not plan:
        (tmp_path / "s" / PLAN).unlink()
    assert main([str(tmp_path / "s")]) == 6
    assert (tmp_path / "s" / "report.html").exists() == plan
    assert main([str(tmp_path)]) == 2
    assert "holds no record; give the directory of a sweep" in capsys.readouterr().err


@pytest.mark.usefixtures("no_figures")
def test_a_sweep_of_which_nothing_is_done_yet_has_a_report(tmp_path: Path) -> None:
    planned(tmp_path, 3, without=3)
    assert main([str(tmp_path)]) == 0
    assert "3 runs planned: 0 completed; 3 missing (3 never begun)" in words(tmp_path)
    assert "0 of 3 runs" in words(tmp_path)


def test_a_name_in_a_plan_leads_nowhere_else(tmp_path: Path) -> None:
    planned(tmp_path / "s", 1, without=1)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "config.yaml").touch()
    text = (tmp_path / "s" / PLAN).read_text()
    name = read_state(tmp_path / "s")[1].unfinished[0].run_name
    (tmp_path / "s" / PLAN).write_text(text.replace(name, "../else"))
    assert what(tmp_path / "s") == ["never begun"]


def test_the_terminal_says_it_in_80_columns_of_ascii(tmp_path: Path) -> None:
    planned(tmp_path, 12, without=1)
    for i in range(9):
        save(replace(record(), fingerprint=f"f{i:015x}"), tmp_path / f"stranger \u202e\x1b[31m number {i}")
    results, state = read_state(tmp_path)
    text = closing(results, [], state)
    assert "12 runs planned: 11 completed; 1 missing (1 never begun)" in text.splitlines()
    assert "and 3 others; neither counted" in " ".join(text.split())
    assert text.isascii()
    assert all(line.isprintable() and len(line) < 80 for line in text.splitlines())


def test_a_planned_run_tells_its_optimizer_and_its_values_as_a_cell_can_hold_them() -> None:
    config = {"loss": "mse", "lr": 0.1, "model": {"num_conv": 2}, "data": {"name": "mnist", "sizes": [1]}, "x": True}
    run = Unfinished("SGD_mse_lr1e-01_num_channel4", config, "never begun")
    assert run.optimizer == "SGD"
    assert [run.value("lr"), run.value("model", "num_conv"), run.value("data", "name")] == [0.1, 2, "mnist"]
    assert [run.value("data", "sizes"), run.value("x"), run.value("no"), run.value("lr", "no")] == [
        "[1]",
        True,
        None,
        None,
    ]


def unfinished(*what: What) -> State:
    return State(9, [Unfinished(f"run{i}", {}, each) for i, each in enumerate(what)])


def test_what_is_unfinished_is_counted_by_what_became_of_it() -> None:
    assert State().is_whole
    assert State().parts() == []
    state = unfinished("running", "never begun", "refused", "interrupted", "never begun")
    assert not state.is_whole
    assert (state.count("running"), state.count("refused", "never begun"), state.count()) == (1, 3, 0)
    detail = "1 interrupted, 1 with a wrong record, 2 never begun"
    assert state.parts() == ["1 running", f"4 missing ({detail})"]
    assert state.parts(why=False) == ["1 running", "4 missing"]
    assert unfinished("running", "running").parts() == ["2 running"]
    never: list[What] = ["never begun"] * 1234
    assert unfinished(*never).parts(why=False) == ["1,234 missing"]


def test_what_does_not_count_or_cannot_be_read_is_told_by_subject() -> None:
    assert State().odd() == {}
    assert State(problems=["x: damaged", "y: damaged", "z: damaged"]).odd(2) == {"Left out": "x: damaged; y: damaged"}
    state = State(strangers={"s": record(), "t": record()}, copies={"c": record()})
    assert state.odd(1) == {
        "Not of this plan": "s and 1 other; neither counted nor ranked",
        "Copies": f"c (of {record().run_name}); a record counts only in the directory of its run",
    }


def test_the_terminal_has_a_head_only_where_something_is_unfinished_and_lines_that_fit() -> None:
    assert in_terminal(State(), "head", 79) == []
    assert in_terminal(unfinished("running"), "head", 79) == ["head"]
    told = in_terminal(State(1, [], problems=["well-known " * 9]), "head", 40)
    assert [line.removesuffix(" well-known") for line in told[:2]] == [
        "left out: well-known",
        "  well-known well-known",
    ]
    assert max(map(len, told)) <= 40


def test_a_state_has_the_plans_size_the_refused_and_what_is_wrong_with_the_plan_from_the_root(tmp_path: Path) -> None:
    runs = planned(tmp_path, 2, without=2)
    error = RefusedError(f"{tmp_path}/{runs[0].run_name}/{RECORD}: no whole record")
    results, state = state_of({}, tmp_path, {runs[0].run_name: error})
    assert (results, state.planned, state.refused) == ([], 2, [error])
    assert state.problems == [f"{runs[0].run_name}/{RECORD}: no whole record"]
    assert [run.what for run in state.unfinished] == ["refused", "never begun"]
    assert state.unfinished[0].config == config_of(runs[0])
    (tmp_path / PLAN).write_text("{}")
    _, state = state_of({}, tmp_path)
    assert (state.planned, state.unfinished) == (None, [])
    assert state.problems == ["plan.json: no plan of a sweep ('runs'): which runs are missing is not known"]


def test_a_directory_that_cannot_be_listed_is_one_of_a_run_that_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = planned(tmp_path, 1, without=1)
    (tmp_path / run.run_name).mkdir()

    def failing(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    assert what(tmp_path) == ["never begun"]
    monkeypatch.setattr(Path, "iterdir", failing)
    _, state = state_of({}, tmp_path)
    assert [run.what for run in state.unfinished] == ["interrupted"]


def test_names_are_enumerated_up_to_a_limit() -> None:
    assert enumerated([], 2) == ""
    assert enumerated(["a", "b"], 2) == "a, b"
    assert enumerated(["x" * 300], 2) == "x" * 197 + "..."
    assert enumerated(["a", "b", "c"], 2) == "a, b and 1 other"
    assert enumerated("abcd", 2) == "a, b and 2 others"


def test_a_run_is_called_renamed_where_one_record_of_it_is_left_and_its_own_directory_is_gone(tmp_path: Path) -> None:
    up, down, twice, begun = (r.run_name for r in planned(tmp_path, 4))
    (tmp_path / up).rename(tmp_path / "zz")
    assert read_state(tmp_path)[1].odd()["Renamed"].endswith("; rename it back, or the sweep will train it again")
    for old, new in [(down, "AA"), (twice, "one"), (begun, "old")]:
        (tmp_path / old).rename(tmp_path / new)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / begun).mkdir()
    told = read_state(tmp_path)[1].odd()
    assert told["Renamed"].startswith(f"AA (is {down}), zz (is {up}); rename them back, or the sweep will train them")
    assert told["Copies"].startswith(f"old (of {begun}), one (of {twice}), two (of {twice}); ")


def test_without_a_plan_the_place_of_a_record_is_known_whatever_its_directory_is_called(tmp_path: Path) -> None:
    up, down, own = planned(tmp_path)
    (tmp_path / PLAN).unlink()
    for run, new in [(up, "zz"), (down, "AA")]:
        (tmp_path / run.run_name).rename(tmp_path / new)
    results, state = read_state(tmp_path)
    assert state.places == {to_json(up): "zz", to_json(down): "AA"}
    assert (len(results), state.odd(), state.renamed, state.copies) == (3, {}, {}, {})
    assert own in results
