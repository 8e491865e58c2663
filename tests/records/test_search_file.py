"""The file of a search: what is read of it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.search import SEARCH, Search, Trial, read_search, write_search

STORED = Search(
    3, {}, "maximize", "accuracy_test", "tpe", "none", "mnist_lightning", trials=[Trial(0, {"lr": 0.1}, "a", "ab12")]
)


def test_a_search_comes_back_as_it_was_written_and_is_not_written_again(tmp_path: Path) -> None:
    assert read_search(tmp_path) is None
    write_search(tmp_path, STORED)
    assert read_search(tmp_path) == STORED
    before = (tmp_path / SEARCH).stat()
    write_search(tmp_path, STORED)
    assert (tmp_path / SEARCH).stat() == before


@pytest.mark.parametrize(
    "change", [{"n_trials": "3"}, {"trials": [{"number": 0, "params": {}, "run_name": 3}]}, {"trials": [{}]}, {"x": 1}]
)
def test_what_is_no_search_is_refused_with_the_files_name(change: dict[str, Any], tmp_path: Path) -> None:
    write_search(tmp_path, STORED)
    stored = json.loads((tmp_path / SEARCH).read_text())
    (tmp_path / SEARCH).write_text(json.dumps({**stored, **change}))
    with pytest.raises(RefusedError, match=r"search.json: no search of ours \(.*\); delete it and run again"):
        read_search(tmp_path)
