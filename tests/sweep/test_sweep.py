"""The sweep that a process leads: what it holds, what it is to do, what it removes, how it is told that it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import BusyError, ConfigError, OutputError
from mnist_lightning.records import locks
from mnist_lightning.records.plan import PLAN, read_plan
from mnist_lightning.records.results import RECORD, RunResult, save
from mnist_lightning.sweep import plan as planning
from mnist_lightning.sweep.attempts import ATTEMPTS, attempts, begin
from mnist_lightning.sweep.plan import check_space
from mnist_lightning.sweep.sweep import Sweep, current, is_final, refuse_other_directory, refuse_retraining, shown

Tiny = Callable[..., RunConfig]


def result_of(config: RunConfig, **values: Any) -> RunResult:
    return RunResult(run_name=config.run_name, fingerprint=config.fingerprint, **values)


def store(root: Path, config: RunConfig, status: str) -> None:
    save(result_of(config, status=status), root / config.run_name)


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """For plans whose configurations need not be trainable."""
    monkeypatch.setattr("mnist_lightning.training.run.check", lambda _: SimpleNamespace(sha256="ab"))


# 1. The sweep of a process and its lock


def test_the_sweep_is_the_current_one_inside_its_block_alone() -> None:
    assert current() is None
    with Sweep() as sweep:
        assert current() is sweep
    assert current() is None


def test_a_directory_is_held_until_the_block_has_ended_and_may_be_entered_twice(tmp_path: Path) -> None:
    with Sweep() as sweep:
        sweep.enter(tmp_path)
        sweep.enter(tmp_path)
        assert (sweep.directory, sweep.is_run) == (tmp_path, True)
        with pytest.raises(BusyError):
            Sweep().enter(tmp_path)
    with Sweep() as again:
        again.enter(tmp_path)


# 2. The plan: which runs are to be done


def test_each_run_without_a_final_record_is_to_be_done_once_and_the_rest_is_said(
    tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    new, done, diverged, failed = (tiny(seed=seed) for seed in range(4))
    for config, status in ((done, "completed"), (diverged, "diverged"), (failed, "failed")):
        store(tmp_path, config, status)
    for config in (new, failed):
        begin(tmp_path / config.run_name)
    orphan = tmp_path / new.run_name / ".config.yaml.1.00000000.tmp"
    orphan.touch()
    with Sweep() as sweep:
        assert sweep.plan(tmp_path, [[new, done, new], [diverged, failed]]) == [[True, False, False], [False, True]]
        with pytest.raises(BusyError):
            locks.hold(tmp_path)
    assert (sweep.directory, sweep.began, sweep.is_run) == (tmp_path, True, False)
    assert sweep.planned == {c.fingerprint: {"run_name": c.run_name} for c in (new, done, diverged, failed)}
    assert read_plan(tmp_path)["runs"].keys() == sweep.planned.keys()
    assert capsys.readouterr().out.splitlines() == [
        f"{PLAN} was gone: written again, 3 of 4 runs have a record",
        "1 of 5 runs are repetitions and will run once",
        "resuming: 2 of 4 recorded, of which 1 diverged and is not tried again",
    ]
    assert not orphan.exists()
    assert [attempts(tmp_path / config.run_name) for config in (new, failed)] == [0, 0]
    assert sweep.progress is not None
    assert (sweep.progress.planned, sweep.progress.stored_at_start) == (4, 2)
    assert (tmp_path / failed.run_name / ATTEMPTS).exists()
    assert not (tmp_path / done.run_name / ATTEMPTS).exists()


def test_a_sweep_that_begins_says_nothing(tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    with Sweep() as sweep:
        assert sweep.plan(tmp_path, [[tiny()], [tiny(seed=1)]]) == [[True], [True]]
    assert capsys.readouterr().out == ""


def test_no_plan_is_committed_where_something_is_refused(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sweep() as sweep:
        with pytest.raises(ConfigError, match=r"^sweep: has no runs \(an empty range or choice\); give each key"):
            sweep.plan(tmp_path, [[]])
        with pytest.raises(ConfigError, match="^retrain=true: a sweep keeps its finished runs; choose another"):
            sweep.plan(tmp_path, [[tiny(), replace(tiny(seed=1), retrain=True)]])
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match=r"^hydra.sweep.dir=\S+/file/x: [A-Z][a-z ]+; choose another directory$"):
            sweep.plan(tmp_path / "file" / "x", [[tiny()]])
    assert (sweep.directory, sweep.began, sweep.planned) == (None, False, {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_only_checkpoints_that_will_be_written_need_space(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1})())
    done, without = tiny(), tiny(seed=1, **{"trainer.enable_checkpointing": False})
    store(tmp_path, done, "completed")
    with Sweep() as sweep:
        assert sweep.plan(tmp_path, [[done, without]]) == [[False, True]]
        sweep._lock.close()  # pyright: ignore[reportOptionalMemberAccess]
    with Sweep() as sweep, pytest.raises(OutputError, match="for checkpoints, .* free; free the disk, choose another"):
        sweep.plan(tmp_path / "other", [[done]])


def test_the_space_is_that_of_four_copies_of_the_weights(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnist_lightning.numerics.model import parameters_of

    needed = 2 * parameters_of(2, 1, 0) * 4 * 4
    monkeypatch.setattr(planning.shutil, "disk_usage", lambda _: type("Usage", (), {"free": needed})())
    check_space(tmp_path, [tiny(), tiny(seed=1)])
    monkeypatch.setattr(planning.shutil, "disk_usage", lambda _: type("Usage", (), {"free": needed - 1})())
    told = rf"{needed / 1e6:,.1f} MB for checkpoints, {(needed - 1) / 1e6:,.1f} MB free; free the disk"
    with pytest.raises(OutputError, match=told):
        check_space(tmp_path, [tiny(), tiny(seed=1)])


@pytest.mark.parametrize(("status", "final"), [("completed", True), ("diverged", True), ("failed", False)])
def test_a_failed_run_is_done_again_and_another_runs_record_is_refused(
    status: str, final: bool, tmp_path: Path, tiny: Tiny
) -> None:
    stored = result_of(tiny(), status=status)
    assert is_final(stored, tiny(), tmp_path) is final
    assert is_final(None, tiny(), tmp_path) is False
    with pytest.raises(ConfigError, match="holds the record of another run"):
        is_final(stored, tiny(seed=1), tmp_path)


def test_a_run_of_a_sweep_is_not_retrained(tiny: Tiny) -> None:
    refuse_retraining(tiny())
    with pytest.raises(ConfigError, match="or retrain one run by hydra.run.dir"):
        refuse_retraining(replace(tiny(), retrain=True))


OF_HYDRA = """\
hydra:
  runtime:
    config_sources:
    - path: mnist_lightning.conf
      schema: pkg
      provider: main
"""


def written_over(sweep: Sweep, root: Path) -> list[str]:
    """Plans a sweep where Hydra has written its own multirun.yaml; what is kept of the one before."""
    sweep.find("hydra.sweep.dir", str(root))
    (root / "multirun.yaml").write_text(OF_HYDRA)
    with sweep:
        sweep.plan(root, [[RunConfig(seed=0)]])
    return [path.read_text() for path in root.glob("quarantine/*")]


@pytest.mark.usefixtures("no_data")
def test_a_multirun_yaml_that_was_there_before_a_sweeps_plan_is_kept_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "new"):
        Path(name).mkdir()
    Path("mine/multirun.yaml").write_text("of another program")
    assert written_over(Sweep(), Path("new")) == []
    assert capsys.readouterr().out == ""
    assert written_over(Sweep(), Path("mine").resolve()) == ["of another program"]
    digest = hashlib.sha256(b"of another program").hexdigest()[:8]
    kept = f"mine/quarantine/multirun.{digest}.yaml"
    assert capsys.readouterr().out == f"mine/multirun.yaml: not of a sweep of ours; kept as {kept}\n"
    assert written_over(Sweep(), Path("mine")) == ["of another program"], "what was ours is not kept"
    assert "kept" not in capsys.readouterr().out


def test_what_is_kept_of_the_users_is_kept_once_and_said_of_a_run_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".hydra").mkdir()
    Path(".hydra/mine.yaml").write_text("mine")
    sweep = Sweep(is_run=True)
    sweep.find("hydra.run.dir", ".")
    for _ in range(2):
        sweep.keep_somebodys(Path("there"))
    (kept,) = Path("there/quarantine").iterdir()
    assert (kept.read_text(), kept.suffix) == ("mine", ".yaml")
    assert capsys.readouterr().out == f".hydra/mine.yaml: not of a run of ours; kept as {kept}\n"


# 3. A refused directory


@pytest.mark.parametrize("there", [[], ["thesis"], ["thesis/notes"], ["thesis/deep/run/"]])
def test_of_a_refused_directory_goes_what_this_command_has_made(there: list[str], tmp_path: Path) -> None:
    for name in there:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch() if "/" in name else path.mkdir()
    before = sorted(tmp_path.rglob("*"))
    directory = tmp_path / "thesis" / "deep" / "run"
    sweep = Sweep()
    sweep.find("hydra.run.dir", str(directory))
    (directory / ".hydra").mkdir(parents=True)
    (directory / ".hydra" / "config.yaml").touch()
    sweep.remove_refused(directory, ".hydra")
    sweep.__exit__()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_refused_directory_in_use_or_with_something_else_in_it_stays(tmp_path: Path) -> None:
    for name, in_use, content in (("used", True, ".hydra"), ("full", False, "mine")):
        directory, sweep = tmp_path / name, Sweep()
        sweep.find("hydra.run.dir", str(directory))
        (directory / content).mkdir(parents=True)
        with Sweep() as other:
            if in_use:
                other.enter(directory)
            sweep.remove_refused(directory, ".hydra")
            assert (directory / content).is_dir()
            assert (sweep._lock is None) is True


def test_what_was_in_a_refused_directory_before_stays(tmp_path: Path) -> None:
    """A file of Hydra's, or the lock of an earlier command."""
    (tmp_path / "multirun.yaml").write_text("mine")
    sweep = Sweep()
    sweep.find("hydra.sweep.dir", str(tmp_path))
    sweep.remove_refused(tmp_path, "multirun.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["multirun.yaml"]
    nobody = Sweep()
    nobody.remove_refused(tmp_path, "multirun.yaml")
    assert (tmp_path / "multirun.yaml").read_text() == "mine"
    for held in (sweep, nobody):
        held.__exit__()


def test_what_hydra_has_written_over_in_a_refused_directory_is_given_back(tmp_path: Path) -> None:
    files = [tmp_path / "multirun.yaml", tmp_path / ".hydra" / "config.yaml", tmp_path / "notes.yaml"]
    files[1].parent.mkdir()
    for path in files:
        path.write_text("before")
    sweep = Sweep()
    sweep.find("hydra.sweep.dir", str(tmp_path))
    for path in files:
        path.write_text("Hydra's")
    sweep.remove_refused(tmp_path, "multirun.yaml")
    assert [path.read_text() for path in files] == ["before", "before", "Hydra's"]


def test_a_file_of_hydras_in_a_directory_of_the_users_goes(tmp_path: Path) -> None:
    sweep = Sweep()
    sweep.find("hydra.sweep.dir", str(tmp_path))
    (tmp_path / "multirun.yaml").touch()
    sweep.remove_refused(tmp_path, "multirun.yaml")
    sweep.__exit__()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("of_hydra", [f"{letter}.yaml" for letter in "abcdefgh"])  # they and the lock go in any order
def test_a_directory_in_which_hydra_has_made_nothing_is_left_as_it_was(of_hydra: str, tmp_path: Path) -> None:
    sweep = Sweep()
    sweep.find("hydra.sweep.dir", str(tmp_path))
    sweep.remove_refused(tmp_path, of_hydra)
    sweep.__exit__()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_of_a_directory_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^hydra.run.dir={name}: empty; name a directory, or leave it out for a"):
        Sweep().find("hydra.run.dir", name)


def test_the_directory_of_the_other_kind_of_command_is_refused() -> None:
    refuse_other_directory(["lr=0.1", "hydra.sweep.dir=here"], in_sweep=True)
    refuse_other_directory(["hydra.run.dir=here", "x=hydra.sweep.dir=here"], in_sweep=False)
    with pytest.raises(ConfigError) as refused:
        refuse_other_directory(["lr=0.1", "++hydra.run.dir=here"], in_sweep=True)
    told = "hydra.run.dir=here: is for a single run; a sweep's directory is hydra.sweep.dir"
    assert str(refused.value) == told
    with pytest.raises(ConfigError) as refused:
        refuse_other_directory(["hydra.sweep.dir=here"], in_sweep=False)
    assert str(refused.value) == "hydra.sweep.dir=here: is for sweeps (-m); a single run's directory is hydra.run.dir"


# 4. How it ended


def test_a_path_below_the_working_directory_is_told_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert shown(tmp_path / "work" / "here") == Path("here")
    assert shown(tmp_path / "here") == tmp_path / "here"


def test_a_sweep_has_runs_when_one_is_planned_recorded_or_was_begun_alone(tmp_path: Path, tiny: Tiny) -> None:
    assert not Sweep().has_runs()
    assert not Sweep(tmp_path).has_runs()
    assert not Sweep(tmp_path / "nowhere").has_runs()
    assert Sweep(planned={"ab": {}}).has_runs()
    assert Sweep(tmp_path, planned={"ab": {}}).has_runs()
    (tmp_path / "config.yaml").touch()
    assert not Sweep(tmp_path).has_runs()
    assert Sweep(tmp_path, is_run=True).has_runs()
    (tmp_path / "config.yaml").unlink()
    assert not Sweep(tmp_path, is_run=True).has_runs()
    store(tmp_path, tiny(), "failed")
    assert Sweep(tmp_path).has_runs()


def test_a_plan_alone_is_a_sweep_with_runs(tmp_path: Path, tiny: Tiny) -> None:
    with Sweep() as sweep:
        sweep.plan(tmp_path, [[tiny()]])
    assert Sweep(tmp_path).has_runs()


def told(sweep: Sweep) -> tuple[int, str]:
    code, line = sweep.outcome()
    return code, line.rpartition(": ")[0]


def test_a_run_that_was_begun_and_left_no_record_is_one_of_one_missing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    assert told(Sweep(tmp_path, is_run=True)) == (3, "0 of 1 done (1 missing)")
    assert told(Sweep(tmp_path)) == (3, "0 of 0 done")


def test_without_a_plan_every_record_counts(tmp_path: Path, tiny: Tiny) -> None:
    store(tmp_path, tiny(), "completed")
    assert told(Sweep(tmp_path)) == (0, "1 of 1 done")
    store(tmp_path, tiny(seed=1), "failed")
    assert told(Sweep(tmp_path)) == (3, "1 of 2 done (1 failed)")


def test_a_sweep_whose_directory_is_gone_has_nothing_done(tmp_path: Path) -> None:
    gone = Sweep(tmp_path / "gone", planned={"ab": {"run_name": "a"}})
    assert told(gone) == (3, "0 of 1 done (1 missing)")
    assert Sweep()._found().records == {}


def test_a_retraining_that_did_not_end_is_no_success(tmp_path: Path, tiny: Tiny) -> None:
    save(result_of(tiny(), status="completed"), tmp_path)
    assert told(Sweep(tmp_path, is_run=True, retraining=True)) == (3, "1 of 1 done (not trained anew)")
    assert told(Sweep(tmp_path, is_run=True)) == (0, "1 of 1 done")


def test_a_damaged_record_gives_6_where_all_is_done_and_3_where_not_and_copies_are_told(
    tmp_path: Path, tiny: Tiny
) -> None:
    with Sweep() as sweep:
        sweep.plan(tmp_path, [[tiny()]])
    store(tmp_path, tiny(), "completed")
    save(result_of(tiny(), status="completed"), tmp_path / "copy")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / RECORD).write_text("{}")
    assert told(sweep) == (6, "1 of 1 done (1 copy, 1 damaged)")
    (tmp_path / tiny().run_name / RECORD).unlink()
    assert told(sweep)[0] == 3


def test_tables_are_made_where_there_is_a_record_and_collecting_is_noted(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mnist_lightning import report

    made: list[tuple[str, Path]] = []
    for name in ("write_tables", "write_report"):
        monkeypatch.setattr(
            report, name, lambda _results, root, _state, name=name: made.append((name, root)) or [root / "results.xlsx"]
        )
    for directory in (None, tmp_path / "nowhere", tmp_path):
        sweep = Sweep(directory)
        sweep.collect()
        assert (sweep.collected, made, capsys.readouterr().out) == (True, [], "")
    store(tmp_path, tiny(), "completed")
    Sweep(tmp_path).collect()
    assert made == [("write_report", tmp_path)]
    assert capsys.readouterr().out.splitlines()[-1] == f"workbook: {tmp_path}/results.xlsx"
    Sweep(tmp_path / tiny().run_name).collect()
    assert made[1:] == [("write_tables", tmp_path / tiny().run_name)]
