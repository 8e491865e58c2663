"""One job of Hydra's: it trains a configuration and commits its record, also when it fails."""

from __future__ import annotations

import gc
import math
import os
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mnist_lightning.config import RunConfig, parse
from mnist_lightning.config.labels import label_of
from mnist_lightning.data.files import look, read_files
from mnist_lightning.errors import ConfigError, OutputError, RetrainingError, UnreadableError, UserError, chain_of
from mnist_lightning.progress.screen import folded, meanwhile
from mnist_lightning.records import locks
from mnist_lightning.records.durable import remove_orphans, write_durably
from mnist_lightning.records.plan import read_plan
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.records.run_directory import TRACEBACK, finished_result, place_of, places_of, stored_result
from mnist_lightning.sweep import slurm
from mnist_lightning.sweep.announcement import announcement
from mnist_lightning.sweep.attempts import attempts, begin, end
from mnist_lightning.sweep.progress import Progress, line, of_worker
from mnist_lightning.sweep.pruning import judge_of
from mnist_lightning.sweep.sweep import Sweep, current, is_final, refuse_other_directory, refuse_retraining, shown


def run_job(composed: DictConfig) -> float:
    """Trains one job of Hydra's and commits its record, also when it fails; the test accuracy, or 0.

    In a sweep whatever a run raises becomes a record with the status `failed`, and the others go on, as in the
    study; a single run passes errors of the user's on.
    """
    hydra = HydraConfig.get()
    in_sweep = not OmegaConf.is_missing(hydra.job, "num")
    config, run_dir = parse(composed), Path(hydra.runtime.output_dir)
    started_in = Path(hydra.runtime.cwd) if hydra.job.chdir else Path()  # where relative paths of the user's begin
    config.data.root = str(started_in / config.data.root)
    if sweep := current():
        sweep.began = True
    if in_sweep:
        refuse_other_directory(hydra.overrides.hydra, in_sweep=True)
        _freeze_imports()
    result = (run_in_sweep if in_sweep else _run_alone)(config, run_dir, started_in)
    tell(result, run_dir)
    return result.accuracy_test if math.isfinite(result.accuracy_test) else 0.0  # some sweepers end for a NaN


def _freeze_imports() -> None:
    from mnist_lightning.training.runtime import freeze_imports  # imports torch, which takes seconds

    freeze_imports()


def tell(result: RunResult, run_dir: Path) -> None:
    """Prints the line of a run that has its record, in the process that leads the sweep or where somebody keeps it."""
    if (sweep := current()) and sweep.progress:
        sweep.progress.finished(result, run_dir)
    elif "SUBMITIT_EXECUTOR" in os.environ:  # into its log; for other workers the command's process prints
        print(line(result, progress=of_worker(run_dir.parent)), flush=True)


def run_in_sweep(config: RunConfig, run_dir: Path, started_in: Path) -> RunResult:
    """Trains a run of a sweep and commits its record, also when it fails, or finds the one that is there.

    Relative paths of the user's begin at `started_in`. Raises OutputError or UnreadableError where nothing can be
    written or read; signals pass through.
    """
    refuse_retraining(config)
    with locks.waiting(run_dir / locks.LOCK):  # a job that was given out twice waits here, and finds the record
        stored = stored_result(run_dir)
        if stored is None or not is_final(stored, config, run_dir):
            begin(run_dir, _enter_submitit())
            checked = _is_planned(config, run_dir.parent)
            train = partial(_train, config, run_dir, started_in, checked=checked)
            stored = _recorded(train, config, run_dir, (OutputError, UnreadableError))
        end(run_dir)
        return stored


def _enter_submitit() -> str:
    """The scheduler's number of submitit's job that this process is; empty if it is none. Handles Slurm's signals."""
    executor = os.environ.get("SUBMITIT_EXECUTOR")
    if executor == "slurm":
        slurm.requeued_on_sigterm()
    return str(HydraConfig.get().job.id) if executor else ""


def _is_planned(config: RunConfig, sweep_dir: Path) -> bool:
    """Whether there is a plan, with which the configuration was checked; a search has none.

    Raises RuntimeError for one that is not in it: Hydra has composed what `Compositions` did not.
    """
    planned = sweep.planned if (sweep := current()) else read_plan(sweep_dir).get("runs", {})
    if planned and config.fingerprint not in planned:
        raise RuntimeError(f"{config.run_name}: was composed, and is not in the plan")
    return bool(planned)


def _run_alone(config: RunConfig, run_dir: Path, started_in: Path) -> RunResult:
    sweep = current() or Sweep()
    sweep.enter(run_dir)
    sweep.progress = Progress(labels={run_dir.name: label_of(config.identity())})
    remove_orphans(places_of(run_dir))
    try:
        refuse_other_directory(HydraConfig.get().overrides.hydra, in_sweep=False)
        try:
            stored = finished_result(run_dir, config.fingerprint)
        except ConfigError:
            sweep.directory = None  # the other run's there is not ours to tell of
            raise
        if stored is not None and not config.retrain:
            print("stored already, nothing was trained; retrain=true trains it anew")
            return stored
        read_files.cache_clear()
        look(config.data)  # before torch is imported, which takes seconds
        sweep.retraining = stored is not None
        result = _recorded(partial(_train, config, run_dir, started_in, checked=False), config, run_dir, (UserError,))
        sweep.retraining = False
        return result
    except UserError:
        sweep.remove_refused(run_dir, ".hydra")
        raise


def _train(config: RunConfig, run_dir: Path, started_in: Path, *, checked: bool) -> RunResult:
    sweep = current()
    is_alone = sweep is not None and sweep.is_run
    with meanwhile("checking the configuration", config.progress if is_alone else "none"):
        from mnist_lightning.training.run import check, train_checked  # imports torch, which takes seconds

        if not checked:
            check(config, started_in)
    if sweep and not checked:
        sweep.keep_somebodys(run_dir if sweep.is_run else run_dir.parent)  # in a search, which has no plan
        if sweep.is_run and sweep.progress:
            print(folded(announcement([config])), flush=True)
            sweep.progress.begin({run_dir: config}, config.progress)
    judge = judge_of(config.fingerprint, run_dir.parent) if not is_alone and not checked else None
    return train_checked(config, run_dir, continue_interrupted=True, base=started_in, judge=judge)


def _recorded(
    train: Callable[[], RunResult], config: RunConfig, run_dir: Path, passed_on: tuple[type[UserError], ...]
) -> RunResult:
    """Trains; what is raised becomes the record of a failed run, except signals and errors that are `passed_on`.

    Raises RetrainingError where a finished run's record is there, and stays.
    """
    try:
        return train()
    except (Exception, SystemExit) as error:
        if isinstance(error, passed_on) or _was_signalled(error):
            raise
        return _record_failure(config, run_dir, error)


def _was_signalled(error: BaseException) -> bool:
    """Whether a signal has made this error, whatever libraries have made of it on its way.

    In the command's process any error after a signal is taken for its work: the run is cut off either way. In a worker
    it is one of Lightning's handler, of submitit's or of ours for Slurm, or one that came while such a one was handled.
    """
    if (sweep := current()) and sweep.was_signalled():
        return True
    modules = {frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)}
    hidden = any(not isinstance(link, (Exception, SystemExit)) for link in chain_of(error))
    of_lightning = hidden or type(error).__name__ == "SIGTERMException"
    return of_lightning or not modules.isdisjoint({"submitit.core.job_environment", slurm.__name__})


def record_killed(config: RunConfig, run_dir: Path, why: str) -> None:
    """Records a run as failed that has killed its worker again and again."""
    died = f"its worker died {attempts(run_dir)} times ({why})"
    result = _record_failure(config, run_dir, RuntimeError(died))
    end(run_dir)
    if (sweep := current()) and sweep.progress:
        sweep.progress.finished(result, run_dir)


def _record_failure(config: RunConfig, run_dir: Path, error: BaseException) -> RunResult:
    from mnist_lightning.training.record import failed_record

    text = "".join(traceback.format_exception(error))
    traceback.clear_frames(error.__traceback__)  # they hold the trainer, the network and its data
    gc.collect()
    result, place = failed_record(config, error), place_of(run_dir, config.fingerprint)
    write_durably(place / TRACEBACK, text.encode())
    if place != run_dir:
        told = f"{shown(run_dir)}: not trained anew ({result.error:.90}); its record of before stays"
        raise RetrainingError(f"{told}, see {place.name}/{TRACEBACK}") from error
    save(result, run_dir)
    return result
