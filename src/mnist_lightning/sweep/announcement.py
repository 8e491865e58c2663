"""What is said at once, before the first run: how many runs of what, for how long, on which data and device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

from mnist_lightning.config import RunConfig
from mnist_lightning.config.labels import label_of, short_keys, varying
from mnist_lightning.progress.screen import meanwhile
from mnist_lightning.progress.words import duration
from mnist_lightning.progress.work import work_of
from mnist_lightning.records.results import RunResult
from mnist_lightning.records.search import Search

_WORTH_TIMING = 5e12  # of work: a minute or more on a CPU, so that a second of it may be spent on the forecast
# Arguments of the Trainer that may make a run shorter than its epochs: then nothing is foretold
_SHORTENING = ("fast_dev_run", "max_steps", "max_time", "limit_train_batches", "overfit_batches")
_HERE = ("basic", "fused", "joblib", "submitit_local")  # launchers whose runs are trained on this machine


def announcement(
    configs: Sequence[RunConfig], launcher: str = "basic", stored: Sequence[tuple[RunConfig, RunResult]] = ()
) -> str:
    """`18 runs: optimizer (3) x loss (2) x lr (3), 5 epochs of 2,000 images of synthetic, on cpu (...), 32-true`."""
    vary = varying(config.identity() for config in configs)
    keys = {short: vary[key] for key, short in short_keys(vary).items()}
    if len(configs) == 1:
        what = label_of(configs[0].identity())
    else:
        product = math.prod(keys.values()) == len(configs)
        named = (" x " if product else ", ").join(f"{key} ({n})" for key, n in keys.items())
        what = f"{len(configs):,} runs{': ' * bool(named)}{named}"
    device = f", {_device(configs)}" if launcher in _HERE else f", by {launcher}"
    time = _expected(configs, stored) if launcher == "basic" else ""
    # the fused engine is about as fast as single runs on a CPU, and on a GPU much faster
    if not time and (launcher == "basic" or (launcher == "fused" and "CPU thread" in device)):
        time = _timed(configs)
    return f"{what}, {_epochs(configs)} of {_images(configs)}{device}{time}"


def drawn_announcement(trials: int, drawn: Sequence[str]) -> str:
    """`20 trials, each with its own lr, num_channels`: of a sweeper that is not ours."""
    what = f"{trials:,} trial{'s' * (trials != 1)}" if trials else "a search"
    return f"{what}, each with its own {', '.join(short_keys(drawn).values())}" if drawn else what


def search_announcement(search: Search, space: str, first: RunConfig, launcher: str = "basic") -> str:
    """`20 trials by tpe for the highest test accuracy: lr (0.001 to 0.1), 5 epochs of mnist, on cpu, 32-true`."""
    how = "highest" if search.direction == "maximize" else "lowest"
    on = "validation" if search.objective == "accuracy_val" else "test"
    trials, sampler = search.total, search.sampler.partition(" ")[0]
    pruner = "" if search.pruner_given is None else f", {search.pruner.partition(' ')[0]} prunes"
    device = f", {_device([first])}" if launcher in _HERE else f", by {launcher}"
    what = f"{trials:,} trial{'s' * (trials != 1)} by {sampler} for the {how} {on} accuracy{pruner}: {space}"
    return f"{what}, {_epochs([first])} of {_images([first])}{device}"


def _epochs(configs: Sequence[RunConfig]) -> str:
    numbers = sorted({config.trainer.max_epochs for config in configs})
    return f"{_range(numbers)} epoch{'s' * (numbers[-1] != 1)}"


def _images(configs: Sequence[RunConfig]) -> str:
    names = ", ".join(dict.fromkeys(config.data.label for config in configs))
    sizes = {config.data.train_size for config in configs}
    if None in sizes:
        return names if sizes == {None} else f"images of {names}"
    return f"{_range(sorted(size for size in sizes if size))} images of {names}"


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]:,}" + (f" to {numbers[-1]:,}" if len(numbers) > 1 else "")


def _device(configs: Sequence[RunConfig]) -> str:
    """The devices and precisions that the runs will have on this machine."""
    from mnist_lightning.training.precision import precision_of  # torch is not for who has nothing to do
    from mnist_lightning.training.trainer import device_words

    devices = dict.fromkeys(device_words(config) for config in configs)
    precisions = dict.fromkeys(precision_of(config) for config in configs)
    return f"on {', '.join(devices)}, {', '.join(precisions)}"


def _expected(configs: Sequence[RunConfig], stored: Sequence[tuple[RunConfig, RunResult]]) -> str:
    """How long the runs will take at the pace of those that are stored, if that is known."""
    timed = [(work_of(config).total, r.duration_seconds) for config, r in stored if r.status == "completed"]
    timed = [(work, seconds) for work, seconds in timed if math.isfinite(seconds)]
    if not timed:
        return ""
    pace = sum(seconds for _, seconds in timed) / sum(work for work, _ in timed)
    return f": about {duration(pace * sum(work_of(config).total for config in configs))}, as the stored ones took"


def _timed(configs: Sequence[RunConfig]) -> str:
    """How long the runs will take at the pace of a second of the longest, if they take long and can be foretold."""
    work = sum(work_of(config).total for config in configs)
    if any(config.data.component for config in configs):  # how many images it has is not known here
        return ""
    shortened = any(getattr(config.trainer, key) is not None for config in configs for key in _SHORTENING)
    if work < _WORTH_TIMING or shortened:
        return ""
    pace = None
    with meanwhile("timing a second of training", configs[0].progress), suppress(Exception):
        from mnist_lightning.training.pace import seconds_per_work

        # what it raises, such as that memory ran out, the run itself will raise, and have it recorded
        pace = seconds_per_work(max(configs, key=lambda config: work_of(config).total))
    return f": about {duration(pace * work)}, by a timed second of training" if pace else ""
