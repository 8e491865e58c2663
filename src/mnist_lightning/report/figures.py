"""All figures of a report: which of them the records and stored files allow, with heading and caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_lightning.report.frame import distinct
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.style import Picture, looks, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# In the page's order: name of the files, heading. A name that is not drawn this time is removed from the directory.
HEADINGS = {
    "accuracy_by_learning_rate": "Accuracy by learning rate and optimizer",
    "heat_map": "The whole grid",
    "accuracy_by_network_size": "Accuracy by network size",
    "learning_curves": "Learning curves",
    "confusion_matrix": "Confusion matrix of the best run",
    "misclassified": "What a mistake looks like",
    "time_and_accuracy": "Time against accuracy",
    "training_images": "Nine training images",
}


@dataclass(frozen=True)
class Figures:
    """The drawn figures, and for each that is missing the reason."""

    pictures: list[Picture]
    missing: dict[str, str]


def draw_figures(ranking: Ranking, stored: Stored) -> Figures:
    """Every figure that can be drawn. Without matplotlib there are none, and the reason says so."""
    plans = _plans(ranking, stored)
    missing = {name: plan for name, plan in plans.items() if isinstance(plan, str)}
    try:
        import matplotlib  # noqa: F401 - only whether it is there
    except ImportError:
        return Figures([], dict.fromkeys(HEADINGS, "figures need matplotlib: pip install matplotlib"))
    drawn = [
        picture(name, HEADINGS[name], plan[0], plan[1]) for name, plan in plans.items() if not isinstance(plan, str)
    ]
    return Figures(drawn, missing)


Plan = tuple[str, Callable[[], "Figure"]]


def _plans(ranking: Ranking, stored: Stored) -> dict[str, Plan | str]:
    """{name: (caption, how to draw)} or {name: why not}, in the page's order."""
    plans = {**_of_runs(ranking), **_of_files(ranking, stored)}
    return {name: plans[name] for name in HEADINGS}


def _of_runs(ranking: Ranking) -> dict[str, Plan | str]:
    from mnist_lightning.report import figures_grid as grid

    done = ranking.finished
    plans: dict[str, Plan | str] = dict.fromkeys(
        ("accuracy_by_learning_rate", "heat_map", "accuracy_by_network_size", "time_and_accuracy"),
        "no run was completed",
    )
    if done.empty:
        return plans
    one_run = "there is a single run"
    plans["accuracy_by_learning_rate"] = one_run
    if distinct(done, ("optimizer", "learning_rate")) > 1:
        caption = (
            "Each point is a run, each line goes through the means of "
            "one optimizer. The tinted band is where runs have collapsed."
        )
        plans["accuracy_by_learning_rate"] = caption, lambda: grid.by_learning_rate(ranking)
    plans["heat_map"] = one_run if len(ranking.frame) < 2 else "the settings are not a grid that fits a page"
    if grid.fits_heat_map(ranking.frame):
        caption = (
            "Mean test accuracy of each setting, over its seeds. Network size: "
            "channels / convolutions after the first / hidden dense layers."
        )
        plans["heat_map"] = caption, lambda: grid.heat_map(ranking)
    plans["accuracy_by_network_size"] = f"all runs have the same network, {done['architecture'].iloc[0]}"
    if done.loc[done["num_parameters"] > 0, "num_parameters"].nunique() > 1:
        caption = (
            "Dots: runs that learned. The lines join the best run of each optimizer and size. Above: "
            "channels / convolutions after the first / hidden dense layers."
        )
        plans["accuracy_by_network_size"] = caption, lambda: grid.by_network_size(ranking)
    plans["time_and_accuracy"] = one_run if len(done) < 2 else "no durations are stored"
    if (done["duration_seconds"] > 0).sum() > 1:
        caption = "Up and to the left is better. Durations include evaluation, and depend on what else the machine did."
        plans["time_and_accuracy"] = caption, lambda: grid.by_time(ranking)
    return plans


def _of_files(ranking: Ranking, stored: Stored) -> dict[str, Plan | str]:
    from mnist_lightning.report import figures_images as images
    from mnist_lightning.report.figures_curves import learning_curves

    reason = (
        "no run was completed"
        if ranking.best is None
        else "the best run has no predictions.npz (trained by an earlier version)"
    )
    plans: dict[str, Plan | str] = dict.fromkeys(("confusion_matrix", "misclassified", "training_images"), reason)
    plans["learning_curves"] = "no run has a metrics.csv"
    if stored.curves:
        held_out = all((c.run.val_size or 0) > 0 for c in stored.curves)
        on = "images held out of training" if held_out else "the test set, which validates here, as in the study"
        caption = (
            f"Solid: on {on}. Dotted: on the training images, during the epoch. "
            "The best run, the best of each other optimizer, one that collapsed."
        )
        plans["learning_curves"] = caption, lambda: learning_curves(stored.curves, looks(ranking.frame))
    predictions = stored.predictions
    if predictions is None:
        return plans
    n = len(predictions.labels)
    caption = (
        f"{predictions.num_wrong:,} of {n:,} test images are wrong. Rows: what the "
        "image is; columns: what the network said. Darker: more mistakes."
    )
    plans["confusion_matrix"] = caption, lambda: images.confusion_matrix(predictions)
    plans["misclassified"] = "the best run made no mistake"
    if len(predictions.mistake_images):
        caption = (
            f"The best run's {len(predictions.mistake_images)} most confident "
            f"mistakes of {predictions.num_wrong:,}, the surest first."
        )
        plans["misclassified"] = caption, lambda: images.mistakes(predictions)
    if len(predictions.sample_images):
        caption = "Chosen at random from the training set, by the best run's seed."
        plans["training_images"] = caption, lambda: images.training_images(predictions)
    return plans
