"""A grid of small MNIST networks in PyTorch Lightning and Hydra, with numerics equal to Keras.

The public names are loaded when first used: `import mnist_lightning` alone imports no torch.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_lightning.config import (
        DataConfig,
        ModelConfig,
        OptimizerConfig,
        RunConfig,
        SchedulerConfig,
        TrainerConfig,
    )
    from mnist_lightning.export.write import export
    from mnist_lightning.fused import train_many
    from mnist_lightning.numerics.model import ConvDenseNet
    from mnist_lightning.predict.classify import predict
    from mnist_lightning.records.results import RunResult, load_results
    from mnist_lightning.report import write_report
    from mnist_lightning.report.frame import load_frame
    from mnist_lightning.sweep.library import sweep
    from mnist_lightning.sweep.result import SweepResult
    from mnist_lightning.training.data_module import MNISTDataModule
    from mnist_lightning.training.lightning_modules import MNISTClassifier
    from mnist_lightning.training.run import train

_HOMES = {
    "ConvDenseNet": "numerics.model",
    "DataConfig": "config",
    "MNISTClassifier": "training.lightning_modules",
    "MNISTDataModule": "training.data_module",
    "ModelConfig": "config",
    "OptimizerConfig": "config",
    "RunConfig": "config",
    "RunResult": "records.results",
    "SchedulerConfig": "config",
    "SweepResult": "sweep.result",
    "TrainerConfig": "config",
    "export": "export.write",
    "load_frame": "report.frame",
    "load_results": "records.results",
    "predict": "predict.classify",
    "sweep": "sweep.library",
    "train": "training.run",
    "train_many": "fused",
    "write_report": "report",
}

__all__ = [
    "ConvDenseNet",
    "DataConfig",
    "MNISTClassifier",
    "MNISTDataModule",
    "ModelConfig",
    "OptimizerConfig",
    "RunConfig",
    "RunResult",
    "SchedulerConfig",
    "SweepResult",
    "TrainerConfig",
    "export",
    "load_frame",
    "load_results",
    "predict",
    "sweep",
    "train",
    "train_many",
    "write_report",
]

# A wheel carries conf/ inside the package; in a checkout it lies at the top level. Hydra looks for the package
# `mnist_lightning.conf`, so there the checkout becomes a second place of this package.
if not (Path(__file__).parent / "conf").is_dir():
    __path__.append(str(Path(__file__).resolve().parents[2]))


class _Room(ModuleType):
    # A folder of ours that has the name of a public function, which it is when called and when asked for its
    # docstring. Whoever imports `mnist_lightning.export.write` makes the folder this package's `export`.

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function(*args, **options)

    @property
    def _function(self) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

    @property
    def __doc__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - what help() shows is the function's
        name = self.__name__.rpartition(".")[2]
        return f"{name}{self.__signature__}\n\n{self._function.__doc__}"

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)


class _Package(ModuleType):
    """This package: a folder that is imported becomes its attribute, and can be called if it has a function's name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    return globals().setdefault(name, getattr(module, name))  # looked up once; a folder of that name is there by now


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
