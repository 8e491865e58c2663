"""The study's tables from our runs: best runs, optimizer and learning rate, network size; and seeds, failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mnist_lightning.config.keys import loss_label
from mnist_lightning.records.results import COLUMNS
from mnist_lightning.report.frame import SIZES
from mnist_lightning.report.ranking import BY_VALIDATION, OVER_SEEDS, Ranking
from mnist_lightning.report.running import Running
from mnist_lightning.report.state import WHY as WHY_MISSING
from mnist_lightning.report.state import State, Unfinished
from mnist_lightning.report.table import FURTHER, Column, Table, record_column, table_of
from mnist_lightning.report.verdicts import COLLAPSED, LEARNED, MEANING, NOT_YET, UNCLEAR, VERDICTS

BEST_ROWS = 18  # as many as the study's first table has

_SETTING = [
    record_column("optimizer", "Optimizer"),
    record_column("loss_func", "Loss function"),
    record_column("learning_rate", "Learning rate"),
]
_METRICS = [
    *(record_column(name, f"Train {name}") for name in ("loss", "mse", "mae")),
    record_column("accuracy", "Train accuracy (top-1)"),
    *(record_column(f"{name}_test", f"Test {name}") for name in ("loss", "mse", "mae")),
    record_column("accuracy_test", "Test accuracy (top-1)"),
]
_SIZE = [
    record_column("num_channels", "Channels"),
    record_column("num_conv", "Conv2D layers"),
    record_column("num_dense", "Dense layers"),
    record_column("num_parameters", "Parameters"),
]
_SEED = record_column("seed", "Seed")
_RUNS = Column("Runs", "0", "completed runs of this setting, usually one per seed", "runs")
_LOST = Column("Lost runs", "0", "failed, diverged or without accuracy", "lost")
_COLLAPSED = Column("Collapsed", "0%", "share of the completed runs that collapsed", "collapsed")
_NOT_YET = Column("Not yet learned", "0%", "share of the completed runs whose training error still fell", "not_yet")
_UNCLEAR = Column(
    "Unclear",
    "0%",
    "share of the completed runs that are hardly better than guessing, and nothing tells why",
    "unclear",
)


def _accuracy(header: str, about: str, key: str) -> Column:
    return record_column("accuracy_test", header, about, key)


def _further(ranking: Ranking) -> list[Column]:
    """The columns that tell settings apart which the others do not."""
    return _own_networks(ranking) + ([FURTHER] if (ranking.frame["further"] != "").any() else [])


def _own_networks(ranking: Ranking) -> list[Column]:
    """The column that names networks of the user's, if there are any."""
    return [record_column("network", "Network")] if (ranking.frame["network"] != "").any() else []


def _states(ranking: Ranking) -> list[Column]:
    """The shares of runs that did not learn: of collapsed ones always, of the others if there are any."""
    settings = ranking.settings
    return [_COLLAPSED, *(c for c in (_NOT_YET, _UNCLEAR) if (settings[c.key] > 0).any())]


def results_table(ranking: Ranking) -> Table:
    """Every run with every field of its record, in the records' order; the best setting's are marked."""
    best = ranking.frame.index.isin(ranking.best_rows)
    marks = ranking.frame["verdict"].mask(best, "best").tolist()
    return table_of("Results", [record_column(c.name) for c in COLUMNS], ranking.frame, marks=marks)


def best_table(ranking: Ranking) -> Table:
    """The study's first table: its columns, our 18 best settings."""
    columns = [Column("Rank", "0", key="rank"), *_SETTING, *_METRICS, *_SIZE, *_further(ranking)]
    if ranking.rule is BY_VALIDATION:
        columns.append(record_column("accuracy_val", "Validation accuracy (top-1)"))
    note = f"{ranking.sentence} Accuracy is top-1; the study's is binary accuracy, see Versus report."
    if ranking.several_seeds:
        columns += [_RUNS, _LOST, _deviation(ranking), *_states(ranking)]
        note += " One row per setting; metrics are means over its completed runs."
    best = ranking.ranked_settings.head(BEST_ROWS)
    return table_of("Best", columns, best.assign(rank=range(1, len(best) + 1)), note, ["best"])


def _deviation(ranking: Ranking) -> Column:
    about = f"of the {ranking.rule.name} between runs, n - 1 in the denominator"
    return Column("Standard deviation", "0.0000", about, "deviation")


def optimizer_lr_table(ranking: Ranking) -> Table:
    """The study's second table, for every architecture and loss; means where a setting has several runs."""
    settings = ranking.settings
    none = settings["runs"] == 0
    wrong = [none & (settings["diverged"] > 0), none]
    wrong += [settings[state] >= 0.5 for state in ("collapsed", "not_yet", "unclear")]
    marks = np.select(wrong, ["diverged", "failed", COLLAPSED, NOT_YET, UNCLEAR], "")
    best = settings["setting"].isin(ranking.ranked_settings["setting"].head(1))
    note = "One row per setting: architecture by architecture, loss by loss. Several runs of a setting are averaged."
    columns = [*_SETTING, *_METRICS, *_SIZE, *_further(ranking), _RUNS, *_states(ranking)]
    return table_of("Optimizer x lr", columns, settings, note, np.where(best, "best", marks).tolist())


def network_size_table(ranking: Ranking) -> Table:
    """The study's section 8.3: accuracy against the number of parameters, a row for each architecture."""
    columns = [
        *_SIZE,
        *_own_networks(ranking),
        _RUNS,
        _accuracy("Best test accuracy (top-1)", "of the architecture's best setting, the mean of its runs", "best"),
        _accuracy("Mean of runs that learned", "test accuracy of all settings' runs that learned", "learned"),
        *_states(ranking),
        Column(
            "Best setting", about="optimizer, loss, learning rate, architecture and what else varies", key="setting"
        ),
    ]
    done = ranking.ranked.dropna(subset="num_parameters")
    done = done.assign(
        learned=done["accuracy_test"].where(done["verdict"] == LEARNED),
        not_yet=done["verdict"] == NOT_YET,
        unclear=done["verdict"] == UNCLEAR,
    )
    sizes = done.groupby("architecture", sort=False).agg(
        **{name: (name, "first") for name in (*SIZES, "network", "num_parameters", "setting", "place")},
        **{name: (name, "mean") for name in ("learned", "collapsed", "not_yet", "unclear")},
        runs=("setting", "size"),
    )  # pyright: ignore[reportCallIssue] - names of results are free
    means = ranking.ranked_settings.set_index("setting")["accuracy_test"]
    sizes = sizes.assign(best=sizes["setting"].map(means))
    sizes = sizes.sort_values(["num_parameters", "num_channels"], kind="stable")
    marks = ["best" if place == 1 else "" for place in sizes["place"]]
    return table_of("Network size", columns, sizes, "Sorted by the number of trainable parameters.", marks)


def seeds_table(ranking: Ranking) -> Table:
    """Mean, standard deviation, n and the share of collapsed runs of each setting; empty for a single seed."""
    name = ranking.rule.name
    columns = [
        *_SETTING,
        *_SIZE,
        *_further(ranking),
        _RUNS,
        _LOST,
        Column("Diverged", "0", "runs whose loss became NaN or infinite; not in the mean", "diverged"),
        _accuracy("Mean test accuracy (top-1)", "over the completed runs, collapsed ones too", "accuracy_test"),
        _deviation(ranking),
        _accuracy("Lowest", name, "lowest"),
        _accuracy("Highest", name, "highest"),
        record_column("binary_accuracy_test", "Mean binary accuracy", "test accuracy as the study counts it"),
        *_states(ranking),
    ]
    if not ranking.several_seeds:
        note = "This sweep has a single seed. Spread over seeds: add seed=0,1,2 to the command."
        return Table("Seeds", columns, [], note)
    ranked = ranking.ranked_settings
    rest = ranking.settings[~ranking.settings["setting"].isin(ranked["setting"])]
    note = f"Runs that differ in the seed only. {OVER_SEEDS}"
    return table_of("Seeds", columns, pd.concat([ranked, rest]), note, ["best"] * (len(ranked) > 0))


def running_table(runs: Sequence[Running]) -> Table:
    """The runs at work, in the plan's order: how far each is. They have no record, so they are ranked nowhere."""
    columns = [
        Column("Run", about="the keys that vary in the sweep"),
        Column("Epoch", about="the one it is in, of how many"),
        Column("Done", "0%", "share of its training"),
        _accuracy("Validation accuracy (top-1)", "after the last whole epoch", ""),
        Column("Directory", about="of the run, in the sweep's", key="run_name"),
    ]
    rows: list[list[Any]] = [
        [r.label, r.how_far.removeprefix("epoch "), r.fraction, r.val_accuracy, r.run_name] for r in runs
    ]
    n, together = len(rows), sum(r.together > 1 for r in runs)
    note = f"{n:,} run{'s are' if n != 1 else ' is'} being trained. What has no record yet is not ranked."
    if together > 1:
        note += f" {'All' if together == n else f'{together:,}'} of them are trained together, as one stacked network."
    return Table("Running now", columns, rows, note, places=[r.run_name for r in runs])


def failures_table(ranking: Ranking, state: State | None = None) -> Table:
    """Every run without a result to rank, every one that did not learn, every missing one: what happened, and where."""
    columns = [
        Column("What", about="failed: an error; diverged: NaN or infinity; the others are explained below", key="what"),
        *_SETTING,
        *_SIZE[:3],
        *_further(ranking),
        _SEED,
        record_column("accuracy_test", "Test accuracy (top-1)"),
        record_column("binary_accuracy_test", "Binary accuracy"),
        Column("Why", about="the error, or what the learning curve shows", key="why"),
        record_column("run_name", "Run"),
    ]
    wrong = ranking.frame[~ranking.frame["verdict"].isin([LEARNED, "pruned"])]
    wrong = wrong.assign(
        what=wrong["verdict"], order=wrong["verdict"].map({verdict: -i for i, verdict in enumerate(VERDICTS)})
    )
    wrong = wrong.sort_values(["order", "run_name"])
    table = table_of("Failures", columns, wrong, MEANING, wrong["verdict"].tolist())
    missing = [run for run in (state or State()).unfinished if run.what != "running"]
    rows = [[known.get(c.key) for c in columns] for known in map(_missing, missing)]
    places = [run.run_name if run.what != "never begun" else "" for run in missing]
    return replace(table, rows=[*table.rows, *rows], places=[*wrong["place_on_disk"], *places])


def _missing(run: Unfinished) -> dict[str, Any]:
    """A planned run without a record as a row of the failures: by key, what the plan says of it."""
    known = {
        "loss_func": loss_label(str(run.value("loss"))),
        "learning_rate": run.value("lr"),
        "seed": run.value("seed"),
    }
    known |= {name: run.value("model", name) for name in SIZES} | {"network": run.value("model", "_target_")}
    known |= {"run_name": run.run_name, "optimizer": run.optimizer}
    return known | {"what": "missing", "why": WHY_MISSING[run.what]}
