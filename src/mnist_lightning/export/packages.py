"""The packages of other people that a format needs, imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from mnist_lightning.errors import ConfigError

# format -> the modules that writing and checking it needs beside torch; the extra of the same name brings them
PACKAGES = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "pt2": (),
    "safetensors": ("safetensors",),
}


def needed(format_name: str, module: str) -> Any:
    """Imports a module that a format needs. Raises ConfigError, with the way to install it, where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        what = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
        way_out = f'pip install "mnist-lightning[{format_name}]"'
        raise ConfigError(f"--to={format_name}: {package} {what}; {way_out}") from error
