"""Launchers that cannot launch, attempts, and how Slurm's jobs are recognized. With real ones: test_clusters.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import ConfigError, RefusedError
from mnist_lightning.records.results import load_results
from mnist_lightning.sweep import attempts
from mnist_lightning.sweep.launcher import PersistentLauncher
from mnist_lightning.sweep.slurm import LEDGER, InQueue, SlurmQueue, Submission
from mnist_lightning.sweep.submitted import LostJobsError, SubmittedJobs

Run = Callable[..., tuple[int, str, str]]
REFUSED = {
    "n_jobs=0": (
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"],
        "hydra.launcher.n_jobs=0: no number of processes; use 1 or more, or -1 for one per core",
    ),
    "n_jobs=abc": (
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=abc"],
        "hydra.launcher.n_jobs=abc: no number of processes; use 1 or more, or -1 for one per core",
    ),
    "max_batch_size=0": (
        ["hydra.sweeper.max_batch_size=0"],
        "hydra.sweeper.max_batch_size=0: no number of runs; use 1 or more",
    ),
    "max_batch_size=abc": (
        ["hydra.sweeper.max_batch_size=abc"],
        "hydra.sweeper.max_batch_size=abc: no number of runs; use 1 or more",
    ),
    "no Slurm": (
        ["hydra/launcher=submitit_slurm"],
        "hydra/launcher=submitit_slurm: no srun, sbatch, squeue, scancel here; run it on a machine of the cluster, or "
        "use hydra/launcher=submitit_local",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_launcher_that_cannot_launch_is_refused_in_one_line_before_anything_is_made(
    name: str, run: Run, tiny_arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = {"n": "hydra_plugins.hydra_joblib_launcher", "no Slurm": "hydra_plugins.hydra_submitit_launcher"}
    pytest.importorskip(plugin.get(name, plugin["n"]), reason="the plugin of hydra/launcher=...")
    arguments, line = REFUSED[name]
    monkeypatch.setenv("PATH", "/nowhere")
    code, out, err = run("-m", *tiny_arguments, "seed=0,1", "hydra.sweep.dir=here", *arguments)
    assert (code, out, err) == (2, "", f"mnist-lightning: error: {line}\n")
    assert not (tmp_path / "here").exists()


def test_what_a_launchers_plugin_says_of_its_settings_is_quoted_in_one_line(
    run: Run, tiny_arguments: list[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="hydra/launcher=joblib")
    joblib = ["hydra/launcher=joblib", "hydra.launcher.pre_dispatch=junk"]
    code, out, err = run("-m", *tiny_arguments, "seed=0,1", "hydra.sweep.dir=here", *joblib)
    assert (code, out.splitlines()[-1]) == (2, "0 of 2 done (2 missing): here")
    assert err.startswith("mnist-lightning: error: hydra/launcher=joblib: ValueError: 'junk' is not a valid ")
    assert err.endswith("; see the settings hydra.launcher.*\n")
    assert err.count("\n") == 1


def test_a_grid_in_batches_is_planned_and_said_once_and_every_run_is_done(run: Run, tiny_arguments: list[str]) -> None:
    batches = ["seed=0,1,0", "hydra.sweeper.max_batch_size=1", "hydra.sweep.dir=here"]
    code, out, err = run("-m", *tiny_arguments, *batches)
    assert (code, err, out.splitlines()[-1]) == (0, "", "2 of 2 done: here"), out
    assert out.count("1 of 3 runs are repetitions and will run once\n") == 1
    assert {result.seed for result in load_results("here")} == {0, 1}


def test_on_a_machine_of_a_slurm_cluster_a_run_is_what_it_is_elsewhere(
    run: Run, tiny_arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning would warn that `srun` is not used, and in a job of four tasks ask for four devices."""
    (tmp_path / "srun").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    code, out, err = run(*tiny_arguments, "hydra.run.dir=here")
    assert (code, err) == (0, ""), out
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "batch")
    code, out, err = run(*tiny_arguments, "hydra.run.dir=in_a_job", "seed=1")
    assert (code, err) == (0, ""), out


def test_a_job_that_the_scheduler_starts_again_under_its_number_is_the_same_attempt(tmp_path: Path) -> None:
    counts = []
    for number in ["12_3", "12_3", "15", "", "", "15", "12_3"]:
        attempts.begin(tmp_path, number)
        counts.append(attempts.attempts(tmp_path))
    assert counts == [1, 1, 2, 3, 4, 5, 6]


def test_attempts_that_version_0_1_0_has_noted_count(tmp_path: Path) -> None:
    (tmp_path / ".attempts").write_text("2\n")
    assert attempts.attempts(tmp_path) == 2
    for _ in range(2):  # noted before, or not
        attempts.end(tmp_path)
        assert attempts.attempts(tmp_path) == 0


class Scripted(Launcher):
    """A plugin whose launches end with these errors, one after the other."""

    def __init__(self, *deaths: Exception) -> None:
        self.deaths = list(deaths)

    def setup(self, **context: object) -> None: ...

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        raise self.deaths.pop(0)


def scripted(tiny: Callable[..., RunConfig], root: Path, *deaths: Callable[[str], Exception]) -> PersistentLauncher:
    """A launcher of one run, which was begun once already; `deaths` get the run's name."""
    config = tiny()
    (root / config.run_name).mkdir()
    (root / config.run_name / ".attempts").write_text("1\n")
    loader = SimpleNamespace(configuration=lambda *job: config)
    plugin = Scripted(*(death(config.run_name) for death in deaths))
    launcher = PersistentLauncher(plugin, loader, "scripted", str(root))  # pyright: ignore[reportArgumentType]
    launcher.compose(["seed=0"])
    return launcher


def lost(state: str) -> Callable[[str], Exception]:
    return lambda run: LostJobsError("submitit_slurm", "logs", {run: state}, {run})


def test_a_job_that_is_cancelled_while_it_is_tried_again_is_not_submitted_for_ever(
    tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    launcher = scripted(tiny, tmp_path, lost("NODE_FAIL"), lost("CANCELLED"))
    assert launcher.launch([["seed=0"]], 0) == []
    assert load_results(tmp_path) == []


def test_a_launcher_that_begins_nothing_when_a_run_is_tried_again_ends_the_command(
    tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    def broken(run: str) -> Exception:
        return RuntimeError("the pool is broken")

    with pytest.raises(RuntimeError, match="the pool is broken"):
        scripted(tiny, tmp_path, broken, broken).launch([["seed=0"]], 0)


def test_a_run_that_dies_too_often_is_recorded_with_its_last_jobs_state(
    tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    launcher = scripted(tiny, tmp_path, lost("TIMEOUT"), lost("TIMEOUT"))
    noted = tmp_path / tiny().run_name / ".attempts"
    launch = launcher.inner.launch

    def begin_and_die(job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        noted.write_text(f"{int(noted.read_text()) + 1}\n")
        return launch(job_overrides, initial_job_idx)

    noted.write_text("0\n")
    launcher.inner.launch = begin_and_die
    launcher.launch([["seed=0"]], 0)
    assert [r.error for r in load_results(tmp_path)] == [
        "RuntimeError: its worker died 2 times (its last job: TIMEOUT)"
    ]


SUBMISSION = Submission("token-1", ["a", "b", "c"], "12")


@pytest.mark.parametrize(
    ("queued", "run"),
    [
        (InQueue("12_0", "RUNNING", ""), "a"),
        (InQueue("12_2", "PENDING", ""), "c"),
        (InQueue("12_3", "PENDING", ""), None),
        (InQueue("13_0", "PENDING", ""), None),
        (InQueue("13_1", "PENDING", "thesis token-1"), "b"),  # the command was killed before it knew the number
        (InQueue("14", "PENDING", "token-1"), "a"),
        (InQueue("14", "PENDING", "token-2"), None),
    ],
)
def test_a_job_belongs_to_the_run_at_its_place_in_the_submission(queued: InQueue, run: str | None) -> None:
    assert SUBMISSION.run_of(queued) == run


def slurm_commands(directory: Path, monkeypatch: pytest.MonkeyPatch, squeue: str) -> SlurmQueue:
    """The queue of a sweep in `directory` on a cluster whose `squeue` is this script; `scancel` notes its arguments."""
    for name, script in (("squeue", squeue), ("scancel", f"echo $@ >> {directory}/cancelled")):
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    (directory / LEDGER).write_text(json.dumps([vars(SUBMISSION), vars(Submission("token-2", ["d"], "15", True))]))
    return SlurmQueue(directory)


def test_what_is_in_the_queue_is_adopted_and_what_this_command_has_ended_is_ended_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm takes half a minute to end a job, and its command may have been killed on the way."""
    rows = "printf '12_0|COMPLETED|token-1\\n12_1|RUNNING|token-1\\n12_2|PENDING|token-1\\n15|COMPLETING|token-2\\n'"
    queue = slurm_commands(tmp_path, monkeypatch, rows)
    assert queue.adopted(["a", "b", "d"]) == {"b": "12_1"}
    assert (tmp_path / "cancelled").read_text() == "15\n"
    assert [entry["token"] for entry in json.loads((tmp_path / LEDGER).read_text())] == ["token-1", "token-2"]


def test_jobs_that_are_not_in_the_queue_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = slurm_commands(tmp_path, monkeypatch, "true")
    assert queue.adopted(["a", "b", "d"]) == {}
    assert json.loads((tmp_path / LEDGER).read_text()) == []


def test_nothing_is_submitted_while_the_queue_of_an_earlier_command_cannot_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = slurm_commands(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(ConfigError, match="hydra/launcher=submitit_slurm: squeue does not answer; repeat the command"):
        queue.adopted(["a"])


def test_while_slurm_does_not_answer_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = slurm_commands(tmp_path, monkeypatch, "exit 1")
    assert [queue.states(), queue.states()] == [None, None]
    assert capsys.readouterr().out == "squeue does not answer; waiting\n"


def test_a_damaged_list_of_jobs_is_refused_with_the_way_to_the_queue(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text('[{"token": 1}]')
    with pytest.raises(
        RefusedError, match=r"\.jobs\.json: no list of jobs .*; see `squeue --me` for jobs of this sweep"
    ):
        SlurmQueue(tmp_path).adopted(["a"])


def test_where_scancel_does_not_answer_the_jobs_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = slurm_commands(tmp_path, monkeypatch, "printf '12_1|RUNNING|token-1\\n'")
    (tmp_path / "scancel").write_text("#!/bin/sh\nexit 1\n")
    queue.leave(KeyboardInterrupt())
    said = capsys.readouterr().out.splitlines()
    assert said == ["ending 1 job: scancel 12", "scancel does not answer; end these jobs yourself: scancel 12_1"]


class Told:
    """A queue that tells these states of its one job, `7`, one after the other, the last one for ever."""

    at_once, gone, slowest, grace = None, "gone", 0.01, 0.0

    def __init__(self, *states: str | None) -> None:
        self.left = list(states)

    def states(self) -> dict[str, str] | None:
        state = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return None if state is None else {"7": state} if state else {}


@pytest.mark.parametrize(
    ("states", "lost"),
    [
        (["PENDING", "RUNNING", "CANCELLED"], "CANCELLED"),
        (["RUNNING", "FAILED"], "FAILED"),
        (["RUNNING", ""], "gone"),
        (["PREEMPTED", "PENDING", "RUNNING", "TIMEOUT"], "TIMEOUT"),
        (["FAILED", None, None, "FAILED"], "FAILED"),
    ],
)
def test_a_job_is_lost_when_its_end_was_seen_twice_or_it_was_cancelled(
    states: list[str | None], lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is queued again in between is not, nor one of which nothing is known because Slurm does not answer."""
    jobs = SubmittedJobs(Scripted(), "submitit_slurm", str, tmp_path)
    queue = Told(*states)
    monkeypatch.setattr(jobs, "queue", queue)
    monkeypatch.setattr("mnist_lightning.sweep.submitted._FIRST", 0.01)
    found: dict[str, str] = {}
    jobs._wait({"run": "7"}, found, started := set())
    assert found == {"run": lost}
    assert queue.left == states[-1:], "did not wait until the end"
    assert started == ({"run"} if "RUNNING" in states else set())
