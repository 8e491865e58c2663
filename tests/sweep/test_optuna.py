"""Optuna's sweeper: it plans nothing, its trials leave what runs of a grid leave."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException

from commands import Command
from mnist_lightning.command.explain import Failure, explain
from mnist_lightning.records.results import load_results

SEARCH = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1"]
SEARCH += ["lr=interval(0.001,0.1)", "hydra.sweep.dir=here"]


def test_a_search_leaves_the_records_and_tables_of_a_sweep(start: Callable[..., Command], tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna searches: pip install 'mnist-lightning[optuna]'")
    code, out, err = start("-m", *SEARCH, "data.batch_size=choice(16,32)").wait()
    assert code == 0, out + err
    first, *lines = out.splitlines()[:4]
    assert first == "3 trials, each with its own lr, batch_size"
    assert [line.split()[:3] for line in lines] == [[str(n), "of", "3"] for n in (1, 2, 3)]
    name = r"\d of 3  RMSprop mse [\d.]+ \d+/\d/\d batch_size=(16|32)  accuracy"
    assert all(re.match(name, line) for line in lines), out
    assert out.splitlines()[-1] == "3 of 3 done: here"
    found = load_results(tmp_path / "here")
    assert {r.status for r in found} == {"completed"}
    assert len({r.learning_rate for r in found}) == 3
    assert str(max(r.accuracy_test for r in found)) in (tmp_path / "here" / "optimization_results.yaml").read_text()
    code, out, err = start("hydra.run.dir=here").wait()
    assert (code, out) == (2, "")
    assert "hydra.run.dir=here: holds a sweep; choose another directory, or that of one of its runs" in err


def test_without_optuna_the_extra_is_named() -> None:
    missing = MissingConfigException("", missing_cfg_file="hydra/sweeper/optuna", options=["basic"])
    line = 'hydra/sweeper=optuna: not installed; pip install "mnist-lightning[optuna]"'
    assert explain(Failure(missing)) == (2, line)


def test_a_failed_trial_does_not_end_the_search(start: Callable[..., Command], tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna searches: pip install 'mnist-lightning[optuna]'")
    code, out, err = start("-m", *SEARCH, "callbacks=[{_target_:fault_callbacks.Hungry}]").wait()
    assert (code, out.splitlines()[-1]) == (3, "0 of 3 done (3 failed): here"), out + err
