"""report/findings.py: the rule of the verdict, on made-up records, also on those where nothing can be told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.findings import FAILS, HOLDS, UNTOLD, Finding, findings, findings_table
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.terminal import leaderboard
from report_cases import diverged, failed, judged, record, store

PUBLISHED = {  # binary accuracy of the second table, and the first table's losses and sizes
    ("Adam", 0.001): 0.8206, ("Adam", 0.01): 0.9, ("Adam", 0.1): 0.8196,
    ("RMSprop", 0.001): 0.9989, ("RMSprop", 0.01): 0.8196, ("RMSprop", 0.1): 0.8206,
    ("SGD", 0.001): 0.9, ("SGD", 0.01): 0.9842, ("SGD", 0.1): 0.9979,
}  # fmt: skip
LARGE = 10_000_000


def run(optimizer: str, lr: float, binary: float, seed: int = 0, **more: object) -> RunResult:
    """A run of the study's network 64/3/3 that learned, or not, by its binary accuracy."""
    accuracy = 0.1 if binary <= 0.9005 else 1 - 5 * (1 - binary)
    more = {"size": "64/3/3", "num_parameters": LARGE, "binary_accuracy_test": binary, **more}
    return record(optimizer, lr=lr, accuracy=accuracy, seed=seed, **more)  # pyright: ignore[reportArgumentType] - fields by name


def as_published(seeds: Sequence[int] = (0, 1, 2), **more: object) -> list[RunResult]:
    """Runs as the study has them, a hair apart from seed to seed, with both losses and two networks."""
    made = []
    for (optimizer, lr), seed in product(PUBLISHED, seeds):
        binary, hair = PUBLISHED[optimizer, lr], 0.00002 * seed
        learned = binary > 0.9005
        for loss, size, behind in (("mse", "64/3/3", 0), ("mae", "64/3/3", 0.001), ("mse", "64/3/5", 0.0004)):
            got = binary - hair - (behind + hair * behind * 100 if learned else 0)
            shape = {"loss": loss, "size": size, "num_parameters": LARGE + (size == "64/3/5")}
            made.append(run(optimizer, lr, got, seed, **shape | more))
    return made


def verdicts(results: list[RunResult]) -> dict[str, Finding]:
    return {finding.claim: finding for finding in findings(judged(results))}


def changed(results: list[RunResult], where: Callable[[RunResult], bool], **values: object) -> list[RunResult]:
    return [replace(r, **values) if where(r) else r for r in results]  # pyright: ignore[reportArgumentType] - fields by name


def test_runs_that_are_the_studys_bear_out_every_finding() -> None:
    told = verdicts(as_published())
    assert {claim: f.verdict for claim, f in told.items() if f.verdict != HOLDS} == {}
    assert len(told) == 14
    assert all(f.seeds == 3 for f in told.values())


def test_no_verdict_rests_on_one_seed() -> None:
    told = verdicts(as_published(seeds=(5,)))
    assert {f.verdict for f in told.values()} == {UNTOLD}
    assert {f.why for f in told.values()} <= {"one seed", "fewer than two seeds have all runs of both sides"}


def test_what_was_not_run_is_not_judged() -> None:
    told = verdicts([r for r in as_published() if r.optimizer == "SGD"])
    assert {f.verdict for claim, f in told.items() if claim.startswith("SGD")} == {HOLDS}
    for claim in (
        "Adam at 0.1 does not learn",
        "At 0.001 RMSprop beats Adam",
        "The best of RMSprop beats the best of SGD",
    ):
        assert (told[claim].verdict, told[claim].why, told[claim].seeds) == (UNTOLD, "not run", 0)


@pytest.mark.parametrize(
    "results",
    [
        [],
        [record()],
        [failed(seed=seed) for seed in range(3)],
        as_published(dataset="synthetic"),
        as_published(batch_size=128),
    ],
    ids=["none", "one run", "failed", "other data", "other batches"],
)
def test_runs_that_speak_to_nothing_have_no_findings(results: list[RunResult]) -> None:
    frame = judged(results) if results else pd.DataFrame()
    assert findings(frame) == []


ADAM = "Adam at 0.001 does not learn"


def adam(*states: str, **more: object) -> Finding:
    """The finding about Adam at 0.001 for runs of these states, one a seed."""
    made = {"learned": 0.99, "collapsed": 0.82}
    runs = [
        replace(diverged("Adam"), seed=seed)
        if state == "diverged"
        else run("Adam", 0.001, made.get(state, 0.9), seed, **more)
        for seed, state in enumerate(states)
    ]
    frame = judged(runs)
    frame["verdict"] = [state if state != "diverged" else v for state, v in zip(states, frame["verdict"], strict=True)]
    return next(f for f in findings(frame) if f.claim == ADAM)


@pytest.mark.parametrize(
    ("states", "verdict", "why"),
    [
        (("collapsed",) * 3, HOLDS, "seeds 0, 1, 2: 3 collapsed"),
        (("collapsed", "diverged"), HOLDS, "seeds 0, 1: 1 collapsed, 1 diverged"),
        (("learned",) * 3, FAILS, "seeds 0, 1, 2: all learned"),
        (("learned", "learned", "collapsed"), UNTOLD, "it is a matter of the seed: 1 collapsed, 2 learned"),
        (("collapsed", "unclear"), UNTOLD, "none learned, but whether they would have is not known"),
        (("not yet learned",) * 2, UNTOLD, "none learned, but whether they would have is not known"),
    ],
)
def test_that_a_setting_does_not_learn_is_judged_by_all_its_runs(
    states: tuple[str, ...], verdict: str, why: str
) -> None:
    finding = adam(*states)
    assert (finding.verdict, finding.why.startswith(why)) == (verdict, True), finding.why


def test_the_interval_of_a_share_is_wilsons() -> None:
    finding = adam(*["collapsed"] * 10)
    assert (finding.low, finding.high) == (pytest.approx(0), pytest.approx(0.2775, abs=1e-4))  # as in any table
    finding = adam("learned", "collapsed")
    assert (finding.low, finding.high) == (pytest.approx(0.0945, abs=1e-4), pytest.approx(0.9055, abs=1e-4))


def test_a_smaller_network_that_learns_refutes_nothing_and_one_that_dies_confirms() -> None:
    small = {"size": "8/2/1", "num_parameters": 1_600_000}
    assert adam("learned", "learned", **small).verdict == UNTOLD
    assert "a network smaller than any of the study's" in adam("learned", "learned", **small).why
    assert adam("collapsed", "collapsed", **small).verdict == HOLDS


def test_after_fewer_steps_that_a_setting_died_is_told_and_that_it_learned_is_not() -> None:
    """It might have collapsed later, as the study's did within twenty epochs."""
    assert adam("learned", "learned", epochs=1).verdict == UNTOLD
    assert adam("learned", "learned", epochs=1).why.startswith("all learned, but fewer training steps")
    assert adam("collapsed", "collapsed", epochs=1).verdict == HOLDS
    assert adam("learned", "learned", train_size=6_000).verdict == UNTOLD


def test_fewer_steps_do_not_tell_what_more_would_have_done() -> None:
    told = verdicts(as_published(epochs=1))
    slow = "SGD at 0.001 is too slow to learn in 20 epochs"
    assert (told[slow].verdict, told[slow].why.partition(",")[0]) == (UNTOLD, "none learned")
    decided = {claim for claim, f in told.items() if f.is_decided}
    assert decided
    assert all(claim.endswith("does not learn") for claim in decided)
    for claim in ("SGD gets better from 0.01 to 0.1", "At 0.001 RMSprop beats Adam"):
        assert (
            told[claim].why
            == "it looks so, but fewer training steps than the study's could bring that about by themselves"
        )
    learned = changed(as_published(epochs=1), lambda r: r.optimizer == "SGD", accuracy_test=0.99)
    assert verdicts(learned)[slow].verdict == FAILS, "sooner than the study's, which had not yet"


def pair(*differences: float, rmsprop: float = 0.99, **more: object) -> Finding:
    """The finding that RMSprop beats Adam, for these differences, one a seed."""
    runs = [run("RMSprop", 0.001, rmsprop, seed, **more) for seed in range(len(differences))]
    runs += [run("Adam", 0.001, rmsprop - d, seed, **more) for seed, d in enumerate(differences)]
    return verdicts(runs)["At 0.001 RMSprop beats Adam"]


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((0.05, 0.06, 0.055), HOLDS),
        ((-0.001, -0.0012, -0.0011), FAILS),
        ((0.001, -0.001, 0.0005), FAILS),  # whatever it is, it is not half of the published 0.1784
        ((0.3, -0.2, 0.1), UNTOLD),
        ((0.05, 0.2), UNTOLD),
    ],
)
def test_that_one_beats_another_is_judged_by_the_interval_of_the_mean_difference(
    differences: tuple[float, ...], verdict: str
) -> None:
    finding = pair(*differences)
    assert (finding.verdict, finding.published) == (verdict, "+0.1784")
    if verdict != UNTOLD:
        assert finding.why.startswith(f"seed 0 {differences[0]:+.4f}, seed 1")
    else:
        assert finding.why == "the interval has 0 and +0.0892, half of the published difference in it"


def test_the_interval_of_a_difference_is_students() -> None:
    finding = pair(0.05, 0.06, 0.055)
    assert (finding.ours, finding.interval) == ("+0.0550", "+0.0426 to +0.0674")
    assert (finding.low, finding.high) == (
        pytest.approx(0.055 - 4.303 * 0.005 / math.sqrt(3)),
        pytest.approx(0.0674, abs=1e-4),
    )


def test_a_smaller_network_does_not_tell_who_beats_whom_in_the_studys() -> None:
    for differences, looks in (((-0.001, -0.0012), "it does not look so"), ((0.05, 0.051, 0.0505), "it looks so")):
        finding = pair(*differences, num_parameters=1000)
        assert (finding.verdict, finding.why.partition(",")[0]) == (UNTOLD, looks)
        assert finding.interval


def test_seeds_of_one_side_alone_are_not_compared() -> None:
    runs = [run("RMSprop", 0.001, 0.99, s) for s in (0, 1, 2)] + [run("Adam", 0.001, 0.9, s) for s in (2, 3)]
    finding = verdicts(runs)["At 0.001 RMSprop beats Adam"]
    assert (finding.verdict, finding.seeds) == (UNTOLD, 1)


def test_networks_of_one_side_alone_are_not_compared() -> None:
    shared = [run("RMSprop", 0.001, 0.99 + d, s) for s, d in enumerate((0, 0.001))]
    shared += [run("Adam", 0.001, 0.95 + d, s) for s, d in enumerate((0, 0.0012))]
    other = [run("Adam", 0.001, 0.99, s, size="64/2/5") for s in (0, 1)]
    claim = "At 0.001 RMSprop beats Adam"
    assert verdicts(shared + other)[claim] == verdicts(shared)[claim]
    assert verdicts(shared)[claim].ours == "+0.0399"


def test_a_seed_that_is_not_whole_is_left_out() -> None:
    """Halfway through a sweep one loss has runs which the other has not; their means are not comparable."""
    claim = "Squared error beats absolute error"
    half = [r for r in as_published() if r.seed in (0, 1) or (r.loss_func, r.learning_rate) == ("mse", 0.1)]
    assert verdicts(half)[claim] == verdicts(as_published(seeds=(0, 1)))[claim]
    assert verdicts(half)[claim].seeds == 2


def test_the_luckiest_of_many_is_not_the_best() -> None:
    """Of equal settings each is lucky with one seed; chosen by the other seeds none is better than RMSprop's."""
    seeds, others = range(3), product(("Adam", "SGD"), (0.001, 0.01, 0.1))
    runs = [run("RMSprop", 0.001, 0.99, s) for s in seeds]
    for k, (name, lr) in enumerate(others):
        runs += [run(name, lr, 0.99 + 0.001 * (k % 3 == s) + 1e-5 * s, s) for s in seeds]
    finding = verdicts(runs)["RMSprop with mse at 0.001 is the best setting"]
    assert float(finding.ours) == pytest.approx(0, abs=0.0001)


def test_sizes_are_compared_by_the_setting_that_the_study_compares_them_with() -> None:
    claim = "The largest network is not the best"
    others = [r for r in as_published() if (r.optimizer, r.learning_rate, r.loss_func) == ("RMSprop", 0.001, "mse")]
    assert verdicts(others)[claim] == verdicts(as_published())[claim]
    assert verdicts(as_published())[claim].ours == "+0.0004"


def test_where_nothing_learned_losses_are_not_compared() -> None:
    alive = [r for r in as_published() if r.optimizer == "SGD" and r.learning_rate == 0.1]
    dead = [run("Adam", 0.1, 0.82 if loss == "mse" else 0.9, s, loss=loss) for loss in ("mse", "mae") for s in range(3)]
    claim = "Squared error beats absolute error"
    assert verdicts(alive + dead)[claim] == verdicts(alive)[claim]
    assert verdicts(alive)[claim].published == "17 of the 18 best"


def wrong(*numbers: int, **more: object) -> Finding:
    runs = [replace(run("SGD", 0.1, 0.99, s, **more), accuracy_test=1 - n / 10_000) for s, n in enumerate(numbers)]
    others = [run("Adam", 0.1, 0.82, seed) for seed in (0, 1)]
    return verdicts(runs + others)["The best network is wrong on 54 of 10,000 test images"]


def test_what_the_study_never_had_says_nothing_of_its_findings() -> None:
    """A better optimizer, loss or rate than any of its refutes none of its comparisons."""
    strangers = [run("Adamax", 0.001, 0.9999, s) for s in range(3)]
    strangers += [run("RMSprop", 0.001, 0.9999, s, loss="cross_entropy") for s in range(3)]
    strangers += [run("RMSprop", 0.002, 0.9999, s) for s in range(3)]
    assert verdicts(as_published() + strangers) == verdicts(as_published())


def test_the_best_network_is_none_of_which_only_some_runs_survived() -> None:
    lucky = [run("Adam", 0.01, binary, seed, size="32/2/1") for seed, binary in enumerate((0.9995, 0.82))]
    claim = "The best network is wrong on 54 of 10,000 test images"
    assert verdicts(as_published() + lucky)[claim] == verdicts(as_published())[claim]


def test_the_number_of_mistakes_is_compared_with_what_one_more_run_might_have() -> None:
    assert (wrong(50, 55, 60).verdict, wrong(50, 55, 60).why) == (
        HOLDS,
        "one more run might have 54; ours have 50, 55, 60 (SGD mse 0.1 64/3/3)",
    )
    assert (wrong(90, 91, 92).verdict, wrong(90, 91, 92).why) == (FAILS, "ours have 90, 91, 92 (SGD mse 0.1 64/3/3)")
    assert wrong(90, 91, 92, epochs=1).verdict == UNTOLD
    assert wrong(50, 90, 130, epochs=1).verdict == UNTOLD, "a range so wide that 54 is in it shows nothing"
    assert wrong(90, 91, 92, num_parameters=1000).verdict == UNTOLD
    assert wrong(20, 21, 22, epochs=1).verdict == FAILS, "fewer, and with fewer epochs"
    assert wrong(10, 500).why == "too few seeds for so wide a spread: 10, 500 (SGD mse 0.1 64/3/3)"
    assert wrong(10, 11, test_size=2000).why == "no run that learned was tested on 10,000 images"


def test_page_workbook_and_terminal_say_the_same(tmp_path: Path) -> None:
    results = as_published()
    frame = Ranking(judged(results)).frame
    table = findings_table(frame)
    assert table.note.startswith(
        "14 findings, holds: 14, does not hold: 0, cannot tell: 0. These runs: 64/3/3, 64/3/5, 20 epochs"
    )
    assert [row[0] for row in table.rows] == [f.claim for f in findings(frame)]
    assert [row[4] for row in table.rows][:1] == ["0% to 39%"]
    text = leaderboard(results, store(results, tmp_path))
    told = text.partition("Of the study's 14 findings, ")[2].splitlines()
    assert told[0] == "holds: 11, does not hold: 0, cannot tell: 3:" or told[0].startswith("holds: ")
    assert all(len(line) <= 79 for line in told)
    assert any(line.startswith("  holds          Adam at 0.1 does not learn: 0 of 6 runs learned") for line in told)
