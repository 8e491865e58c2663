"""The study's published rows beside ours: all matched, and judged by spread and collapse."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from omegaconf import OmegaConf

from mnist_lightning.config import OPTIMIZERS, conf_dir
from mnist_lightning.records.results import RunResult
from mnist_lightning.report.published import MISPRINTS, PublishedRow, published_rows
from mnist_lightning.report.versus import NOT_RUN, judge, versus_table
from report_cases import failed, full_grid, judged, record


def row(accuracy: float) -> PublishedRow:
    return PublishedRow("best", "Adam", "mse", 0.001, 32, 2, 1, 6375682, 0.001, accuracy, 4)


def ours(*binary: float) -> list[RunResult]:
    """Runs with these binary accuracies; 0.82 and 0.9 are collapsed ones."""
    return [record(seed=s, accuracy=0.1 if b <= 0.9 else 0.99, binary_accuracy_test=b) for s, b in enumerate(binary)]


def test_every_published_row_is_a_configuration_of_full_grid() -> None:
    params = OmegaConf.load(conf_dir() / "experiment" / "full_grid.yaml").hydra.sweeper.params
    values = [str(params[key]).split(",") for key in ("optimizer", "loss", "lr")]
    values += [str(params[f"model.{key}"]).split(",") for key in ("num_channels", "num_conv", "num_dense")]
    grid = {(OPTIMIZERS[o], loss, float(lr), int(c), int(k), int(d)) for o, loss, lr, c, k, d in product(*values)}
    assert len(grid) == 216
    assert len(published_rows()) == 27
    assert {p.key for p in published_rows()} <= grid


def test_the_published_parameters_are_those_of_the_networks_they_are_compared_with() -> None:
    from mnist_lightning.numerics.model import ConvDenseNet, count_parameters

    for size in {p.key[3:] for p in published_rows()}:
        (parameters,) = {p.num_parameters for p in published_rows() if p.key[3:] == size}
        assert count_parameters(ConvDenseNet(*size)) == parameters


def test_a_full_grid_matches_all_27_rows() -> None:
    assert all(r[-1] != NOT_RUN for r in versus_table(judged(full_grid())).rows)


def test_both_misprints_are_explained() -> None:
    assert "number of parameters" in MISPRINTS[0]
    assert "32 channels" in MISPRINTS[1]


TWO_RUNS = "within our spread, 0.9967 to 1.0000 (n = 2), but two runs say little; of our 3 runs 1 collapsed"


@pytest.mark.parametrize(
    ("published", "binary", "verdict"),
    [
        (0.9989, (), NOT_RUN),
        (0.9989, (0.9990,), "both learned, +0.0001; one run gives no spread"),
        (0.9989, (0.9988, 0.9990, 0.9991), "within our spread"),
        (0.9900, (0.9988, 0.9990, 0.9991), "outside our spread"),
        (0.9989, (0.9988, 0.9990, 0.82), TWO_RUNS),
        (0.9989, (0.82, 0.9), "the study's run learned, none of our 2 did (2 collapsed)"),
        (0.9989, (0.82,), "the study's run learned, ours did not (1 collapsed); one seed says little"),
        (0.8206, (0.82,), "both hardly better than guessing (ours: 1 collapsed)"),
        (0.8206, (0.82, 0.9, 0.99), "the study's run was hardly better than guessing, as 2 of our 3 were (2 coll"),
        (0.8206, (0.9990,), "the study's run was hardly better than guessing, ours learned; one seed says little"),
    ],
)  # fmt: skip
def test_the_verdict_looks_at_spread_and_collapse(published: float, binary: tuple[float, ...], verdict: str) -> None:
    assert judge(row(published), judged(ours(*binary))).startswith(verdict)


def test_a_run_under_other_conditions_is_not_comparable_and_the_verdict_names_them() -> None:
    verdict = judge(row(0.99), judged([record(dataset="synthetic", train_size=3000)]))
    assert verdict == "not comparable: dataset synthetic instead of mnist, train_size 3000 instead of 60000"


def test_a_row_has_the_numbers_of_our_completed_runs_beside_the_published_one() -> None:
    published = next(i for i, p in enumerate(published_rows()) if p.key == ("Adam", "mse", 0.001, 64, 3, 3))
    runs = [*ours(0.998, 0.996, 0.82), failed(seed=7), record(seed=8, dataset="synthetic")]
    runs = [replace(run, num_channels=64, num_conv=3, num_dense=3) for run in runs]
    table = versus_table(judged(runs))
    cells = dict(zip([column.name for column in table.columns], table.rows[published], strict=True))
    p = published_rows()[published]
    assert cells["Study's accuracy"] == p.binary_accuracy_test
    assert cells["Our binary accuracy"] == pytest.approx(2.814 / 3)
    assert cells["Difference"] == pytest.approx(2.814 / 3 - p.binary_accuracy_test)
    assert (cells["Our runs"], cells["Lowest"], cells["Highest"]) == (3, 0.82, 0.998)
    assert isinstance(cells["Our runs"], int)
    assert cells["Our spread"] == pytest.approx(0.002 / 2**0.5)
    assert cells["Collapsed"] == pytest.approx(1 / 3)
    assert cells["Our top-1 accuracy"] == pytest.approx((0.99 * 2 + 0.1) / 3)
    without = next(row for row in table.rows if row[-1] == NOT_RUN)
    assert without[9:-1] == [None, None, 0, *[None] * 5]
    assert table.note == f"{sum(row[-1] != NOT_RUN for row in table.rows)} of 27 published rows have runs of ours."


@pytest.mark.parametrize(
    ("published", "word"),
    [(0.98299, "within"), (0.98297, "outside"), (0.99301, "within"), (0.99303, "outside")],
)
def test_the_spread_is_widened_by_the_rounding_of_the_published_value(published: float, word: str) -> None:
    """Mean 0.988, s 0.001, t 4.303, sqrt(4/3): 0.98303 to 0.99297; four decimals are right to 0.00005."""
    verdict = judge(row(published), judged(ours(0.987, 0.988, 0.989)))
    assert verdict == f"{word} our spread, 0.9830 to 0.9930 (n = 3)"


def test_the_spread_in_the_table_is_that_of_the_runs_that_learned() -> None:
    runs = [replace(run, num_channels=64, num_conv=3, num_dense=3) for run in ours(0.998, 0.996, 0.9)]
    frame = judged(runs)
    frame = frame.assign(verdict=frame["verdict"].where(frame.index != 2, "not yet learned"))
    (row,) = [row for row in versus_table(frame).rows if row[-1] != NOT_RUN and row[1:4] == ["Adam", "mse", 0.001]]
    assert row[12] == pytest.approx(0.002 / 2**0.5)


def verdict_in_table(runs: list[RunResult]) -> str:
    (row,) = [row for row in versus_table(judged(runs)).rows if row[1:4] == ["Adam", "mse", 0.001]]
    return row[-1]


def test_of_other_conditions_only_the_completed_runs_count_and_failures_alone_are_told() -> None:
    other, lost = record(size="64/3/3", dataset="synthetic"), failed(size="64/3/3", seed=1)
    assert verdict_in_table([other, lost]) == "not comparable: dataset synthetic instead of mnist"
    diverged = replace(
        record(size="64/3/3", seed=1), status="diverged", accuracy_test=float("nan")
    )  # in its last epoch
    assert verdict_in_table([other, diverged]) == "not comparable: dataset synthetic instead of mnist"
    assert verdict_in_table([lost]) == "no result: 1 of 1 runs failed or diverged"
    assert verdict_in_table([]) == NOT_RUN


def test_a_row_that_learned_as_ours_is_counted_as_one_that_has_runs() -> None:
    published = next(p for p in published_rows() if not p.collapsed)
    optimizer, loss, rate, *sizes = published.key
    ours = record(optimizer, loss, rate, 0.99, "/".join(map(str, sizes)), binary_accuracy_test=0.998)
    table = versus_table(judged([ours]))
    told = [row[-1] for row in table.rows if row[-1] != NOT_RUN]
    assert any(verdict.startswith("both learned") for verdict in told)
    assert table.note == f"{len(told)} of 27 published rows have runs of ours."


def test_the_spread_is_that_of_the_runs_that_learned() -> None:
    frame = judged(ours(0.9988, 0.9990, 0.9, 0.82))
    frame = frame.assign(verdict=frame["verdict"].where(frame.index != 2, "not yet learned"))
    told = judge(row(0.9989), frame)
    assert told.startswith("within our spread, 0.9967 to 1.0000 (n = 2), but two runs say little; of our 4 runs 1 coll")


def test_failed_runs_alone_are_no_result() -> None:
    assert judge(row(0.99), judged([failed()])) == "no result: 1 of 1 runs failed or diverged"


def test_runs_that_have_not_yet_learned_are_not_called_collapsed() -> None:
    frame = judged(ours(0.9, 0.82, 0.9990))
    slow = frame.assign(verdict=frame["verdict"].where(frame.index != 0, "not yet learned"))
    assert judge(row(0.8206), slow).endswith("as 2 of our 3 were (1 collapsed, 1 not yet learned)")
    assert judge(row(0.9989), slow[:2]) == (
        "the study's run learned, none of our 2 did (1 collapsed, 1 not yet learned)"
    )
