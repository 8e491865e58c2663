"""A sweep from Python: the plan, the records and the report of the command's, in this process and without Hydra.

Hydra is the command's: it owns sys.argv, a configuration store and singletons of the process, composes texts and
makes its launchers itself. Here the configurations are at hand, and what plans, trains, recovers and collects takes
configurations; so nothing of Hydra's is started, and nothing of it can leak into a notebook or into a Hydra program
that calls `sweep`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Unpack

from mnist_lightning.config import RunConfig, fresh_directory, takes_list
from mnist_lightning.config.changes import changed
from mnist_lightning.config.keys import RunKeys
from mnist_lightning.data.files import look, read_files
from mnist_lightning.errors import EXIT_TERMINATED, ConfigError, OutputError, PassedOn, Problem, UserError
from mnist_lightning.report.state import read_state
from mnist_lightning.sweep.grid import configurations
from mnist_lightning.sweep.launcher import PersistentLauncher
from mnist_lightning.sweep.launchers import launcher_of
from mnist_lightning.sweep.result import SweepResult
from mnist_lightning.sweep.sweep import Sweep
from mnist_lightning.sweep.sweeper import plan_aloud

_KEY = "hydra.sweep.dir"  # what errors call the directory of a sweep, which is the command's


def sweep(
    base: RunConfig | Mapping[str, Any] | None = None,
    grid: Mapping[str, Iterable[Any]] | None = None,
    directory: str | os.PathLike[str] | None = None,
    *,
    launcher: Literal["basic", "fused", "joblib"] = "basic",
    n_jobs: int | None = None,
    **keys: Unpack[RunKeys],
) -> SweepResult:
    """Trains every combination of a grid's values, or what is missing of it, and reports; the records and the frame.

    `base` is a RunConfig or any mapping of its keys, changed by further `keys`, or these alone. `grid` has the values
    of some keys, by the command line's names: `{"optimizer": ["adam", "sgd"]}`, or dotted,
    `{"model.num_channels": [8, 16]}`; what a value does not name stays as `base` has it. `directory` (default: a
    fresh one under `outputs/`) receives what the command `python -m mnist_lightning -m` leaves, but for Hydra's own
    files. Either goes on with what the other has begun: finished runs are kept, one that was cut off continues after
    its last whole epoch, and a failed one is tried again. Printed is what the command prints.

    `launcher` is "basic", one run after another in this process; "fused", the runs of one architecture as one
    training; or "joblib", `n_jobs` processes (-1: one per core), which `n_jobs` alone means, too.

    A run that fails or diverges is a row of the result, and no error. KeyboardInterrupt and whatever else ends the
    sweep (SIGTERM: SystemExit(143)) is passed on when the report of what is there has been written; the same call
    resumes. Raises ConfigError (values, another grid's directory), DataError, OutputError, RefusedError,
    UnreadableError or BusyError (another process is at work there), whose text is one line; TypeError for a base that
    is none.

    >>> data = {"name": "synthetic", "train_size": 320, "test_size": 100}
    >>> base = RunConfig(model={"num_channels": 2, "num_conv": 0}, data=data, trainer={"max_epochs": 1})
    >>> done = sweep(base, {"optimizer": ["adam", "sgd"]}, "outputs/small", loss="mae")  # doctest: +ELLIPSIS
    2 runs: optimizer (2), 1 epoch of 320 images of synthetic, on ...
    1 of 2  Adam  accuracy ...
    2 of 2 done: outputs/small
    >>> [(result.optimizer, result.loss_func, result.status) for result in done.results]
    [('Adam', 'mae', 'completed'), ('SGD', 'mae', 'completed')]
    """
    _refuse_misplaced(base, grid)
    root = Path(directory if directory is not None else fresh_directory())
    configs = configurations(changed({} if base is None else base, keys), grid or {})
    with _in_pythons_words(root), Sweep() as leader:
        return _swept(leader, root, configs, launcher, n_jobs)


def _refuse_misplaced(base: object, grid: object) -> None:
    """Raises ConfigError for a grid in the place of the base, or a directory in that of the grid."""
    way_out = "the grid is the second argument: sweep({}, {'lr': [0.1, 0.01]}, 'directory')"
    given = base.items() if isinstance(base, Mapping) and not isinstance(grid, Mapping) else ()
    for key, value in given:
        if isinstance(value, (list, tuple, range)) and not takes_list(str(key)):
            raise ConfigError([Problem(str(key), value, "several values in the base", way_out)])
    if grid is not None and not isinstance(grid, Mapping):
        raise ConfigError([Problem("grid", grid, "no dictionary of keys and their values", way_out)])


@contextmanager
def _in_pythons_words(root: Path) -> Iterator[None]:
    """Lets errors speak of the directory as `sweep` calls it, and takes out what was carried through the launcher."""
    try:
        yield
    except (UserError, PassedOn) as raised:
        error = raised.error if isinstance(raised, PassedOn) else raised
        if _KEY not in str(error):
            raise error from error.__cause__
        told = str(error).replace(f"{_KEY}={root.absolute()}", f"directory={root}").replace(_KEY, "directory")
        raise type(error)(told) from error
    except SystemExit as ended:
        if type(ended).__name__ != "SIGTERMException":  # Lightning's, with which a script would end with 0
            raise
        raise SystemExit(EXIT_TERMINATED) from ended
    except OSError as error:
        what = f"cannot be written ({error.strerror or error}); choose another directory"
        raise OutputError(f"{error.filename or root}: {what}") from error


def _swept(leader: Sweep, root: Path, configs: Sequence[RunConfig], name: str, n_jobs: int | None) -> SweepResult:
    place = root.absolute()
    launcher = launcher_of(name, n_jobs, place, configs)
    leader.find(_KEY, str(root), hydra_writes=False)
    try:
        read_files.cache_clear()
        for data in {(c.data.name, c.data.root, c.data.download): c.data for c in configs}.values():
            look(data)
        (todo,) = plan_aloud(leader, place, [configs], launcher.name)
    except BaseException:  # Ctrl-C, too: nothing was planned yet
        if leader.directory is None:
            leader.remove_refused(place, "multirun.yaml")
        raise
    jobs = [[config.run_name] for config, wanted in zip(configs, todo, strict=True) if wanted]
    persistent = PersistentLauncher(launcher, launcher, launcher.name, str(place))
    for job in jobs:
        persistent.compose(job)
    try:
        if jobs:
            persistent.launch(jobs, 0)
    except BaseException:
        leader.show_nothing()
        with suppress(Exception):  # what ended the sweep is to be seen
            leader.collect()
            print(leader.outcome()[1], flush=True)
        raise
    leader.show_nothing()
    paths = leader.collect()
    code, line = leader.outcome()
    print(line, flush=True)
    return _result(root, configs, paths, line, whole=code == 0)


def _result(root: Path, configs: Sequence[RunConfig], paths: Sequence[Path], line: str, *, whole: bool) -> SweepResult:
    results, state = read_state(root)
    order = {fingerprint: i for i, fingerprint in enumerate(dict.fromkeys(config.fingerprint for config in configs))}
    results = sorted(results, key=lambda result: order.get(result.fingerprint, len(order)))
    named = {path.relative_to(root.absolute()).as_posix(): path for path in paths}
    return SweepResult(root, results, named, line.rpartition(": ")[0], whole, state.places)
