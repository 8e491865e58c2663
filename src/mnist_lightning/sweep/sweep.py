"""A sweep: its plan, what is stored already, one job, the collected table, the exit code from what is on disk."""

from __future__ import annotations

import atexit
import gc
import math
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from mnist_lightning.config import RunConfig, parse
from mnist_lightning.errors import EXIT_OK, EXIT_RUNS_MISSING, BusyError, ConfigError, OutputError, UserError
from mnist_lightning.records import locks
from mnist_lightning.records import results as records
from mnist_lightning.records.results import RECORD, RunResult
from mnist_lightning.sweep.plan import FINAL, check_space, commit_plan, read_plan, stored_result
from mnist_lightning.sweep.progress import Progress, count_records, left, line

TRACEBACK = "error.txt"
ATTEMPTS = ".attempts"

# What this process is doing, for `cli.main` to end it properly: Hydra calls no callback after an interrupt
directory: Path | None = None
progress: Progress | None = None
collected = False
planned: frozenset[str] = frozenset()  # fingerprints: the plan file may be gone when the sweep ends
began = False  # whether anything was planned or run; what is raised before is about the input


def without_hydra(composed: DictConfig) -> DictConfig:
    """A copy of what Hydra composed, without Hydra's own part."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def require_named_directories(config: DictConfig) -> None:
    """Raises ConfigError for a `hydra.sweep.subdir` of the user's: records are found by the name of their run."""
    subdir = OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"]  # pyright: ignore - a DictConfig gives a dictionary
    if subdir != "${mnist_lightning.run_name:}":
        raise ConfigError(
            f"hydra.sweep.subdir={subdir}: a run's directory is named after the run; set hydra.sweep.dir instead"
        )


def prepare(sweep_dir: str, batches: Sequence[Sequence[RunConfig]]) -> list[list[bool]]:
    """Refuse what cannot run, lock the directory, commit the plan; True for each run to be done, in batches' shape.

    False: its record is stored already, or the same configuration stands earlier in the plan.
    Raises ConfigError, DataError, OutputError or BusyError before anything is trained.
    """
    global progress, directory, began, planned
    configs = [config for batch in batches for config in batch]
    if not configs:
        raise ConfigError("sweep: has no runs (an empty range or choice); give each key at least one value")
    from mnist_lightning.training.record import versions  # imports torch: not for --help and --cfg
    from mnist_lightning.training.run import check

    root = Path(sweep_dir)
    directory = None  # until it is ours: another's sweep is not to be collected by us
    data = {config.data.name: check(config).sha256 for config in configs}
    try:
        locks.hold(root)
        commit_plan(root, configs, data, versions())
    except OSError as error:
        raise OutputError(f"hydra.sweep.dir={root}: {error.strerror or error}; choose another directory") from error
    directory, began, planned = root, True, frozenset(config.fingerprint for config in configs)
    records.remove_orphans(root)
    seen: set[str] = set()
    todo = [[_is_to_do(config, root, seen) for config in batch] for batch in batches]
    wanted = [
        c for batch, flags in zip(batches, todo, strict=True) for c, flag in zip(batch, flags, strict=True) if flag
    ]
    check_space(root, [c for c in wanted if c.trainer.enable_checkpointing is not False])
    for config in wanted:
        (root / config.run_name / ATTEMPTS).unlink(missing_ok=True)
    stored = len(seen) - len(wanted)
    progress = Progress(len(seen), stored, stored, time.monotonic())
    if len(seen) < len(configs):
        print(f"{len(configs) - len(seen)} of {len(configs)} runs are repetitions and will run once")
    if progress.stored_at_start:
        print(f"resuming: {progress.stored_at_start} of {len(seen)} done")
    return todo


def remove_refused(root: Path) -> None:
    """Remove the directory of a refused sweep if there is nothing of use in it, and nobody is at work there."""
    with suppress(OSError, BusyError):
        if _holds_only(root, "multirun.yaml"):
            locks.hold(root)
            if _holds_only(root, "multirun.yaml"):
                shutil.rmtree(root)


def _holds_only(directory: Path, of_hydra: str) -> bool:
    return {path.name for path in directory.iterdir()} <= {of_hydra, locks.LOCK}


def _is_to_do(config: RunConfig, root: Path, seen: set[str]) -> bool:
    if config.fingerprint in seen:
        return False
    seen.add(config.fingerprint)
    stored = stored_result(root / config.run_name)
    return stored is None or stored.status not in FINAL or stored.fingerprint != config.fingerprint


def run_job(composed: DictConfig) -> float:
    """One job of Hydra's: train it and commit its record, also when it fails. Returns the test accuracy, or 0.

    In a sweep whatever a run raises becomes a record with the status `failed`, and the others go on, as in the
    report; a single run passes errors of the user's on.
    """
    global began
    began = True
    hydra = HydraConfig.get()
    in_sweep = not OmegaConf.is_missing(hydra.job, "num")
    _freeze_imports()
    config = parse(composed)
    run_dir = Path(hydra.runtime.output_dir)
    result = _run_in_sweep(config, run_dir) if in_sweep else _run_alone(config, run_dir)
    if progress:
        progress.done += 1
    print(line(result, run_dir.parent if in_sweep else None, progress), flush=True)
    return result.accuracy_test if math.isfinite(result.accuracy_test) else 0.0  # Optuna ends a search for a NaN


@cache
def _freeze_imports() -> None:
    """Take everything that is imported out of the garbage collector's sight: it looks at 460,000 objects a run."""
    from mnist_lightning.training import run as training  # noqa: F401 - so that torch and Lightning are among it

    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # or extensions report all of it as leaked


def _run_in_sweep(config: RunConfig, run_dir: Path) -> RunResult:
    if config.trainer.enable_progress_bar is None:
        config.trainer.enable_progress_bar = False  # a grid has a line per run
    with locks.waiting(run_dir / locks.LOCK):  # a job that was given out twice waits here, and finds the record
        stored = stored_result(run_dir)
        if stored is not None and stored.status in FINAL and stored.fingerprint == config.fingerprint:
            return stored
        return _train(config, run_dir, in_sweep=True, was_interrupted=stored is None)


def _run_alone(config: RunConfig, run_dir: Path) -> RunResult:
    locks.hold(run_dir)
    _begin(run_dir)
    try:
        if ignored := [o for o in HydraConfig.get().overrides.hydra if o.startswith("hydra.sweep.dir=")]:
            raise ConfigError(f"{ignored[0]}: is for sweeps (-m); a single run's directory is hydra.run.dir")
        return _train(config, run_dir, in_sweep=False, was_interrupted=False)
    except UserError:
        _remove_unused(run_dir, config)
        raise


def _remove_unused(run_dir: Path, config: RunConfig) -> None:
    """Remove the directory of a refused run, in which there is only what Hydra and the lock have put there."""
    with suppress(OSError):
        if _holds_only(run_dir, ".hydra"):
            shutil.rmtree(run_dir)
            if run_dir.name == config.run_name:  # the default: in a fresh directory of its own
                run_dir.parent.rmdir()


def _train(config: RunConfig, run_dir: Path, in_sweep: bool, was_interrupted: bool) -> RunResult:
    from mnist_lightning.training.run import train

    try:
        if in_sweep:
            _note_attempt(run_dir)
        result = train(config, run_dir, continue_interrupted=in_sweep and was_interrupted)
        (run_dir / TRACEBACK).unlink(missing_ok=True)
        return result
    except (Exception, SystemExit) as error:
        if isinstance(error, OutputError) or (isinstance(error, UserError) and not in_sweep) or _was_signalled(error):
            raise
        return _record_failure(config, run_dir, error)


def train_together(configs: Sequence[RunConfig], sweep_dir: str) -> Iterator[list[int]]:
    """Train groups of these runs as stacked networks; yields the indices of each group once its records are stored.

    What cannot be fused, or what a group has failed at, is yielded without a record: to be trained alone.
    """
    from mnist_lightning.fused import train_groups

    def say(text: str) -> None:
        print("  ".join([text, *left(progress)]), flush=True)

    paths = [Path(sweep_dir) / config.run_name for config in configs]
    for group in train_groups(configs, paths, continue_interrupted=True, say=say):
        yield group.indices


def _was_signalled(error: BaseException) -> bool:
    """Whether Lightning has turned a signal into this SystemExit, as it does where the handlers are not ours."""
    return isinstance(error.__context__, KeyboardInterrupt) or type(error).__name__ == "SIGTERMException"


def _note_attempt(run_dir: Path) -> None:
    """Before anything that could kill the process: how often this run was begun."""
    records.write_durably(run_dir / ATTEMPTS, f"{attempts(run_dir) + 1}\n".encode())


def attempts(run_dir: Path) -> int:
    """How often the run was begun by this sweep's command and has not ended."""
    try:
        return int((run_dir / ATTEMPTS).read_text())
    except (OSError, ValueError):
        return 0


def record_killed(composed: DictConfig, run_dir: Path) -> None:
    """The record of a run that has killed its worker again and again."""
    config = parse(composed)
    died = f"its worker died {attempts(run_dir)} times (killed, often by the system for want of memory)"
    result = _record_failure(config, run_dir, RuntimeError(died))
    if progress:
        progress.done = count_records(run_dir.parent)  # the others were done by workers
    print(line(result, run_dir.parent, progress), flush=True)


def _record_failure(config: RunConfig, run_dir: Path, error: BaseException) -> RunResult:
    from mnist_lightning.training.record import failed_record

    text = "".join(traceback.format_exception(error))
    traceback.clear_frames(error.__traceback__)  # they hold the trainer, the network and its data
    gc.collect()
    records.write_durably(run_dir / TRACEBACK, text.encode())
    result = failed_record(config, error)
    records.save(result, run_dir)
    return result


class CollectResults(Callback):
    """Collects all records of the sweep, or of the run, into workbook, tables, figures and page when it has ended.

    Hydra turns what a callback raises into a warning and calls none after an interrupt, so `cli.main` collects
    what this has not; any other Hydra program that uses this configuration gets its workbook from here.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _begin(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        collect(Path(config.hydra.sweep.dir))

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        if directory is not None:
            collect(directory)


def _begin(where: Path) -> None:
    global directory, progress, collected
    directory, progress, collected = where, None, False


def collect(where: Path) -> None:
    """Rebuild a sweep's tables, figures and page, or a run's tables, from the records. No record: nothing."""
    global collected
    from mnist_lightning import report
    from mnist_lightning.report.terminal import closing

    found = records.load_results(where) if where.is_dir() else []
    if found:
        write = report.write_tables if (where / RECORD).is_file() else report.write_report
        print(closing(found, write(found, where)))
    collected = True


def _shown(where: Path) -> Path:
    return where.relative_to(Path.cwd()) if where.is_relative_to(Path.cwd()) else where


def is_one(where: Path) -> bool:
    """Whether something was planned here by this process, or there is a plan or a record."""
    return bool(planned or (where.is_dir() and (read_plan(where) or records.load_results(where))))


def outcome(where: Path) -> tuple[int, str]:
    """The exit code and the last line, from what is on disk beside what was planned: all that is there counts, too."""
    found = records.load_results(where) if where.is_dir() else []
    completed = {r.fingerprint for r in found if r.status == "completed"}
    wanted = planned | set(read_plan(where).get("runs", {})) | {r.fingerprint for r in found}
    counts = [f"{sum(r.status == s for r in found)} {s}" for s in ("failed", "diverged")]
    wrong = ", ".join(c for c in counts if not c.startswith("0 "))
    missing = len(wanted - {r.fingerprint for r in found})
    wrong = ", ".join(w for w in (wrong, f"{missing} missing" if missing else "") if w)
    everything = bool(wanted) and wanted <= completed
    line = f"{len(wanted & completed)} of {len(wanted)} done" + (f" ({wrong})" if wrong else "") + f": {_shown(where)}"
    return (EXIT_OK if everything else EXIT_RUNS_MISSING), line
