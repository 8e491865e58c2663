"""What the user has in a directory stays: only what a command has made is removed; what is in its way is put aside."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.records.results import load, load_results

Run = Callable[..., Any]


MINE = "defaults: [config, _self_]\nhydra: {run: {dir: ''}, sweep: {dir: ''}}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["hydra.run.dir="],
        ["hydra.run.dir=''"],
        ["hydra.run.dir=' '"],
        ["-m", "hydra.sweep.dir="],
        ["-m", "hydra.sweep.dir=''"],
        ["--config-dir=mine", "--config-name=mine"],
        ["--config-dir=mine", "--config-name=mine", "-m"],
    ],
)
def test_an_empty_directory_name_is_refused_and_nothing_is_made(
    arguments: list[str], run: Run, tiny_arguments: list[str]
) -> None:
    Path("mine").mkdir()
    Path("mine/mine.yaml").write_text(MINE)
    code, out, err = run(*arguments, *tiny_arguments)
    key = "hydra.sweep.dir" if "-m" in arguments else "hydra.run.dir"
    assert re.fullmatch(
        rf"mnist-lightning: error: {key}= ?: empty; name a directory, or leave it out for a fresh one\n", err
    )
    assert (code, out, [path.name for path in Path().iterdir()]) == (2, "", ["mine"])


@pytest.mark.parametrize("name", [".", "mine", "mine/deeper/still"])
@pytest.mark.parametrize("kind", ["hydra.run.dir", "-m hydra.sweep.dir"])
def test_a_refused_command_removes_what_it_has_made_and_nothing_else(
    kind: str, name: str, run: Run, tiny_arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "mine" if name == "." else tmp_path / "work")
    refused = "optimizer.options.momentun=1"
    assert run(*f"{kind}={name}".split(), *tiny_arguments, refused)[0] == 2
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == ["work", "work/mine"]


def test_a_refused_command_leaves_what_hydra_had_put_there_before(run: Run, tiny_arguments: list[str]) -> None:
    Path("here/.hydra").mkdir(parents=True)
    Path("here/.hydra/notes").write_text("mine")
    assert run(*tiny_arguments, "optimizer.options.momentun=1", "hydra.run.dir=here")[0] == 2
    assert Path("here/.hydra/notes").read_text() == "mine"


def test_a_refused_command_leaves_what_hydra_had_noted_of_the_accepted_one(run: Run, tiny_arguments: list[str]) -> None:
    assert run("-m", *tiny_arguments, "seed=0,1", "hydra.sweep.dir=grid")[0] == 0
    assert run(*tiny_arguments, "hydra.run.dir=one")[0] == 0
    noted = {path: path.read_bytes() for path in [Path("grid/multirun.yaml"), *Path("one/.hydra").iterdir()]}
    assert run("-m", *tiny_arguments, "seed=0,1,2", "lr=0.5", "hydra.sweep.dir=grid")[0] == 2
    assert run(*tiny_arguments, "lr=0.5", "hydra.run.dir=one")[0] == 2
    assert {path: path.read_bytes() for path in noted} == noted


def test_a_multirun_yaml_of_the_users_is_kept_when_a_sweep_begins_there_and_said_once(
    run: Run, tiny_arguments: list[str]
) -> None:
    Path("grid/.hydra").mkdir(parents=True)
    Path("grid/.hydra/hydra.yaml").write_text("another program's, which a sweep leaves alone")
    Path("grid/multirun.yaml").write_text("mine")
    code, out, _ = run("-m", *tiny_arguments, "hydra.sweep.dir=grid")
    (kept,) = Path("grid/quarantine").iterdir()
    assert (code, kept.read_text()) == (0, "mine")
    assert f"grid/multirun.yaml: not of a sweep of ours; kept as {kept}\n" in out
    assert "not of a sweep" not in run("-m", *tiny_arguments, "hydra.sweep.dir=grid")[1]
    assert list(Path("grid/quarantine").iterdir()) == [kept]


def test_a_run_in_a_directory_of_the_users_puts_the_users_files_aside_and_says_so(
    run: Run, tiny_arguments: list[str]
) -> None:
    names = ["config.yaml", "metrics.csv", "predictions.npz", "checkpoints/best.ckpt", "checkpoints/last.ckpt"]
    Path("o1/checkpoints").mkdir(parents=True)
    for name in [*names, "results.csv"]:
        Path("o1", name).write_text("mine")
    code, out, _ = run(*tiny_arguments, "hydra.run.dir=o1")
    assert code == 0
    for name in names:
        assert Path("o1/quarantine", Path(name).name).read_text() == "mine"
        assert f"{Path('o1', name).absolute()}: not known to be ours; moved to quarantine/\n" in out
    assert "changed since we wrote it, or not ours; kept: " in out
    assert Path("o1/results.bak.csv").read_text() == "mine"
    assert load(Path("o1/result.json")).status == "completed"


def test_a_checkpoint_given_from_where_the_run_goes_is_gone_on_from_although_it_is_put_aside(
    run: Run, tiny_arguments: list[str], break_off: list[object]
) -> None:
    assert run(*tiny_arguments, "hydra.run.dir=here")[0] == 0
    for name in ("result.json", "config.yaml"):
        Path("here", name).unlink()
    more = ["trainer.max_epochs=2", "ckpt_path=here/checkpoints/last.ckpt", "hydra.run.dir=here"]
    assert run(*tiny_arguments, *more)[0] == 0
    assert break_off == [None, 0, 1]
    assert Path("here/quarantine/last.ckpt").is_file()


def test_a_sweep_in_a_directory_of_the_users_leaves_the_users_temporary_files(
    run: Run, tiny_arguments: list[str]
) -> None:
    Path("thesis").mkdir()
    theirs = [Path("thesis/.chapter1.tmp"), Path(".x.tmp"), Path("thesis/.result.json.1.00000000.tmp")]
    for path in theirs:
        path.touch()
    assert run("-m", *tiny_arguments, "hydra.sweep.dir=.")[0] == 0
    (result,) = load_results(".")
    ours = [Path(".plan.json.1.00000000.tmp"), Path(result.run_name) / "checkpoints" / ".last.ckpt.1.00000000.tmp"]
    for path in ours:
        path.touch()
    assert run("-m", *tiny_arguments, "hydra.sweep.dir=.")[0] == 0
    assert [path.exists() for path in (*theirs, *ours)] == [True] * 3 + [False] * 2


def test_the_temporary_files_of_a_killed_single_run_go_too(run: Run, tiny_arguments: list[str]) -> None:
    left = [Path("here/checkpoints/.last.ckpt.1.00000000.tmp"), Path("here/.retrain/.result.json.1.00000000.tmp")]
    for path in left:
        path.parent.mkdir(parents=True)
        path.touch()
    assert run(*tiny_arguments, "hydra.run.dir=here")[0] == 0
    assert [path.exists() for path in left] == [False, False]


def test_what_another_program_of_hydra_s_had_noted_is_kept_when_a_run_begins_there_and_said_once(
    run: Run, tiny_arguments: list[str]
) -> None:
    noted = {"hydra.yaml": "hydra:\n  job:\n    name: another\n", "config.yaml": "mine: 1\n"}
    Path("here/.hydra").mkdir(parents=True)
    for name, text in noted.items():
        (Path("here/.hydra") / name).write_text(text)
    arguments = [*tiny_arguments, "hydra.run.dir=here"]
    code, out, _ = run(*arguments)
    assert (code, out.count("not of a run of ours; kept as here/quarantine/")) == (0, 2)
    assert {path.read_text() for path in Path("here/quarantine").glob("*.yaml")} == set(noted.values())
    assert "kept as" not in run(*arguments, "retrain=true")[1]


def test_a_sweep_does_not_begin_where_a_single_run_is_nor_the_other_way_about(
    run: Run, tiny_arguments: list[str]
) -> None:
    assert run(*tiny_arguments, "hydra.run.dir=run")[0] == 0
    assert run("-m", *tiny_arguments, "hydra.sweep.dir=sweep", "seed=0,1")[0] == 0
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.name != ".lock"}
    for search in ([], ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1"]):
        code, out, err = run("-m", *tiny_arguments, *search, "hydra.sweep.dir=run", "seed=0,1")
        why = "hydra.sweep.dir=run: holds a single run (result.json); choose another directory"
        assert (code, out, err) == (2, "", f"mnist-lightning: error: {why}\n")
    code, out, err = run(*tiny_arguments, "hydra.run.dir=sweep", "seed=0")
    why = "hydra.run.dir=sweep: holds a sweep; choose another directory, or that of one of its runs"
    assert (code, out, err) == (2, "", f"mnist-lightning: error: {why}\n")
    assert {p: p.read_bytes() for p in Path().rglob("*") if p.is_file() and p.name != ".lock"} == before


def test_a_lock_file_that_is_another_program_s_locks_and_stays(run: Run, tiny_arguments: list[str]) -> None:
    Path("here").mkdir()
    Path("here/.lock").write_bytes(b"mine \xff\n")
    assert run(*tiny_arguments, "hydra.run.dir=here")[0] == 0
    assert Path("here/.lock").read_bytes() == b"mine \xff\n"


@pytest.mark.parametrize(
    ("link", "arguments"),
    [
        ("multirun.yaml", ["-m", "hydra.sweep.dir=here"]),
        (".hydra/config.yaml", ["hydra.run.dir=here"]),
        (".hydra", ["hydra.run.dir=here"]),
        ("results.xlsx", ["hydra.run.dir=here"]),
        ("result.json.tmp", ["hydra.run.dir=here"]),
        (".lock", ["hydra.run.dir=here"]),
    ],
)
def test_nothing_is_written_through_a_link_of_the_users(
    link: str, arguments: list[str], run: Run, tiny_arguments: list[str]
) -> None:
    target = Path("precious/file.yaml")
    target.parent.mkdir()
    target.write_text("mine: 1\n")
    place = Path("here") / link
    place.parent.mkdir(parents=True)
    place.symlink_to(target.parent.absolute() if link == ".hydra" else target.absolute())
    code, _, err = run(*tiny_arguments, *arguments)
    if "hydra" in link or "multirun" in link:
        why = f"here/{link}: a link, and Hydra would write through it; move it away, or choose another directory"
        assert (code, err) == (5, f"mnist-lightning: error: {why}\n")
    else:
        assert (code, err) == (0, "")
    assert [path.name for path in target.parent.iterdir()] == ["file.yaml"]
    assert target.read_text() == "mine: 1\n"


def test_a_command_of_ours_is_known_by_its_configuration_whatever_its_job_is_called(
    run: Run, tiny_arguments: list[str]
) -> None:
    for arguments in (["-m", "hydra.sweep.dir=sweep"], ["hydra.run.dir=run"]):
        for _ in range(2):
            code, out, _ = run(*tiny_arguments, *arguments, "hydra.job.name=mine", "retrain=false")
            assert (code, "of ours" in out) == (0, False)
    assert not list(Path().glob("*/quarantine"))
