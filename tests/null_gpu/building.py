"""Builds the null GPU from source, and tells a process how to run on it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
_SOURCES = {"runtime.cpp": "libnullcuda.so", "driver.cpp": "libcuda.so.1"}


class NoNullGPUError(Exception):
    """The null GPU cannot be built here; the text says why."""


def _headers() -> Path:
    """The directory of CUDA's headers, which come with Triton."""
    import torch

    if sys.platform != "linux":
        raise NoNullGPUError("the null GPU is made for Linux")
    if torch.version.cuda is None:
        raise NoNullGPUError("this torch is built without CUDA")
    triton = find_spec("triton")
    found = Path(triton.origin or "").parent / "backends" / "nvidia" / "include" if triton else Path()
    if not (found / "cuda_runtime_api.h").is_file():
        raise NoNullGPUError("CUDA's headers are not there: they come with triton")
    return found


def build(directory: Path) -> Path:
    """Builds the two libraries below `directory`, once for each version of their source; returns where they are.

    Raises NoNullGPUError where there is no g++, or torch is built without CUDA.
    """
    headers = _headers()
    if not shutil.which("g++"):
        raise NoNullGPUError("g++ is not installed")
    import torch

    said = [torch.__version__, *((HERE / name).read_text() for name in _SOURCES)]
    place = directory / hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
    if place.is_dir():
        return place
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        for source, library in _SOURCES.items():
            options = ["-O1", "-shared", "-fPIC", "-std=c++17", "-I", str(headers)]
            subprocess.run(["g++", *options, str(HERE / source), "-o", str(new / library), "-ldl"], check=True)
        try:
            new.rename(place)
        except OSError:
            if not place.is_dir():  # or another process was faster
                raise
    return place


def environment(place: Path) -> dict[str, str]:
    """The environment of a process that runs on the null GPU whose libraries are in `place`."""
    own = {
        "NULL_GPU": str(place),
        "LD_PRELOAD": str(place / "libnullcuda.so"),
        "LD_LIBRARY_PATH": str(place),
        "TRITON_LIBCUDA_PATH": str(place),
        "TRITON_CACHE_DIR": str(place / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(place / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path]),
    }
    return {**os.environ, **own}
