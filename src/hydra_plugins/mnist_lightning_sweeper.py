"""The name of mnist_lightning's `hydra/sweeper=basic` for Hydra, which takes sweepers only from this namespace."""

from mnist_lightning.sweep import sweeper
from mnist_lightning.sweep.hydra_internals import BasicSweeper


class GridSweeper(sweeper.GridSweeper, BasicSweeper):
    """Checks and plans the whole grid before the first run; the code is in mnist_lightning.sweep.sweeper."""
