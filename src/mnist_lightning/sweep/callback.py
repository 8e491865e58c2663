"""Hydra's callback that looks at a directory before it is made, and collects the records in it in the end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_lightning.errors import ConfigError, PassedOn, UserError
from mnist_lightning.records.plan import PLAN, read_plan
from mnist_lightning.sweep.announcement import drawn_announcement
from mnist_lightning.sweep.progress import TELLING, Progress
from mnist_lightning.sweep.search import drawn_keys
from mnist_lightning.sweep.sweep import Sweep, current

GRID_SWEEPER = "hydra_plugins.mnist_lightning_sweeper.GridSweeper"
SEARCH_SWEEPER = "hydra_plugins.mnist_lightning_sweeper.SearchSweeper"
_OURS = (GRID_SWEEPER, SEARCH_SWEEPER)  # they plan, announce and refuse for themselves


class CollectResults(Callback):
    """Writes workbook, tables, figures and page from the records when a sweep, or a single run, has ended.

    That is for another Hydra program that uses this configuration. Our command line collects for itself: Hydra turns
    what a callback raises into a warning, and calls none after an interrupt.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _find("hydra.run.dir", config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _find("hydra.sweep.dir", config)
        _refuse_search_in_grid(config)
        if sweep := current():
            with suppress(OmegaConfBaseException):  # Hydra says it once more
                sweep.directory = Path(config.hydra.sweep.dir)
                _show_search(sweep, config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if current() is None:
            Sweep(Path(config.hydra.sweep.dir)).collect()


def _show_search(sweep: Sweep, config: DictConfig) -> None:
    """Shows from now on which runs of a search are at work, of which there is no plan."""
    root = Path(config.hydra.sweep.dir)
    if OmegaConf.select(config, "hydra.sweeper._target_") not in _OURS:
        trials = OmegaConf.select(config, "hydra.sweeper.n_trials")
        drawn = drawn_keys(config)
        sweep.progress = Progress(trials if isinstance(trials, int) else 0, drawn=drawn)
        print(drawn_announcement(sweep.progress.planned, drawn), flush=True)
        launcher = str(OmegaConf.select(config, "hydra.launcher._target_"))
        mode = str(OmegaConf.select(config, "progress"))
        if OmegaConf.select(config, "report.live"):
            sweep.live.start(root)
        sweep.progress.begin({}, mode, search=root, others_train=not launcher.endswith(TELLING))


def _refuse_search_in_grid(config: DictConfig) -> None:
    """Ends the command where a sweeper that plans nothing, as other plugins' do, would put its runs among a grid's."""
    target = OmegaConf.select(config, "hydra.sweeper._target_")
    if current() is None or target in _OURS:
        return
    try:
        root = str(OmegaConf.select(config, "hydra.sweep.dir"))
        if read_plan(Path(root)):
            what = f"holds a planned grid ({PLAN}), and a search's runs are not of it"
            raise ConfigError(f"hydra.sweep.dir={root}: {what}; choose another directory")
    except UserError as error:
        raise PassedOn(error) from error
    except (OmegaConfBaseException, OSError):  # as above
        return


def _find(key: str, config: DictConfig) -> None:
    """Lets the sweep look at the directory that Hydra is about to make; ends the command if it has no name."""
    if sweep := current():
        try:
            sweep.find(key, str(OmegaConf.select(config, key)))
        except UserError as error:
            raise PassedOn(error) from error
        except (OmegaConfBaseException, OSError):  # Hydra will run into the same, and that is explained
            return
