"""A setting: runs that differ in nothing but the seed, and what their metrics have in common."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mnist_lightning.report.frame import SIZES

# What makes a setting, in the order in which tables name it. A failed run knows its sizes only as far as they
# were given, so sizes and epochs are compared among runs that ended.
SETTING = ("optimizer", "loss_func", "learning_rate", *SIZES)
_CONDITIONS = ("dataset", "train_size", "test_size", "val_size", "batch_size", "precision")
MEASURED = ("loss", "mse", "mae", "accuracy", "loss_test", "mse_test", "mae_test", "accuracy_test")
_AVERAGED = [*MEASURED, "binary_accuracy_test"]
_ORDER = [*SIZES, "loss_func", "optimizer", "learning_rate", "run_name"]


def settings(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per setting of the runs that ended, ordered by network, loss, optimizer and learning rate.

    Means over the runs that finished, under the names of their columns; of the test accuracy also the sample
    `deviation` between runs, `lowest` and `highest`; `runs` and `diverged` count runs, `collapsed` is the share of
    those that finished. NaN where there is no run, or for the deviation no second one.
    """
    ended = frame[frame["status"] != "failed"].copy()
    ended["number"] = ended.groupby(_keys(ended), sort=False, dropna=False).ngroup()
    values = ended[_AVERAGED]
    ended[_AVERAGED] = values.where(np.isfinite(values)).where(ended["finished"])
    ended["diverged"] = ended["status"] == "diverged"
    ended["collapsed"] = ended["collapsed"].astype("float64").where(ended["finished"])
    result = ended.groupby("number").agg(
        **{column: (column, "first") for column in (*SETTING, "num_parameters", "run_name", "architecture")},
        **{column: (column, "mean") for column in _AVERAGED},
        deviation=("accuracy_test", "std"),
        lowest=("accuracy_test", "min"),
        highest=("accuracy_test", "max"),
        runs=("finished", "sum"),
        diverged=("diverged", "sum"),
        collapsed=("collapsed", "mean"),
    )  # pyright: ignore[reportCallIssue] - names of results are free
    return result.sort_values(_ORDER, na_position="first", ignore_index=True)


def _keys(ended: pd.DataFrame) -> list[str]:
    """Everything but the seed; epochs only where one seed was trained twice: early stopping moves them, too."""
    keys = [*SETTING, *_CONDITIONS]
    epochs = ended.groupby([*keys, "seed"], dropna=False)["epochs"].nunique(dropna=False)
    return [*keys, "epochs"] if (epochs > 1).any() else keys
