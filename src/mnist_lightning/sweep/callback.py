"""Hydra's callback that looks at a directory before it is made, and collects the records in it in the end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_lightning.errors import PassedOn, UserError
from mnist_lightning.sweep.sweep import Sweep, current


class CollectResults(Callback):
    """Writes workbook, tables, figures and page from the records when a sweep, or a single run, has ended.

    Hydra turns what a callback raises into a warning and calls none after an interrupt, so the command line collects
    what this has not; any other Hydra program that uses this configuration gets its workbook from here.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _find("hydra.run.dir", config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _find("hydra.sweep.dir", config)
        if sweep := current():
            with suppress(OmegaConfBaseException):  # Hydra says it once more
                sweep.directory = Path(config.hydra.sweep.dir)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        (current() or Sweep(Path(config.hydra.sweep.dir))).collect()

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        if sweep := current():
            sweep.collect()


def _find(key: str, config: DictConfig) -> None:
    """Lets the sweep look at the directory that Hydra is about to make; ends the command if it has no name."""
    if sweep := current():
        try:
            sweep.find(key, str(OmegaConf.select(config, key)))
        except UserError as error:
            raise PassedOn from error
        except (OmegaConfBaseException, OSError):  # Hydra will run into the same, and that is explained
            return
