"""Records as one pandas DataFrame: a row per run, a column per field, and what every table derives from them."""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mnist_lightning.records.results import COLUMNS, RunResult, load_results

COLLAPSED_AT = 0.20  # share of test images: twice what guessing gets, so that a small test set cannot blur it
ONE_DIGIT, UNDECIDED = "the same digit for nearly every image", "no output above 0.5, undecided"
ONE_DIGIT_BELOW = 0.86  # binary accuracy: between 0.82, one digit for every image, and 0.90, no output above 0.5
COLLAPSED_MEANS = (
    f"Collapsed: training ended, but at most {COLLAPSED_AT:.0%} of the test images are right; always giving the same "
    "digit gets 10 to 12 %. Such a network either says one digit for everything (binary accuracy about "
    "0.82) or leaves all outputs near 0.1 (binary accuracy 0.90)."
)
SIZES = ("num_channels", "num_conv", "num_dense")
_DTYPES = {"float": "float64", "int | None": "Int64"}  # by annotation of the field; any other is text


def load_frame(directory: str | os.PathLike[str]) -> pd.DataFrame:
    """Loads the records of a sweep's directory, or the one of a run's directory, ordered by run name.

    First the fields of `RunResult`, under its names and in its order: texts as `object`, whole numbers as nullable
    `Int64` (`object` if one has more than 64 bits), others as `float64`, NaN where there is none. Then, derived:

    - `architecture`, object: channels, convolutions after the first and hidden dense layers, `32/2/1`
    - `setting`, object: optimizer, loss, learning rate and architecture, `RMSprop mse 0.001 32/2/1`
    - `finished`, bool: completed, with a finite test accuracy
    - `collapsed`, bool: completed, but no better than guessing; `how_collapsed`, object: in which way, or empty
    - `verdict`, object: `ok`, `collapsed`, `diverged` or `failed`

    Raises RefusedError for a damaged record, FileNotFoundError where there is no such directory.
    """
    return frame_of(load_results(directory))


def frame_of(records: Iterable[RunResult]) -> pd.DataFrame:
    """Makes the DataFrame that `load_frame` describes, of records in memory and in their order.

    Halves of surrogate pairs, which no stored record can have, become escapes.
    """
    records = list(records)
    frame = pd.DataFrame({c.name: _series([getattr(r, c.name) for r in records], str(c.type)) for c in COLUMNS})
    sizes = ["/".join("?" if n is None else str(n) for n in row) for row in plain_rows(frame, SIZES)]
    names = zip(plain_rows(frame, ("optimizer", "loss_func", "learning_rate")), sizes, strict=True)
    frame["architecture"] = _series(sizes)
    frame["setting"] = _series([f"{optimizer} {loss} {lr:g} {size}" for (optimizer, loss, lr), size in names])
    completed = frame["status"] == "completed"
    lost = completed & (frame["accuracy_test"] <= COLLAPSED_AT)  # NaN is no collapse
    how = np.where(frame["binary_accuracy_test"] < ONE_DIGIT_BELOW, ONE_DIGIT, UNDECIDED)
    frame["finished"] = completed & np.isfinite(frame["accuracy_test"])
    frame["collapsed"] = lost
    frame["how_collapsed"] = _series(np.where(lost, how, ""))
    frame["verdict"] = frame["status"].mask(completed, "ok").mask(lost, "collapsed")
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
