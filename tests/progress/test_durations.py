"""progress/words.py: durations, and lines that fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_lightning.progress.words import Part, clock, duration, fitted


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (42.4, "42 s"), (89, "89 s"), (90, "2 min"), (3500, "58 min"), (3590, "1 h"), (3600, "1 h"),
        (7800, "2 h 10 min"), (86390, "1 d"), (86400 * 3 + 4 * 3600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_a_duration_has_at_most_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (62.9, "1:02"), (3730, "1:02:10"), (90_000, "25:00:00")])
def test_a_clock_shows_hours_only_where_there_are_some(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_what_may_be_dropped_is_dropped_in_its_order_until_the_line_fits() -> None:
    parts = [Part("run 3/18"), Part("Adam mse 0.01 seed 1", 2), Part("epoch 7/20"), Part(""), Part("val 0.981", 4)]
    assert fitted(parts, 80) == "run 3/18  Adam mse 0.01 seed 1  epoch 7/20  val 0.981"
    assert fitted(parts, 50) == "run 3/18  Adam mse 0.01 seed 1  epoch 7/20"
    assert fitted(parts, 20) == "run 3/18  epoch 7/20"
    assert fitted(parts, 12) == "run 3/18 ..."


@given(st.lists(st.builds(Part, st.text(max_size=30), st.integers(0, 5)), max_size=6), st.integers(0, 80))
def test_no_line_is_longer_than_its_width(parts: list[Part], width: int) -> None:
    assert len(fitted(parts, width)) <= width
