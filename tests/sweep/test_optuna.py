"""`hydra/sweeper=optuna`: a search leaves what a grid leaves, and goes on when its command is repeated."""

from __future__ import annotations

import importlib.metadata
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("optuna", minversion="4", reason='a search needs Optuna 4: pip install "mnist-lightning[optuna]"')

from commands import Command, wait_for
from mnist_lightning.errors import ConfigError
from mnist_lightning.records.results import load_results
from mnist_lightning.records.search import JOURNAL, read_search
from mnist_lightning.sweep.search_names import require_optuna

SEARCH = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweep.dir=here", "lr=interval(0.001,0.1)"]
SEEDED = ["hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=4"]
PRUNED = "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,lower:0}"  # losses are reported as negative
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
Run = Callable[..., tuple[int, str, str]]


def test_a_search_leaves_the_records_and_tables_of_a_sweep_and_is_not_done_twice(
    run: Run, tiny_arguments: list[str]
) -> None:
    search = [*SEARCH, *tiny_arguments, "data.batch_size=choice(16,32)"]
    code, out, err = run(*search)
    assert (code, err) == (0, ""), out + err
    first, *lines = out.splitlines()[:4]
    told = "3 trials by tpe for the highest test accuracy: lr (0.001 to 0.1), batch_size (16, 32), 1 epoch of mnist"
    assert first.startswith(told)
    assert [line.split()[:3] for line in lines] == [[str(n), "of", "3"] for n in (1, 2, 3)]
    name = r"\d of 3  RMSprop mse [\d.e-]+ 2/1/0 batch_size=(16|32)  accuracy"
    assert all(re.match(name, line) for line in lines), out
    assert out.splitlines()[-1] == "3 of 3 done: here"
    found = load_results("here")
    most, told = max(r.accuracy_test for r in found), " ".join(out.split())
    best = [f"{most:.4f} (lr {r.learning_rate:.4g}, batch_size" for r in found if r.accuracy_test == most]
    assert any(f"by test accuracy, {words}" in told for words in best)
    assert {r.status for r in found} == {"completed"}
    assert len({r.learning_rate for r in found}) == 3
    journal = Path("here", JOURNAL).read_bytes()
    code, out, err = run(*search)
    assert (code, err, out.splitlines()[0], out.splitlines()[-1]) == (
        0,
        "",
        "resuming: 3 of 3 done",
        "3 of 3 done: here",
    )
    assert load_results("here") == found
    assert Path("here", JOURNAL).read_bytes() == journal
    code, out, err = run(*[a.replace("n_trials=3", "n_trials=4") for a in search])
    assert [line.split("  ")[0] for line in out.splitlines()[:3] if "trials" not in line] == [
        "resuming: 3 of 4 done",
        "4 of 4",
    ]
    assert run("hydra.run.dir=here")[0] == 2


OTHERS = {
    "lr=interval(0.001,1)": "holds another search (lr 0.001 to 0.1 -> 0.001 to 1)",
    "seed=1,2": "holds another search (seed not drawn -> 1, 2)",
    "trainer.max_epochs=2": "holds another search (trainer.max_epochs 1 -> 2)",
    "hydra.sweeper.direction=minimize": "holds another search (direction maximize -> minimize)",
    "hydra.sweeper.study_name=mine": "holds the study mnist_lightning; give its name and storage, or",
}


def test_another_search_or_a_grid_in_its_directory_is_refused_and_changes_nothing(
    run: Run, tiny_arguments: list[str]
) -> None:
    assert run(*SEARCH, *tiny_arguments, *SEEDED, "hydra.sweeper.n_trials=1")[0] == 0
    before = {p: p.read_bytes() for p in Path("here").rglob("*") if p.is_file() and "lock" not in p.name}
    for change, why in OTHERS.items():
        code, out, err = run(*SEARCH, *tiny_arguments, change)
        assert (code, out) == (2, ""), change
        assert err.startswith(f"mnist-lightning: error: hydra.sweep.dir=here: {why}"), err
        assert err.endswith("choose another directory\n")
    code, _, err = run("-m", *tiny_arguments, "hydra.sweep.dir=here", "seed=1,2")
    assert (code, "holds a search (search.json); choose another directory" in err) == (2, True)
    assert {path: path.read_bytes() for path in before} == before


def test_a_search_among_the_records_of_others_is_refused(run: Run, tiny_arguments: list[str]) -> None:
    assert run("-m", *tiny_arguments, "hydra.sweep.dir=here")[0] == 0
    code, _, err = run(*SEARCH, *tiny_arguments)
    assert (code, "holds a planned grid (plan.json), and a search's runs are not of it" in err) == (2, True)
    Path("here/plan.json").unlink()
    code, _, err = run(*SEARCH, *tiny_arguments)
    assert (code, "holds 1 record of another sweep, and no search; choose another" in err) == (2, True)
    assert not list(Path("here").glob("*search*"))


REFUSED = {
    "n_jobs": (["hydra.sweeper.n_jobs=0"], "hydra.sweeper.n_jobs=0: no number of trials; use 1 or more"),
    "fused": (
        ["hydra.sweeper.pruner=median", "hydra/launcher=fused"],
        "hydra.sweeper.pruner: runs that are trained together end together; use another launcher",
    ),
    "subdir": (
        ["hydra.sweep.subdir=mine"],
        "hydra.sweep.subdir=mine: a run's directory is named after the run; set hydra.sweep.dir instead",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_search_that_cannot_be_made_is_refused_in_one_line_before_anything_is(
    name: str, run: Run, tiny_arguments: list[str]
) -> None:
    arguments, line = REFUSED[name]
    code, out, err = run(*SEARCH, *tiny_arguments, *arguments)
    assert (code, out, err) == (2, "", f"mnist-lightning: error: {line}\n")
    assert not Path("here").exists()


@pytest.mark.parametrize("arguments", [SEARCH, ["-m", "seed=0,1", "hydra.sweep.dir=here"]], ids=["search", "grid"])
def test_what_lies_in_the_place_of_hydras_file_is_refused_and_stays(
    arguments: list[str], run: Run, tiny_arguments: list[str]
) -> None:
    Path("here/multirun.yaml").mkdir(parents=True)
    code, out, err = run(*arguments, *tiny_arguments)
    assert (code, out) == (5, "")
    assert "here/multirun.yaml: not a regular file; delete it, or choose another directory\n" in err
    assert Path("here/multirun.yaml").is_dir()


def test_another_sampler_or_pruner_is_harmless_and_said(run: Run, tiny_arguments: list[str]) -> None:
    two = [a.replace("n_trials=3", "n_trials=1") for a in SEARCH]
    assert run(*two, *tiny_arguments, *SEEDED)[0] == 0
    code, out, err = run(*SEARCH, *tiny_arguments, "hydra.sweeper.pruner=median", "hydra/sweeper/sampler=qmc")
    assert (code, err) == (0, ""), out + err
    assert out.splitlines()[:3] == [
        "sampler: qmc from here on, random seed=4 before",
        "pruner: median from here on, none before",
        "resuming: 1 of 3 done",
    ]


def test_a_grid_sampler_draws_each_combination_once_however_many_trials_are_wanted(
    run: Run, tiny_arguments: list[str]
) -> None:
    grid = ["-m", "hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "hydra.sweep.dir=here", "seed=range(0,3)"]
    code, out, err = run(*grid, *tiny_arguments, "hydra.sweeper.n_trials=9")
    assert (code, out.splitlines()[-1], err) == (0, "3 of 3 done: here", "")
    assert {r.seed for r in load_results("here")} == {0, 1, 2}


def test_a_failed_trial_is_a_row_and_does_not_end_the_search(run: Run, tiny_arguments: list[str]) -> None:
    hungry = [*SEARCH, *tiny_arguments, "callbacks=[{_target_:fault_callbacks.Hungry}]"]
    code, out, err = run(*hungry)
    assert (code, out.splitlines()[-1]) == (3, "0 of 3 done (3 failed): here"), out + err
    assert {r.status for r in load_results("here")} == {"failed"}
    code, out, err = run(*hungry)
    assert (code, out.splitlines()[-1]) == (3, "0 of 3 done (3 failed): here"), "tried again, and failed again"
    assert out.count(" of 3  ") == 3


def test_a_pruned_trial_is_recorded_as_one_is_done_and_never_ranked(run: Run, tiny_arguments: list[str]) -> None:
    search = [*SEARCH, *tiny_arguments, *SEEDED, "trainer.max_epochs=3", PRUNED]
    code, out, err = run(*search)
    assert (code, err, out.splitlines()[-1]) == (0, "", "3 of 3 done (3 pruned): here"), out + err
    assert re.search(r"1 of 3  RMSprop mse [\d.]+ 2/1/0  pruned, accuracy", out)
    assert "0 completed; 3 pruned; none can be ranked" in out
    for record in load_results("here"):
        why = "pruned after epoch 1 of 3 (ThresholdPruner lower=0)"
        assert (record.status, record.error, record.epochs) == ("pruned", why, 1)
    code, out, err = run(*search)
    assert (code, out.splitlines()[0]) == (0, "resuming: 3 of 3 done")


def test_images_that_are_held_out_decide_where_there_are_some(run: Run, tiny_arguments: list[str]) -> None:
    code, out, err = run(*SEARCH, *tiny_arguments, *SEEDED, "data.val_size=48")
    assert (code, err) == (0, ""), out + err
    assert out.startswith("3 trials by random for the highest validation accuracy: ")
    search = read_search(Path("here"))
    assert search is not None
    assert search.objective == "accuracy_val"


@pytest.mark.faults
def test_joblib_trains_as_many_trials_at_once_as_it_has_processes(
    start: Callable[..., Command], tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    code, out, err = start(*SEARCH, *JOBLIB, "hydra.sweeper.n_trials=2", "trainer.max_epochs=2", PRUNED).wait()
    assert code == 0, out + err
    assert out.splitlines()[-1] == "2 of 2 done (2 pruned): here"
    assert len(load_results(tmp_path / "here")) == 2


def test_two_commands_share_a_search_and_each_trial_is_trained_by_one_of_them(
    start: Callable[..., Command], tmp_path: Path
) -> None:
    search = [*SEARCH, *SEEDED, "hydra.sweeper.n_trials=6", "callbacks=[{_target_:fault_callbacks.Diary,path:diary}]"]
    both = [start(*search) for _ in range(2)]
    ended = [command.wait() for command in both]
    assert [(code, out.splitlines()[-1]) for code, out, _ in ended] == [(0, "6 of 6 done: here")] * 2, ended
    assert len(load_results(tmp_path / "here")) == 6
    search_there = read_search(tmp_path / "here")
    assert search_there is not None
    assert [t.number for t in search_there.trials] == [0, 1, 2, 3, 4, 5]
    assert (tmp_path / "diary").read_text().splitlines() == ["0"] * 6  # epochs


def test_a_search_that_is_interrupted_prints_the_line_that_goes_on(
    start: Callable[..., Command], tmp_path: Path
) -> None:
    command = start(*SEARCH, *SEEDED, "callbacks=[{_target_:fault_callbacks.Slow,seconds:0.2}]")
    command.wait_for_output("1 of 3")
    command.send(signal.SIGINT)
    code, out, err = command.wait()
    assert code == 130, out + err
    assert re.search(r"1 of 3 done \(2 missing\): here; resume: python -m mnist_lightning .*hydra.sweep.dir=here", err)


def test_without_optuna_or_with_an_old_one_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    line = r'hydra/sweeper=optuna: not installed; pip install "mnist-lightning\[optuna\]"'
    with pytest.raises(ConfigError, match=line):
        require_optuna()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.10.1")
    with pytest.raises(ConfigError, match="Optuna 2.10.1 is installed, and a search needs 4 or later; pip install -U"):
        require_optuna()


@pytest.mark.faults
def test_a_search_that_is_killed_five_times_has_the_trials_of_one_that_was_not(
    start: Callable[..., Command], tmp_path: Path
) -> None:
    search = [*SEARCH, *SEEDED, "hydra.sweeper.n_trials=20"]
    assert start(*search, "hydra.sweep.dir=undisturbed").wait().code == 0
    for kill in range(5):
        command = start(*search, "callbacks=[]")
        enough = kill * 3 + 1
        wait_for(lambda n=enough: len(list((tmp_path / "here").glob("*/result.json"))) >= n, 60, command)
        command.kill()
    code, out, err = start(*search).wait()
    assert (code, out.splitlines()[-1]) == (0, "20 of 20 done: here"), out + err
    assert re.match(r"resuming: \d+ of 20 done", out)
    whole, killed = (read_search(tmp_path / name) for name in ("undisturbed", "here"))
    assert whole is not None
    assert killed is not None
    assert killed.trials == whole.trials
    assert [t.number for t in killed.trials] == list(range(20))
    accuracies = [{r.run_name: r.accuracy_test for r in load_results(tmp_path / n)} for n in ("undisturbed", "here")]
    assert accuracies[0] == accuracies[1]
