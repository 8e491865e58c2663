"""The name `hydra/launcher=fused` for Hydra, which takes launchers only from this namespace."""

from hydra.core.config_store import ConfigStore

from mnist_lightning.sweep import fused_launcher
from mnist_lightning.sweep.hydra_internals import BasicLauncher


class FusedLauncher(fused_launcher.FusedLauncher, BasicLauncher):
    """Trains runs together that can share a training; the code is in mnist_lightning.sweep.fused_launcher."""


ConfigStore.instance().store(
    group="hydra/launcher",
    name="fused",
    node={"_target_": "hydra_plugins.mnist_lightning_launcher.FusedLauncher"},
    provider="mnist_lightning",
)
