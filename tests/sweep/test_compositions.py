"""Compositions are reused once, and only in this process."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from mnist_lightning.sweep import compositions
from mnist_lightning.sweep.compositions import ReusedCompositions

MASTER = OmegaConf.create({})


class Loader:
    """Counts what it composes."""

    calls = 0
    other = "passed on"

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        self.calls += 1
        return OmegaConf.create({"overrides": sweep_overrides})


def test_a_composition_is_given_out_once_and_then_made_anew() -> None:
    reused = ReusedCompositions(Loader())
    composed = reused.compose(MASTER, ["lr=1"])
    assert reused.compose(MASTER, ["lr=1"]) is composed
    assert reused.load_sweep_config(MASTER, ["lr=1"]) is composed
    assert reused.loader.calls == 1
    assert reused.load_sweep_config(MASTER, ["lr=1"]) == composed
    assert reused.loader.calls == 2
    assert reused.other == "passed on"


def test_no_more_than_a_bounded_number_is_kept_and_none_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compositions, "MOST_KEPT", 3)
    reused = ReusedCompositions(Loader())
    for lr in range(5):
        reused.compose(MASTER, [f"lr={lr}"])
    assert len(reused.kept) == 3
    reused.keep_only([["lr=1"], ["lr=4"]])
    assert list(reused.kept) == [("lr=1",)]
    sent = pickle.loads(pickle.dumps(reused))
    assert sent.kept == {}
    assert sent.load_sweep_config(MASTER, ["lr=1"]).overrides == ["lr=1"]


def test_a_sweep_composes_each_job_once(
    run: Callable[..., Any], tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    composed: list[tuple[str, ...]] = []
    load = ConfigLoaderImpl.load_sweep_config

    def counted(self: Any, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        composed.append(tuple(sweep_overrides))
        return load(self, master_config, sweep_overrides)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    assert run("-m", "lr=0.1,0.2", "hydra.sweep.dir=s", *tiny_arguments).code == 0
    assert len(composed) == len(set(composed)) == 2
    assert run("-m", "lr=0.1,0.2", "hydra.sweep.dir=s", *tiny_arguments).code == 0
    assert len(composed) == 4
