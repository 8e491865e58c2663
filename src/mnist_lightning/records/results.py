"""The record of a run: `RunResult`, the one place where columns are named; saved, loaded, and written as a table."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Iterable
from dataclasses import Field, asdict, dataclass, field, fields
from html import escape
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from mnist_lightning.errors import RefusedError, UserError
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.reading import TELLING, read_regular, unreadable

RECORD = "result.json"
SCHEMA = 1
_SEAL = ',\n  "sha256": "'
_FORMULA = ("=", "+", "-", "@", "\t")  # how a cell begins that spreadsheets compute
_LARGEST_RECORD = 2**20
FINAL = ("completed", "diverged", "pruned")  # running again would give the same; `failed` is tried again
Status = Literal["completed", "diverged", "failed", "pruned"]  # pruned: a search has ended it before its last epoch


def _column(default: Any, number_format: str = "General", about: str = "") -> Any:
    return field(default=default, metadata={"number_format": number_format, "about": about})


_COUNT = "#,##0"
_LOSS = "0.00000"
_SHARE = "0.0000"
_NAN = math.nan


@dataclass
class RunResult:
    """One row. First the study's columns, in its order and under its names, then ours.

    Metrics are those of the final weights on the whole training and test set, unless `trainer.limit_test_batches`
    cuts them short; NaN where there are none. Sizes and speeds count whole sets, whatever is limited.
    `accuracy` is top-1; `binary_accuracy` is what the study calls accuracy: the share of the 10 outputs per
    image on the right side of 0.5.

    >>> result = RunResult(run_name="mine", status="completed", accuracy_test=0.958, epochs=4)
    >>> result
    RunResult('mine', completed, accuracy_test=0.9580)
    """

    optimizer: str = _column("", about="optimizer")
    loss_func: str = _column("", about="loss the network was trained with")
    learning_rate: float = _column(_NAN, about="learning rate")
    loss: float = _column(_NAN, _LOSS, "mean training loss")
    mse: float = _column(_NAN, _LOSS, "training mean squared error of the softmax outputs")
    mae: float = _column(_NAN, _LOSS, "training mean absolute error of the softmax outputs")
    accuracy: float = _column(_NAN, _SHARE, "training accuracy, top-1, share of images")
    loss_test: float = _column(_NAN, _LOSS, "mean test loss")
    mse_test: float = _column(_NAN, _LOSS, "test mean squared error")
    mae_test: float = _column(_NAN, _LOSS, "test mean absolute error")
    accuracy_test: float = _column(_NAN, _SHARE, "test accuracy, top-1, share of images")
    model_path: str = _column("", about="final weights, relative to the sweep directory")
    best_epoch: int | None = _column(None, _COUNT, "epoch of the lowest validation loss, from 1")
    num_parameters: int | None = _column(None, _COUNT, "trainable parameters")
    num_channels: int | None = _column(None, _COUNT, "filters of the first convolution")
    num_conv: int | None = _column(None, _COUNT, "convolutions after the first")
    num_dense: int | None = _column(None, _COUNT, "hidden dense layers")
    binary_accuracy: float = _column(_NAN, _SHARE, "training accuracy as the study counts it")
    binary_accuracy_test: float = _column(_NAN, _SHARE, "test accuracy as the study counts it")
    status: Status = _column("failed", about="completed, diverged, failed or pruned")
    error: str = _column("", about="why the run failed, diverged or was pruned")
    dataset: str = _column("", about="data set")
    train_size: int | None = _column(None, _COUNT, "images of the training set")
    test_size: int | None = _column(None, _COUNT, "images of the test set")
    batch_size: int | None = _column(None, _COUNT, "images a step")
    epochs: int | None = _column(None, _COUNT, "epochs trained")
    seed: int | None = _column(None, "0", "seed of initial weights and batch order")
    precision: str = _column("", about="arithmetic that ran, Lightning's name")
    engine: str = _column("", about="what trained it: lightning (alone) or fused (in a group)")
    group_size: int | None = _column(None, _COUNT, "runs trained together")
    device: str = _column("", about="hardware")
    duration_seconds: float = _column(_NAN, "0.0", "training and evaluation, s, since resumed; of a group: its share")
    samples_per_second: float = _column(_NAN, _COUNT, "training images per second; of a group: all members' together")
    fingerprint: str = _column("", about="of the whole configuration")
    run_name: str = _column("", about="name of the run and of its directory")
    version: str = _column("", about="mnist_lightning")
    python_version: str = _column("", about="Python")
    torch_version: str = _column("", about="torch")
    torchvision_version: str = _column("", about="torchvision")
    lightning_version: str = _column("", about="lightning")
    commit: str = _column("", about="git commit of the source, when run from a checkout")
    val_size: int | None = _column(None, _COUNT, "images held out of training; 0: validated on the test set")
    loss_val: float = _column(_NAN, _LOSS, "validation loss of the final weights")
    accuracy_val: float = _column(_NAN, _SHARE, "validation accuracy of the final weights")
    data_sha256: str = _column("", about="SHA-256 of the data set's files")
    checkpoint_sha256: str = _column("", about="SHA-256 of the final weights' file")
    best_checkpoint_sha256: str = _column("", about="SHA-256 of the best epoch's file")
    network: str = _column("", about="network of the user's own, with its arguments; empty for the study's")
    num_classes: int | None = _column(None, _COUNT, "classes that the network tells apart; empty: ten, the digits")
    update: str = _column("", about="compiled: weights were updated in one compiled pass on a processor; else empty")

    def __repr__(self) -> str:
        accuracy = "" if math.isnan(self.accuracy_test) else f", accuracy_test={self.accuracy_test:.4f}"
        return f"{type(self).__name__}({self.run_name!r}, {self.status}{accuracy})"

    def __str__(self) -> str:
        rows = self._short_table()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

    def _repr_html_(self) -> str:
        """The short table as a notebook shows it."""
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self._short_table())
        return f"<table>{''.join(rows)}</table>"

    def _short_table(self) -> list[tuple[str, str]]:
        """What was trained and what came of it, by name, as texts."""
        rows = [("run", self.run_name), ("status", " ".join(filter(None, [self.status, self.error])))]
        for column in COLUMNS:
            value, decimals = getattr(self, column.name), column.metadata["number_format"].partition(".")[2]
            if column.name in _OF_SHORT_TABLE and value is not None:
                rows.append((column.name, f"{value:.{len(decimals)}f}"))
        return rows


_OF_SHORT_TABLE = ("accuracy", "accuracy_test", "binary_accuracy_test", "loss_test", "epochs", "duration_seconds")
COLUMNS: tuple[Field[Any], ...] = fields(RunResult)
_TYPES = get_type_hints(RunResult)


def to_json(result: RunResult) -> str:
    """The record as strict JSON; NaN and infinity, which JSON lacks, as the strings nan, inf and -inf.

    The last key, `sha256`, is the checksum of every byte before it.
    """
    plain = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(result).items()}
    text = json.dumps({"schema": SCHEMA, **plain}, indent=2, allow_nan=False, ensure_ascii=False)
    body = text.removesuffix("\n}") + _SEAL
    return f'{body}{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'


def from_json(text: str) -> RunResult:
    """The record back, equal to what was saved. Raises ValueError for anything that is no whole record."""
    body, seal, rest = text.rpartition(_SEAL)
    if rest != f'{hashlib.sha256((body + seal).encode()).hexdigest()}"\n}}\n':
        raise ValueError("damaged, checksum")
    plain = json.loads(text)
    if plain.get("schema") != SCHEMA:
        raise ValueError(f"of another version, schema {plain.get('schema')!r:.20}")
    values = {name: _typed(name, plain[name]) for name in _TYPES if name in plain}
    if not values.get("fingerprint"):
        raise ValueError("no fingerprint")
    return RunResult(**values)


def _typed(name: str, value: Any) -> Any:
    kind = _TYPES[name]
    if kind is float and (isinstance(value, (int, float)) or value in ("nan", "inf", "-inf")):
        return float(value)
    if kind == int | None and (value is None or isinstance(value, int)):
        return value
    if kind not in (float, int | None) and isinstance(value, str):
        value.encode()
        if kind is not str and value not in get_args(kind):
            raise ValueError(f"{name} is {value!r:.40}")
        return value
    raise ValueError(f"{name} is {value!r:.40}")


def save(result: RunResult, directory: Path) -> Path:
    """Commit the record of one run to its directory."""
    path = directory / RECORD
    write_durably(path, to_json(result).encode())
    return path


def load(path: Path) -> RunResult:
    """One record. Raises RefusedError naming a file that is no whole record, UnreadableError if nobody can tell."""
    try:
        return from_json(read_regular(path, _LARGEST_RECORD).decode())
    except (ValueError, OverflowError, RecursionError, OSError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        if isinstance(error, OSError) and error.errno not in TELLING:
            raise unreadable(path, error) from error
        raise RefusedError(f"{path}: no whole record ({what}); run the sweep again, or delete it") from error


def load_results(directory: str | os.PathLike[str]) -> list[RunResult]:
    """All records of a sweep's directory, or the one of a run's directory, ordered by run name.

    Raises RefusedError for a damaged record, UnreadableError for one that cannot be read, FileNotFoundError where
    there is no such directory.

    >>> [result.optimizer for result in load_results("outputs/small")]  # of the example of `sweep`
    ['Adam', 'SGD']
    """
    found = find_results(directory)
    for error in found.refused.values():
        raise error
    return sorted(found.records.values(), key=lambda result: result.run_name)


@dataclass(frozen=True)
class Found:
    """The records of a directory, and the errors of the files that are none, by the directory each lies in."""

    records: dict[str, RunResult]
    refused: dict[str, UserError]


def find_results(directory: str | os.PathLike[str]) -> Found:
    """Finds what `load_results` loads, and goes on after a record that is damaged or cannot be read.

    Raises FileNotFoundError where there is no such directory, UnreadableError for what cannot be looked into now.
    """
    found = Found({}, {})
    for path in record_paths(Path(directory)):
        try:
            found.records[path.parent.name] = load(path)
        except UserError as error:
            found.refused[path.parent.name] = error
    return found


def record_paths(root: Path) -> list[Path]:
    """Where the records of a sweep's directory are, or the one of a run's, by the names of the runs' directories.

    Raises FileNotFoundError where there is no such directory, UnreadableError for what cannot be looked into now.
    """
    try:
        if (root / RECORD).is_file():
            return [root / RECORD]
        return sorted(run / RECORD for run in root.iterdir() if _exists(run / RECORD))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"{root}: {'a file, not a' if root.is_file() else 'no such'} directory") from error
    except OSError as error:
        raise unreadable(root, error) from error


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        if error.errno in TELLING:
            return False
        raise
    return True


def to_csv(results: Iterable[RunResult]) -> str:
    """The table: a header, then one line a run; floats with all their digits, None as an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, as OWASP advises.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(column.name for column in COLUMNS)
    writer.writerows([_inert(getattr(result, column.name)) for column in COLUMNS] for result in results)
    return out.getvalue()


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.replace("\r", "\\r")  # which csv leaves unquoted, and readers take for the end of the line
    return f"'{text}" if text.startswith(_FORMULA) else text
