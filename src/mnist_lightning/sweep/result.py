"""What a sweep from Python gives back: its records, their frame, its files; short to look at, also in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lightning.records.results import RunResult

if TYPE_CHECKING:
    import pandas as pd

    from mnist_lightning.report.ranking import Ranking

_SHOWN = 10


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What `sweep` has found or trained: its records in the grid's order, failed and diverged runs among them.

    `results`: one RunResult for each different configuration that has a record. `paths`: the workbook, the page, the
    table and the figures by their names below `directory`, `paths["report.html"]`. `is_whole`: every run is there and
    completed, as exit code 0 says of the command; `summary` is the command's last line without the directory.

    >>> data = {"name": "synthetic", "train_size": 320, "test_size": 100}
    >>> base = RunConfig(model={"num_channels": 2, "num_conv": 0}, data=data, trainer={"max_epochs": 1})
    >>> done = sweep(base, {"seed": range(2)}, "outputs/seeds")  # doctest: +ELLIPSIS
    2 runs: seed (2), ...
    >>> done.is_whole, done.summary, [result.seed for result in done.results]
    (True, '2 of 2 done', [0, 1])
    >>> done.paths["results.xlsx"].name, done.frame["accuracy_test"].notna().all().item()
    ('results.xlsx', True)
    >>> done  # doctest: +ELLIPSIS
    outputs/seeds: 2 of 2 done; best RMSprop mse 0.001 2/0/1, mean test accuracy ...
    """

    directory: Path
    results: list[RunResult]
    paths: Mapping[str, Path]
    summary: str
    is_whole: bool
    places: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The results as a pandas DataFrame, a row each, in their order, with the columns that `load_frame` names."""
        from mnist_lightning.report.frame import frame_of

        return frame_of(self.results, self.directory, self.places)

    @cached_property
    def _ranking(self) -> Ranking:
        from mnist_lightning.report.ranking import Ranking

        return Ranking(self.frame)

    def __repr__(self) -> str:
        winner, rule = self._ranking.winner, self._ranking.rule.name
        mean = "mean " if self._ranking.several_seeds else ""
        best = f"; best {winner.setting}, {mean}{rule} {winner.score:.4f}" if winner is not None else ""
        return f"{self.directory}: {self.summary}{best}"

    def _repr_html_(self) -> str:
        """The ten best settings and where the page and the workbook are, as a notebook shows it."""
        ranking = self._ranking
        head = ("", "setting", ranking.rule.name, "runs", "seconds")
        rows = [head, *self._rows()]
        cells = ("".join(f"<td>{escape(text)}</td>" for text in row) for row in rows)
        table = "".join(f"<tr>{row}</tr>" for row in cells)
        files = ", ".join(escape(str(self.directory / name)) for name in sorted(self.paths) if "/" not in name)
        return f"<p>{escape(f'{self.directory}: {self.summary}')}</p><table>{table}</table><p>{files}</p>"

    def _rows(self) -> list[tuple[str, ...]]:
        from mnist_lightning.report.frame import runs

        best = runs(self._ranking.ranked_settings.head(_SHOWN))
        return [
            (str(i), s.setting, f"{s.score:.4f}", str(s.runs), f"{s.duration_seconds:.1f}")
            for i, s in enumerate(best, 1)
        ]
