"""The exit code and the last lines of a command, whatever became of its work: without Hydra, and without a training."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from mnist_lightning.command import cli
from mnist_lightning.config import RunConfig
from mnist_lightning.errors import ConfigError, DataError, OutputError, PassedOn
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.sweep import sweep as sweeps
from mnist_lightning.sweep.sweep import Sweep

Command = Callable[..., tuple[int, str, str]]
TWO = {"ab": {"run_name": "a"}, "cd": {"run_name": "b"}}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`command(work, "lr=1")`: the command in a directory of its own, with `work` in place of what Hydra would run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def call(work: Callable[[], int | None], *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(cli, "_run", lambda _: work() or 0)
        code = cli.main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def raises(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """The directories for which tables were made."""
    made: list[Path | None] = []
    monkeypatch.setattr(Sweep, "collect", lambda sweep: made.append(sweep.directory))
    return made


def sweep_of(*recorded: str, then: Callable[[], int] = lambda: 0, collected: bool = True) -> Callable[[], int]:
    """The work of a sweep of two runs in `here`, which leaves the records of these fingerprints and ends so."""

    def work() -> int:
        sweep = sweeps.current()
        assert sweep is not None
        sweep.directory, sweep.planned, sweep.began, sweep.collected = Path.cwd() / "here", TWO, True, collected
        sweep.directory.mkdir(exist_ok=True)
        for fingerprint in recorded:
            name = TWO[fingerprint]["run_name"]
            save(RunResult(run_name=name, fingerprint=fingerprint, status="completed"), sweep.directory / name)
        return then()

    return work


def test_the_code_of_hydras_own_end_is_the_commands(command: Command) -> None:
    assert [command(lambda code=code: code) for code in (0, 2)] == [(0, "", ""), (2, "", "")]


def test_help_and_versions_are_told_and_nothing_is_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_job", raises(ZeroDivisionError()))
    for argument, told in [("--help", "trainer.max_epochs"), ("-h", "trainer.max_epochs"), ("--version", "torch")]:
        assert cli.main([argument, "lr=1"]) == 0
        assert told in capsys.readouterr().out


def test_without_arguments_given_those_of_the_program_are_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["--help", "--version"])
    assert cli.main() == 0
    assert "trainer.max_epochs" not in capsys.readouterr().out
    monkeypatch.setattr(cli, "_job", lambda: None)
    assert cli.main([]) == 0


def composed(*arguments: str) -> int:
    return cli.main([*arguments, "--cfg", "all"])


def test_hydra_composes_a_dotted_optimizer_our_sweeper_and_directories_and_is_forgotten_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert composed("optimizer=torch.optim.Adagrad", "lr=0.5") == 0
        told = capfd.readouterr().out
        assert "name: torch.optim.Adagrad" in told
        assert "GridSweeper" in told
        assert not GlobalHydra.instance().is_initialized()
    assert composed("loss=torch.nn.Nope") == 0
    assert composed("lr=fast") == 2
    assert "lr=fast: not a number" in capfd.readouterr().err


@pytest.mark.parametrize(("given", "code"), [(None, 0), (0, 0), (2, 2), ("words", 0)])
def test_where_hydra_leaves_the_program_its_code_is_kept_if_it_is_one(
    given: int | str | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_job", raises(SystemExit(given)))
    assert cli.main([]) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("x=1: wrong; do y"), 2), (DataError("x=1: wrong; do y"), 4), (OutputError("x=1: wrong; do y"), 5)],
)
def test_an_error_is_one_line_with_its_code_and_v_shows_where_it_arose(
    error: Exception, code: int, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "mnist-lightning: error: x=1: wrong; do y\n"
    assert command(raises(error)) == (code, "", line)
    for arguments, environment in [(["-v"], "0"), ([], "1")]:
        monkeypatch.setenv("HYDRA_FULL_ERROR", environment)
        told = command(raises(error), *arguments)
        assert told[:2] == (code, "")
        assert told[2].startswith("Traceback (most recent call last):\n")
        assert told[2].endswith(f"x=1: wrong; do y\n{line}")


def test_an_argument_that_hydra_would_misunderstand_is_refused_before_anything_runs(command: Command) -> None:
    told = command(raises(ZeroDivisionError()), "~lr")
    assert told == (2, "", "mnist-lightning: error: ~lr: a key cannot be removed; give it a value\n")


def test_a_bug_is_1_and_an_error_of_pythons_is_bad_input_only_until_a_sweep_began(command: Command) -> None:
    assert command(raises(ZeroDivisionError("x")))[0] == 1
    assert command(raises(ValueError("x")), "lr=[1")[0] == 2
    assert command(sweep_of("ab", "cd", then=raises(ValueError("x"))), "lr=[1")[0] == 1


def test_a_sweep_is_0_when_all_is_done_3_when_not_and_an_error_has_its_own_code(command: Command) -> None:
    assert command(sweep_of("ab")) == (3, "1 of 2 done (1 missing): here\n", "")
    error = "mnist-lightning: error: data: gone; restore it\n"
    broken = sweep_of("ab", then=raises(DataError("data: gone; restore it")))
    assert command(broken) == (4, "1 of 2 done (1 missing): here\n", error)
    assert command(sweep_of("ab", "cd")) == (0, "2 of 2 done: here\n", "")


def test_a_directory_without_a_run_is_not_told_of(command: Command, collected: list[Path | None]) -> None:
    def work() -> int:
        sweep = sweeps.current()
        assert sweep is not None
        sweep.directory = Path.cwd()
        return 0

    assert (command(work), collected) == ((0, "", ""), [])


def test_tables_that_are_still_missing_are_made_once_and_those_of_no_sweep_are_not(
    command: Command, collected: list[Path | None], tmp_path: Path
) -> None:
    assert command(lambda: 0)[0] == 0
    assert command(sweep_of("ab", "cd"))[0] == 0
    assert collected == []
    assert command(sweep_of("ab", "cd", collected=False))[0] == 0
    assert collected == [tmp_path / "here"]


def test_tables_that_cannot_be_made_are_an_error_after_what_is_done_is_said(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sweep, "collect", lambda _: raises(OutputError("results.xlsx: full; free the disk"))())
    line = "mnist-lightning: error: results.xlsx: full; free the disk\n"
    assert command(sweep_of("ab", collected=False)) == (5, "1 of 2 done (1 missing): here\n", line)
    code, _, err = command(sweep_of("ab", collected=False), "-v")
    assert (code, err.startswith("Traceback"), err.endswith(line)) == (5, True, True)


def sends(number: int) -> Callable[[], int]:
    def work() -> int:
        os.kill(os.getpid(), number)
        time.sleep(20)
        raise AssertionError("the signal did not come")

    return work


@pytest.mark.parametrize(("number", "code", "word"), [(2, 130, "interrupted"), (15, 143, "terminated")])
def test_a_signal_has_its_code_its_word_and_the_way_to_go_on_if_there_is_anything_left(
    number: int, code: int, word: str, command: Command
) -> None:
    assert command(sends(number), "-v") == (code, "", f"mnist-lightning: error: {word}\n")
    resume = "; resume: python -m mnist_lightning -m lr=1,2 hydra.sweep.dir=here"
    told = f"{word}: 1 of 2 done (1 missing): here{resume}\n"
    assert command(sweep_of("ab", then=sends(number)), "-m", "lr=1,2") == (code, "", told)
    assert command(sweep_of("ab", "cd", then=sends(number)), "-m", "lr=1,2") == (
        code,
        "",
        f"{word}: 2 of 2 done: here\n",
    )


def test_a_signal_counts_whatever_a_library_makes_of_it_and_a_second_one_ends_the_tables_too(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden(number: int, by: Exception | None) -> Callable[..., int]:
        def work(*_: object) -> int:
            try:
                sends(number)()
            except BaseException:
                if by is not None:
                    raise by from None
            return 0

        return work

    for by in (None, ValueError("affine")):
        told = command(sweep_of("ab", then=hidden(signal.SIGTERM, by)))
        assert (told[0], told[2].partition(":")[0]) == (143, "terminated")
    monkeypatch.setattr(Sweep, "collect", hidden(signal.SIGINT, ValueError("affine")))
    code, _, err = command(sweep_of("ab", then=hidden(signal.SIGTERM, None), collected=False), "-v")
    assert (code, err.startswith("interrupted: the tables may be those of before; resume: ")) == (130, True)


def test_the_refusal_of_a_run_reaches_the_command_through_hydra_with_its_code(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(composed: object) -> float:
        raise ConfigError("lr=1: wrong; do y")

    monkeypatch.setattr("mnist_lightning.sweep.job.run_job", refuse)
    with pytest.raises(PassedOn):  # which Hydra does not print
        cli._job.__wrapped__(None)  # pyright: ignore - as Hydra calls it
    code, _, err = command(lambda: cli._job.__wrapped__(None))  # pyright: ignore - as Hydra calls it
    assert (code, err) == (2, "mnist-lightning: error: lr=1: wrong; do y\n")


def test_a_run_is_named_as_its_configuration_says_and_an_experiment_has_its_own_directory() -> None:
    from omegaconf import OmegaConf

    assert cli._sweep_directory("smoke") == "outputs/smoke"
    assert cli._sweep_directory(None) != cli._sweep_directory("")
    composed = OmegaConf.create({"lr": 0.5, "hydra": {"x": 1}})
    assert cli._run_name(_root_=composed) == replace(RunConfig(), lr=0.5).run_name
