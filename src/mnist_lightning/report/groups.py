"""A setting: runs that differ in nothing but the seed, and what their metrics have in common."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mnist_lightning.report.frame import SIZES
from mnist_lightning.report.verdicts import NOT_YET, UNCLEAR

# What makes a setting, in the order in which tables name it; the frame's `setting` has the further keys.
SETTING = ("optimizer", "loss_func", "learning_rate", *SIZES)
MEASURED = ("loss", "mse", "mae", "accuracy", "loss_test", "mse_test", "mae_test", "accuracy_test")
_AVERAGED = [*MEASURED, "binary_accuracy_test", "accuracy_val", "duration_seconds"]
_ONCE = (
    *SETTING,
    "architecture",
    "network",
    "further",
    "dataset",
    "train_size",
    "test_size",
    "val_size",
    "batch_size",
    "precision",
)
_ORDER = [*SIZES, "loss_func", "optimizer", "learning_rate", "further", "setting"]


def settings(frame: pd.DataFrame, column: str = "accuracy_test") -> pd.DataFrame:
    """One row per setting, ordered by network, loss, optimizer and learning rate.

    Means over the runs that finished, under the names of their columns; of `column`, by which settings are ranked, also
    the sample `deviation` between runs, `lowest` and `highest`. Whole numbers: `runs` that finished, `all_runs`
    that there should be, by the plan or by the records, `lost` the records of runs that did not finish and were not
    pruned, `diverged`.
    `collapsed`, `not_yet` and `unclear` are shares of the runs that finished. NaN where there is no run, or for the
    deviation no second one.
    """
    done = frame["finished"]
    values = frame[_AVERAGED].where(np.isfinite(frame[_AVERAGED])).where(done, axis=0)
    shares = {"collapsed": frame["collapsed"], "not_yet": frame["verdict"] == NOT_YET}
    shares["unclear"] = frame["verdict"] == UNCLEAR
    of_runs = frame.assign(
        **{name: values[name] for name in _AVERAGED},
        **{name: share.astype("float64").where(done) for name, share in shares.items()},
        diverged=frame["status"] == "diverged",
        lost=~(done | (frame["status"] == "pruned")),
        ranked=values[column],
    )
    result = of_runs.groupby("setting", as_index=False).agg(
        **{name: (name, "first") for name in (*_ONCE, "num_parameters", "run_name")},
        **{name: (name, "mean") for name in (*_AVERAGED, *shares)},
        deviation=("ranked", "std"),
        lowest=("ranked", "min"),
        highest=("ranked", "max"),
        runs=("finished", "sum"),
        all_runs=("finished", "size"),
        lost=("lost", "sum"),
        planned=("planned", "max"),
        diverged=("diverged", "sum"),
    )  # pyright: ignore[reportCallIssue] - names of results are free
    result["all_runs"] = result[["all_runs", "planned"]].max(axis=1).astype("int64")
    return result.sort_values(_ORDER, na_position="first", ignore_index=True)
