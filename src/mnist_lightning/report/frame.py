"""Records as one pandas DataFrame: a row per run, a column per field, and what every table derives from them."""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mnist_lightning.records.results import COLUMNS, RunResult, find_results, to_json
from mnist_lightning.report.curves import place_of
from mnist_lightning.report.identity import architecture, settings_of
from mnist_lightning.report.verdicts import COLLAPSED, verdicts_of

SIZES = ("num_channels", "num_conv", "num_dense")
_DTYPES = {"float": "float64", "int | None": "Int64"}  # by annotation of the field; any other is text


def load_frame(directory: str | os.PathLike[str]) -> pd.DataFrame:
    """Loads the records of a sweep's directory, or the one of a run's directory, ordered by run name.

    First the fields of `RunResult`, under its names and in its order: texts as `object`, whole numbers as nullable
    `Int64` (`object` if one has more than 64 bits), others as `float64`, NaN where there is none. Then, derived:

    - `architecture`, object: channels, convolutions after the first and hidden dense layers, `32/2/1`
    - `setting`, object: the name of what the run shares with those that differ from it in the seed alone,
      `RMSprop mse 0.001 32/2/1`, then its `further` keys
    - `further`, object: its other keys that vary in the sweep, `batch_size=32, momentum=0.9`, or empty
    - `planned`, Int64: how many runs of the setting the sweep's plan has
    - `finished`, bool: completed, with a finite test accuracy
    - `collapsed`, bool: the verdict is `collapsed`
    - `verdict`, object: `learned`, `not yet learned`, `collapsed`, `unclear`, `no accuracy` (completed, but not
      measured), `diverged` or `failed`; see `verdicts.MEANING`
    - `why`, object: the reason of the verdict, empty for `learned`
    - `place_on_disk`, object: the directory in which the record lies, from there; empty if none is known

    Raises RefusedError for a damaged record, FileNotFoundError where there is no such directory.

    >>> frame = load_frame("outputs/small")  # of the example of `sweep`
    >>> frame[["optimizer", "loss_func", "architecture", "finished"]].to_dict("records")[0]
    {'optimizer': 'Adam', 'loss_func': 'mae', 'architecture': '2/0/1', 'finished': True}
    """
    found = find_results(directory)
    for error in found.refused.values():
        raise error
    places = {to_json(record): place for place, record in found.records.items()}
    return frame_of(sorted(found.records.values(), key=lambda r: r.run_name), directory, places)


def frame_of(
    records: Iterable[RunResult],
    directory: str | os.PathLike[str] | None = None,
    places: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Makes the DataFrame that `load_frame` describes, of records in memory and in their order.

    `directory` is where the plan and the files of the runs are, each run's in the directory that `places` names,
    {record as JSON: directory} (default: that of its own name). Without it the records' columns alone decide which runs
    are one setting, and nothing tells whether a network that is hardly better than guessing still learned.
    Halves of surrogate pairs, which no stored record can have, become escapes.
    """
    records = list(records)
    root = Path(directory) if directory is not None else None
    frame = pd.DataFrame({c.name: _series([getattr(r, c.name) for r in records], str(c.type)) for c in COLUMNS})
    where = [place_of(r, places) for r in records]
    settings = settings_of(records, root, where)
    verdicts = verdicts_of(records, root, where)
    frame["architecture"] = _series([architecture(r) for r in records])
    frame["setting"] = _series([s.name for s in settings])
    frame["further"] = _series([s.further for s in settings])
    frame["planned"] = _series([s.planned for s in settings], "int | None")
    frame["finished"] = (frame["status"] == "completed") & np.isfinite(frame["accuracy_test"])
    frame["verdict"] = _series([verdict for verdict, _ in verdicts])
    frame["collapsed"] = frame["verdict"] == COLLAPSED
    frame["why"] = _series([why for _, why in verdicts])
    frame["place_on_disk"] = _series(where)
    return frame


def _series(values: Any, annotation: str = "str") -> pd.Series:
    if annotation not in _DTYPES:  # half a surrogate pair is no text to pyarrow, which pandas uses where it is there
        values = [text.encode("utf-8", "backslashreplace").decode() for text in values]
    try:
        return pd.Series(values, dtype=_DTYPES.get(annotation, "object"))
    except OverflowError:  # a whole number of more than 64 bits
        return pd.Series(values, dtype="object")


def plain_rows(frame: pd.DataFrame, columns: Iterable[str]) -> list[list[Any]]:
    """The rows as Python's own values, without an index; None for a missing whole number."""
    rows = zip(*(frame[column].tolist() for column in columns), strict=True)
    return [[None if value is pd.NA else value for value in row] for row in rows]


def runs(frame: pd.DataFrame) -> list[Any]:
    """The rows as named tuples of such values, for what is told about single runs: `run.seed`, `run.setting`."""
    row_type = namedtuple("Run", frame.columns)
    return [row_type(*row) for row in plain_rows(frame, frame.columns)]


def texts(column: Iterable[Any]) -> list[str]:
    """The values of a key as a reader sees them: `0.001`, `64`, `RMSprop`; `None` for a missing one."""
    return [f"{v:g}" if isinstance(v, float) else "None" if v is pd.NA else str(v) for v in column]


def distinct(frame: pd.DataFrame, columns: Sequence[str]) -> int:
    """How many combinations of values the columns take."""
    return len(frame[list(columns)].drop_duplicates())
