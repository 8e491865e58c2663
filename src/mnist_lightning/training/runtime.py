"""What a training does to its process: memory, denormal numbers, garbage collection, Lightning's messages."""

from __future__ import annotations

import atexit
import ctypes
import gc
import logging
import math
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mnist_lightning.errors import EXIT_TERMINATED

_M_MXFAST, _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = 1, -1, -3


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch's, of any device, or Python's own."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


@cache
def keep_memory() -> None:
    """Lets glibc keep freed memory for the next step, in this process from now on.

    Otherwise it returns blocks above 32 MB, such as a large layer's gradient, to the system at once and takes them
    again page by page: 26,000 page faults a step of 64/3/3, a tenth of its time. And whenever it is asked for a large
    block it would first put together all the small ones that were freed: 2 % of a step of 4/2/1. Other C libraries are
    left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_MXFAST, 0)


_THREADS = torch.get_num_threads()  # torch's choice, unless somebody has asked for others before this is imported
_ASKED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@cache
def keep_to_share() -> None:
    """Takes no more threads than a container may use processors, unless others are asked for.

    torch counts the machine's cores, which are not those of `docker run --cpus` or of a pod's limit: with too many
    threads each waits for one that the system has stopped.
    """
    asked = torch.get_num_threads() != _THREADS or any(os.environ.get(name) for name in _ASKED)
    share = processor_share()
    if not asked and share < _THREADS:
        torch.set_num_threads(max(1, math.ceil(share)))


def processor_share(root: Path = Path("/")) -> float:
    """How many processors this process's control groups let it use, on Linux; infinite where nothing limits it."""
    least = math.inf
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            group = root / "sys/fs/cgroup" / ("cpu" if controllers else "") / path.lstrip("/")
            for place in (group, *group.parents):
                with suppress(OSError, ValueError):
                    if controllers:
                        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                        quota, period = (int((place / name).read_text()) for name in names)
                    else:
                        quota, period = map(int, (place / "cpu.max").read_text().split())
                    least = min(least, quota / period if quota > 0 else math.inf)
    return least


@cache
def freeze_imports() -> None:
    """Hides everything imported so far from the garbage collector, which else visits 460,000 objects a run.

    Call it once the training modules are imported.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # or extensions report all of it as leaked


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Computes with numbers below the normal range as zero, in this thread and in threads begun meanwhile.

    The moments of weights without gradient decay into that range after some hundred steps, and arithmetic there takes
    a hundred times as long.
    """
    smallest = torch.tensor(torch.finfo(torch.float32).smallest_normal)
    before = (smallest / 2).item() == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def leave_ignored(trainer: L.Trainer) -> L.Trainer:
    """Lets a trainer leave SIGTERM ignored where it is; Lightning would end the run with 0 then, without a word."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        trainer._signal_connector.register_signal_handlers = lambda: None
    return trainer


@contextmanager
def interrupts_raised() -> Iterator[None]:
    """Raises Ctrl-C within the block as KeyboardInterrupt.

    Lightning makes a SystemExit of it, and ignores SIGINT from then on.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        with suppress(ValueError):  # not the main thread: there Lightning cannot have replaced it
            signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from error


@contextmanager
def termination_passed_on() -> Iterator[None]:
    """Ends the program with 143 where SIGTERM has ended a training in the block; Lightning would with 0.

    For the library's functions: the command has its own handler, which Lightning leaves alone.
    """
    try:
        yield
    except SIGTERMException as error:
        raise SystemExit(EXIT_TERMINATED) from error


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silences Lightning's banners and tips, which would be printed once per run; other warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")  # torch 2.15, lightning 2.6.6
            warnings.filterwarnings("ignore", message=".*does not have many workers")  # data in memory
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval")  # we log per epoch
            warnings.filterwarnings("ignore", message=".*could not find the monitored key")  # epochs not validated
            warnings.filterwarnings("ignore", message=".*`srun` command is available")  # a machine that has Slurm
            warnings.filterwarnings("ignore", message="The dirpath has changed")  # ckpt_path of another run
            warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty")  # resumed
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
