"""`hydra/sweeper=optuna`: a search, whose trials are drawn one after another from what the earlier ones gave."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from mnist_lightning.config import RunConfig
from mnist_lightning.config.labels import label_by
from mnist_lightning.data.files import look, read_files
from mnist_lightning.errors import ConfigError, OutputError, Problem
from mnist_lightning.progress.screen import folded, meanwhile
from mnist_lightning.records.search import Trial
from mnist_lightning.sweep.announcement import search_announcement
from mnist_lightning.sweep.attempts import expect
from mnist_lightning.sweep.compositions import Compositions
from mnist_lightning.sweep.launcher import PersistentLauncher
from mnist_lightning.sweep.plan import check_space
from mnist_lightning.sweep.progress import TELLING, Progress
from mnist_lightning.sweep.search_names import require_optuna
from mnist_lightning.sweep.sweeper import require_named_directories

if TYPE_CHECKING:
    from mnist_lightning.sweep.search_setup import Settings
    from mnist_lightning.sweep.search_study import SearchStudy
    from mnist_lightning.sweep.sweep import Sweep

_LOOK_EVERY = 0.5  # seconds between two looks at trials of other processes


class SearchSweeper(Sweeper):
    """Draws the trials of a search, has the launcher train them, and tells the study how they ended."""

    def __init__(self, **keys: Any) -> None:
        """Takes the keys of `hydra.sweeper`, see `search_names.KEYS`, and the `sampler`."""
        self.keys: dict[str, Any] = {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value for key, value in keys.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Makes the configured launcher one that survives its workers. Raises ConfigError without Optuna."""
        require_optuna()
        plugin = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self._config, self.root = config, Path(config.hydra.sweep.dir)
        compositions = Compositions(hydra_context.config_loader, config)
        name: str = config.hydra.runtime.choices["hydra/launcher"]
        self._launcher = PersistentLauncher(plugin, compositions, name, str(self.root))
        self.parser = OverridesParser.create(config_loader=hydra_context.config_loader)

    def sweep(self, arguments: list[str]) -> None:
        """Runs the search until it has its trials. Everything that can be refused is refused before the first."""
        from mnist_lightning.sweep.search_storage import quiet_optuna
        from mnist_lightning.sweep.sweep import Sweep, current

        sweep = current() or Sweep()
        sweep.directory = None  # until the search is accepted: an earlier sweep there is not ours to collect
        params = self.keys["params"] or {}
        with quiet_optuna():
            study, first = self._accepted([*(f"{key}={value}" for key, value in params.items()), *arguments])
            sweep.directory, sweep.began = self.root, True
            self._write_command()
            sweep.keep_somebodys(self.root)
            try:
                self._run(study, sweep, first)
            finally:
                study.release()

    def _accepted(self, arguments: Sequence[str]) -> tuple[SearchStudy, RunConfig]:
        """The study of this search, and its first configuration; raises before anything is written if it is refused."""
        from mnist_lightning.sweep.search_setup import Settings, is_over, study_of
        from mnist_lightning.sweep.sweep import refuse_other_directory, refuse_retraining

        require_named_directories(self._config)
        refuse_other_directory(self._config.hydra.overrides.hydra, in_sweep=True)
        self._launcher.check()
        path = self.root / "multirun.yaml"
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: not a regular file; delete it, or choose another directory")
        settings = Settings.of(self.keys, arguments, self.parser)
        self._n_jobs = self._jobs_at_once(settings)
        read_files.cache_clear()
        configs = [self._launcher.compose(job) for job in settings.space.corners()]
        for config in configs:
            refuse_retraining(config)
            settings.refuse_for(config)
        for config in {(c.data.name, c.data.root, c.data.download): c for c in configs}.values():
            look(config.data)
        with meanwhile("checking the configurations", configs[0].progress):  # torch is imported, which takes seconds
            study = study_of(self.root, settings, configs, self._launcher.compose, trained=is_over(self.root, settings))
        return study, configs[0]

    def _jobs_at_once(self, settings: Settings) -> int:
        """How many trials are drawn and launched together: by default as many as joblib's processes, else one."""
        kind = type(self._launcher.plugin).__name__
        if settings.pruner_given and kind == "FusedLauncher":
            raise ConfigError("hydra.sweeper.pruner: runs that are trained together end together; use another launcher")
        given = self.keys["n_jobs"]
        if given is None and kind == "JoblibLauncher":
            given = self._config.hydra.launcher.n_jobs
            given = given if given > 0 else max(1, (os.cpu_count() or 1) + 1 + given)
        if given is not None and not (isinstance(given, int) and given > 0):
            raise ConfigError([Problem("hydra.sweeper.n_jobs", given, "no number of trials", "use 1 or more")])
        return given or 1

    def _write_command(self) -> None:
        """Writes what Hydra writes for a grid: the report reads the command in it."""
        self.root.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, self.root / "multirun.yaml")

    def _run(self, study: SearchStudy, sweep: Sweep, first: RunConfig) -> None:
        done, total = study.begin(), study.search.total
        sweep.progress = progress = Progress(total, done, {}, drawn=list(study.space.drawn))
        if done:
            print(f"resuming: {done} of {total} done", flush=True)
        told = ""
        while True:
            trials = study.next(self._n_jobs)
            if trials:
                if not progress.watch:
                    self._announce(study, sweep, first)
                self._launch(study, trials, progress)
                study.settle()
            elif not (others := study.others_at_work()):
                return
            else:
                if others[0] != told:
                    told = others[0]
                    print(f"{told} is still at work on a trial; waiting for that to end", flush=True)
                time.sleep(_LOOK_EVERY)

    def _announce(self, study: SearchStudy, sweep: Sweep, first: RunConfig) -> None:
        """Says what is searched, and shows from now on which trials are at work."""
        assert sweep.progress is not None
        print(folded(search_announcement(study.search, study.space.text(), first, self._launcher.name)), flush=True)
        if first.report.live:
            sweep.live.start(self.root)
        others = type(self._launcher.plugin).__name__ not in TELLING
        sweep.progress.begin({}, first.progress, search=self.root, others_train=others)

    def _launch(self, study: SearchStudy, trials: Sequence[Trial], progress: Progress) -> None:
        jobs = [study.space.job(trial.params) for trial in trials]
        configs = [self._launcher.compose(job) for job in jobs]
        check_space(self.root, [c for c in configs if c.trainer.enable_checkpointing is not False])
        for config in configs:
            expect(self.root / config.run_name)
        progress.labels |= {c.run_name: label_by(c.identity(), progress.drawn) for c in configs}
        progress.found(study.done())
        for job in self._launcher.launch(jobs, initial_job_idx=trials[0].number):
            _ = job.return_value  # raises what ended a job of this process
