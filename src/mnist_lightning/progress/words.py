"""Durations in words, and a line that fits the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_GAP = "  "
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Part(NamedTuple):
    """A part of a line. Where there is no room for all of them, the one with the highest `drop` goes first; 0 stays."""

    text: str
    drop: int = 0


def duration(seconds: float) -> str:
    """How long, in at most two units: `42 s`, `12 min`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if (minutes := round(seconds / _MINUTE)) < 60:
        return f"{minutes} min"
    if (hours := minutes // 60) < 24:
        return f"{hours} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    days, hours = divmod(round(seconds / _HOUR), 24)
    return f"{days} d" + (f" {hours} h" if hours else "")


def clock(seconds: float) -> str:
    """How long something is going on: `0:42`, `1:02:10`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def fitted(parts: Sequence[Part], width: int) -> str:
    """The parts on one line of at most `width` characters."""
    left = [part for part in parts if part.text]
    while len(line := _GAP.join(part.text for part in left)) > width and any(part.drop for part in left):
        left.remove(max(left, key=lambda part: part.drop))
    return line if len(line) <= width else line[: max(0, width - 3)] + "..."[:width]
