"""The names of mnist_lightning's sweepers for Hydra, which takes them only from this namespace."""

from mnist_lightning.sweep import search_sweeper, sweeper
from mnist_lightning.sweep.hydra_internals import BasicSweeper


class GridSweeper(sweeper.GridSweeper, BasicSweeper):
    """Checks and plans the whole grid before the first run; the code is in mnist_lightning.sweep.sweeper."""


class SearchSweeper(search_sweeper.SearchSweeper):
    """Draws trials by Optuna, `hydra/sweeper=optuna`; the code is in mnist_lightning.sweep.search_sweeper."""
