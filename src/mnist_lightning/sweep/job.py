"""One job of Hydra's: it trains a configuration and commits its record, also when it fails."""

from __future__ import annotations

import gc
import math
import shutil
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mnist_lightning.config import RunConfig, parse
from mnist_lightning.errors import OutputError, UserError
from mnist_lightning.records import locks
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.plan import read_plan
from mnist_lightning.records.reading import read_regular
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.sweep.plan import stored_result
from mnist_lightning.sweep.progress import count_records, line
from mnist_lightning.sweep.sweep import ATTEMPTS, Sweep, current, holds_only, is_final, refuse_other_directory

TRACEBACK = "error.txt"


def run_job(composed: DictConfig) -> float:
    """Trains one job of Hydra's and commits its record, also when it fails; the test accuracy, or 0.

    In a sweep whatever a run raises becomes a record with the status `failed`, and the others go on, as in the
    study; a single run passes errors of the user's on.
    """
    hydra = HydraConfig.get()
    in_sweep = not OmegaConf.is_missing(hydra.job, "num")
    config, run_dir = parse(composed), Path(hydra.runtime.output_dir)
    if sweep := current():
        sweep.began = True
    if in_sweep:
        refuse_other_directory(hydra.overrides.hydra, in_sweep=True)
    result = _run_in_sweep(config, run_dir) if in_sweep else _run_alone(config, run_dir)
    if in_sweep and sweep and sweep.progress:
        sweep.progress.done += 1
    print(line(result, run_dir.parent if in_sweep else None, sweep and sweep.progress), flush=True)
    return result.accuracy_test if math.isfinite(result.accuracy_test) else 0.0  # Optuna ends a search for a NaN


def _run_in_sweep(config: RunConfig, run_dir: Path) -> RunResult:
    from mnist_lightning.training.run import train, train_checked
    from mnist_lightning.training.runtime import freeze_imports

    freeze_imports()
    if config.trainer.enable_progress_bar is None:
        config.trainer.enable_progress_bar = False  # a grid has a line per run
    with locks.waiting(run_dir / locks.LOCK):  # a job that was given out twice waits here, and finds the record
        stored = stored_result(run_dir)
        if stored is not None and is_final(stored, config):
            return stored
        _note_attempt(run_dir)
        train_it = train_checked if _is_planned(config, run_dir.parent) else train
        return _recorded(partial(train_it, config, run_dir, continue_interrupted=stored is None), OutputError)


def _is_planned(config: RunConfig, sweep_dir: Path) -> bool:
    """Whether the configuration was checked with a plan; Optuna plans none."""
    planned = sweep.planned if (sweep := current()) else read_plan(sweep_dir).get("runs", {})
    return config.fingerprint in planned


def _run_alone(config: RunConfig, run_dir: Path) -> RunResult:
    sweep = current() or Sweep()
    sweep.enter(run_dir)
    from mnist_lightning.data.datasets import forget_data
    from mnist_lightning.training.run import train

    forget_data()
    try:
        refuse_other_directory(HydraConfig.get().overrides.hydra, in_sweep=False)
        return _recorded(partial(train, config, run_dir), UserError)
    except UserError:
        _remove_unused(run_dir, config)
        raise


def _recorded(train: partial[RunResult], passed_on: type[UserError]) -> RunResult:
    """Trains; what is raised becomes the record of a failed run, except signals and errors that are `passed_on`."""
    config, run_dir = train.args
    try:
        result = train()
    except (Exception, SystemExit) as error:
        if isinstance(error, passed_on) or _was_signalled(error):
            raise
        return _record_failure(config, run_dir, error)
    (run_dir / TRACEBACK).unlink(missing_ok=True)
    return result


def _remove_unused(run_dir: Path, config: RunConfig) -> None:
    """Removes the directory of a refused run, in which there is only what Hydra and the lock have put there."""
    with suppress(OSError):
        if holds_only(run_dir, ".hydra"):
            shutil.rmtree(run_dir)
            if run_dir.name == config.run_name:  # the default: in a fresh directory of its own
                run_dir.parent.rmdir()


def _was_signalled(error: BaseException) -> bool:
    """Whether Lightning has turned a signal into this SystemExit, as it does where the handlers are not ours."""
    return isinstance(error.__context__, KeyboardInterrupt) or type(error).__name__ == "SIGTERMException"


def _note_attempt(run_dir: Path) -> None:
    """Counts an attempt on the disk, before anything that could kill the process."""
    write_durably(run_dir / ATTEMPTS, f"{attempts(run_dir) + 1}\n".encode())


def attempts(run_dir: Path) -> int:
    """How often the run was begun by this sweep's command and has not ended."""
    try:
        return int(read_regular(run_dir / ATTEMPTS, 100))
    except (OSError, ValueError):
        return 0


def record_killed(config: RunConfig, run_dir: Path) -> None:
    """Records a run as failed that has killed its worker again and again."""
    died = f"its worker died {attempts(run_dir)} times (killed, often by the system for want of memory)"
    result = _record_failure(config, run_dir, RuntimeError(died))
    progress = sweep.progress if (sweep := current()) else None
    if progress:
        progress.done = count_records(run_dir.parent)  # the others were done by workers
    print(line(result, run_dir.parent, progress), flush=True)


def _record_failure(config: RunConfig, run_dir: Path, error: BaseException) -> RunResult:
    from mnist_lightning.training.record import failed_record

    text = "".join(traceback.format_exception(error))
    traceback.clear_frames(error.__traceback__)  # they hold the trainer, the network and its data
    gc.collect()
    write_durably(run_dir / TRACEBACK, text.encode())
    result = failed_record(config, error)
    save(result, run_dir)
    return result
