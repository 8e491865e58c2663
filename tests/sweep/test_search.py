"""sweep/search.py: which keys a search draws, and what its runs are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mnist_lightning.config import RunConfig
from mnist_lightning.sweep.search import called, drawn_keys


def keys(task: list[str], params: dict[str, Any] | None = None) -> list[str]:
    return drawn_keys(OmegaConf.create({"hydra": {"overrides": {"task": task}, "sweeper": {"params": params}}}))


def test_drawn_is_what_has_several_values_on_the_command_line_or_among_the_sweepers_parameters() -> None:
    assert keys(["lr=interval(0.1,1)", "seed=1", "optimizer=adam,sgd", "data.batch_size=choice(1,2)"]) == [
        "lr",
        "optimizer.name",
        "data.batch_size",
    ]
    assert keys(["lr=0.1"]) == []
    assert keys(["loss=mse,mae"], {"loss": "mse,mae", "seed": "range(1,3)", "lr": 0.1}) == ["loss", "seed"]


def test_a_run_is_called_by_its_configuration_and_by_its_directory_where_that_cannot_be_read(tmp_path: Path) -> None:
    assert called(tmp_path / "Adam_mse_12", ["lr"]) == "Adam_mse_12"
    config = tmp_path / "config.yaml"
    for text in ("", "[1]", "a: [", "\0"):
        config.write_text(text)
        assert called(tmp_path, ["lr"]) == tmp_path.name, text
    config.write_text(OmegaConf.to_yaml(OmegaConf.create(RunConfig(seed=4).identity())))
    assert called(tmp_path, ["seed"]) == "RMSprop mse 0.001 32/2/1 seed 4"
