"""All figures of a report: which of them the records and stored files allow, with heading and caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mnist_lightning.records.predictions import Predictions
from mnist_lightning.report.about import DURATIONS
from mnist_lightning.report.frame import distinct
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.running import Running
from mnist_lightning.report.search import FEW, Searched
from mnist_lightning.report.stored import MOST_CURVES, Curve, Stored, thing_of
from mnist_lightning.report.style import Picture, looks, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# In the page's order: name of the files, heading. A name that is not drawn this time is removed from the directory.
HEADINGS = {
    "optimization_history": "The search, trial by trial",
    "parameter_importance": "Which parameters mattered",
    "accuracy_by_learning_rate": "Accuracy by learning rate and optimizer",
    "heat_map": "The whole grid",
    "accuracy_by_network_size": "Accuracy by network size",
    "learning_curves": "Learning curves",
    "confusion_matrix": "Confusion matrix",
    "misclassified": "What a mistake looks like",
    "time_and_accuracy": "Time against accuracy",
    "training_images": "Nine training images",
}


MOST_RUNNING = 8  # curves of runs at work


@dataclass(frozen=True)
class Figures:
    """The drawn figures, and for each that is missing the reason."""

    pictures: list[Picture]
    missing: dict[str, str]


Plan = tuple[str, Callable[[], "Figure"]]  # caption, how to draw


def draw_figures(ranking: Ranking, stored: Stored) -> Figures:
    """Every figure that can be drawn. Without matplotlib there are none, and the reason says so."""
    if not _can_draw():
        return Figures([], dict.fromkeys(HEADINGS, "figures need matplotlib: pip install matplotlib"))
    plans = (
        _of_search(stored.searched)
        | _of_runs(ranking)
        | _of_curves(ranking, stored.curves)
        | _of_images(ranking, stored.predictions)
    )
    in_order = {name: plans[name] for name in HEADINGS if name in plans}
    drawn = [picture(name, HEADINGS[name], *plan) for name, plan in in_order.items() if isinstance(plan, tuple)]
    return Figures(drawn, {name: plan for name, plan in in_order.items() if isinstance(plan, str)})


def _can_draw() -> bool:
    try:
        import matplotlib  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


def running_picture(running: Sequence[Running]) -> Picture | None:
    """The curves so far of the runs at work, for the page alone; None where no epoch has ended or nothing can draw."""
    begun = [run for run in running if run.curve("val_accuracy") or run.curve("train_accuracy")]
    if not begun or not _can_draw():
        return None
    from mnist_lightning.report.figures_curves import MOST_DOTTED, running_curves

    of = f"The first {MOST_RUNNING} of {len(begun):,}. " if len(begun) > MOST_RUNNING else ""
    shown = begun[:MOST_RUNNING]
    dotted = " Dotted: on the training images, during the epoch." if len(shown) <= MOST_DOTTED else ""
    caption = f"{of}Solid: validation.{dotted}"
    return picture("running_curves", "Learning curves so far", caption, lambda: running_curves(shown))


def _of_search(searched: Searched | None) -> dict[str, Plan | str]:
    """Those of a search alone: a grid does not miss them."""
    if searched is None:
        return {}
    from mnist_lightning.report import figures_search

    history: Plan | str = "no trial was completed"
    if searched.completed:
        caption = f"Each point is a trial, the line the best so far. Below: those that gave none. {searched.sentence}"
        history = (caption, lambda: figures_search.optimization_history(searched))
    importance: Plan | str = searched.why_not
    if not searched.why_not:
        n = len(searched.completed)
        caution = " Of so few it is hardly more than a hint." if n < FEW else ""
        told = (
            f"By PED-ANOVA of the {n:,} completed trials: how differently the best tenth of them are spread along each "
            f"parameter, compared with all.{caution}"
        )
        importance = (told, lambda: figures_search.parameter_importance(searched))
    return {"optimization_history": history, "parameter_importance": importance}


def _of_runs(ranking: Ranking) -> dict[str, Plan | str]:
    """{name: caption and how to draw, or why not}, as in the other two."""
    from mnist_lightning.report import figures_grid as grid

    done = ranking.finished
    names = ("accuracy_by_learning_rate", "heat_map", "accuracy_by_network_size", "time_and_accuracy")
    if done.empty:
        return dict.fromkeys(names, "no run was completed")
    one_run = "there is a single run"
    by_rate = (
        "Each point is a run, each line goes through the means of one optimizer's runs, over whatever else varies. "
        "Runs in the tinted band are hardly better than guessing."
    )
    whole = (
        f"Mean test accuracy of each setting, over {_over(ranking)}. Network size: "
        "channels / convolutions after the first / hidden dense layers."
    )
    by_size = (
        "Each faint point is a run. The lines go through the means of each optimizer's runs of a size, over whatever "
        "else varies; the bars span the middle half of them. What each picture shows stands above it. Numbers on top: "
        "channels / convolutions after the first / hidden dense layers."
    )
    by_time = (
        "Up and to the left is better. Durations include evaluation, and depend on what else the machine did. "
        f"{DURATIONS}"
    )
    no_grid = one_run if len(ranking.frame) < 2 else "the settings are not a grid that fits a page"
    same = f"all runs have the same network, {done['architecture'].iloc[0]}"
    timed, sized = done[done["duration_seconds"] > 0], done[done["num_parameters"] > 0]
    no_time = one_run if len(done) < 2 else "no durations are stored"
    possible = (
        (
            distinct(done, ("optimizer", "learning_rate")) > 1,
            by_rate + grid.what_is_shown(done, panels=True),
            grid.by_learning_rate,
            one_run if len(done) < 2 else "all completed runs have one optimizer and one learning rate",
        ),
        (grid.fits_heat_map(ranking.frame), whole, grid.heat_map, no_grid),
        (sized["num_parameters"].nunique() > 1, by_size + grid.what_is_shown(sized), grid.by_network_size, same),
        ((done["duration_seconds"] > 0).sum() > 1, by_time + grid.what_is_shown(timed), grid.by_time, no_time),
    )
    return {
        name: (caption, partial(draw, ranking)) if can else why_not
        for name, (can, caption, draw, why_not) in zip(names, possible, strict=True)
    }


def _over(ranking: Ranking) -> str:
    """Over what a mean goes where optimizer, loss, learning rate and network are the same."""
    return "seeds and the other keys that vary" if (ranking.frame["further"] != "").any() else "its seeds"


def _of_curves(ranking: Ranking, curves: Sequence[Curve]) -> dict[str, Plan | str]:
    from mnist_lightning.report.figures_curves import learning_curves

    if not curves:
        return {"learning_curves": "no run has a metrics.csv"}
    held_out = all((c.run.val_size or 0) > 0 for c in curves)
    on = "images held out of training" if held_out else "the test set, which validates here, as in the study"
    caption = (
        f"Solid: on {on}. Dotted, or a cross: on the training images, during the epoch. "
        "The best run, the best of each other optimizer, and one each that had not yet learned, collapsed, diverged, "
        "or of which it cannot be told; of several seeds the median one."
    )
    if (optimizers := ranking.finished["optimizer"].nunique()) > MOST_CURVES - 3:
        caption += f" Of {optimizers:,} optimizers the best ones."
    return {"learning_curves": (caption, lambda: learning_curves(curves, looks(ranking.frame)))}


def _of_images(ranking: Ranking, predictions: Predictions | None) -> dict[str, Plan | str]:
    from mnist_lightning.report import figures_images as images

    reason = "no run was completed"
    if ranking.best:
        reason = f"{ranking.best_is} has no predictions.npz"
    if predictions is None:
        return dict.fromkeys(("confusion_matrix", "misclassified", "training_images"), reason)
    mistakes, wrong = len(predictions.mistake_images), f"{predictions.num_wrong:,}"
    thing = thing_of(ranking.best.dataset if ranking.best else "")
    counted = (
        f"Of {ranking.best_is}. {wrong} of {len(predictions.labels):,} test images are wrong. Rows: what the "
        "image is; columns: what the network said. The deeper the orange, the more mistakes; blue: right."
    )
    surest = f"The {mistakes} most confident of the {wrong} mistakes of {ranking.best_is}, the surest first."
    chosen = f"Chosen at random from the training set, by the seed of {ranking.best_is}."
    return {
        "confusion_matrix": (counted, lambda: images.confusion_matrix(predictions, thing)),
        "misclassified": (surest, lambda: images.mistakes(predictions))
        if mistakes
        else f"{ranking.best_is} made no mistake",
        "training_images": (chosen, lambda: images.training_images(predictions))
        if len(predictions.sample_images)
        else reason,
    }
