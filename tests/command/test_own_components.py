"""Components of the user's on the command line and in YAML files: the same configurations as in Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import own_components
from mnist_lightning import RunConfig, load_results
from mnist_lightning.config import parse
from mnist_lightning.config.changes import changed

Run = Callable[..., Any]
OWN = [
    "model._target_=own_components.Net",
    "loss=own_components.p_loss",
    "loss_options.power=1.5",
    "optimizer=torch.optim.RAdam",
    "optimizer.options.eps=1e-7",
    "scheduler=step",
    "scheduler.options.gamma=0.5",
    "callback=[early_stopping,model_checkpoint]",
    "callback.early_stopping.patience=2",
]


def base(tiny_arguments: list[str]) -> list[str]:
    return [a for a in tiny_arguments if not a.startswith("model.")]


def test_a_sweep_of_the_users_components_is_trained_and_the_same_command_finds_it_whole(
    run: Run, tiny_arguments: list[str]
) -> None:
    command = ["-m", *base(tiny_arguments), *OWN, "+model.width=3,4", "hydra.sweep.dir=out"]
    code, out, err = run(*command)
    assert (code, err) == (0, ""), out + err
    assert "2 runs: width (2)" in out
    assert "Net(width=3)" in out
    results = load_results("out")
    assert [r.network for r in results] == [f"own_components.Net(width={r.network[-2]})" for r in results]
    assert {r.loss_func for r in results} == {"p_loss"}
    assert run(*command).out.splitlines()[-1] == "2 of 2 done: out"


def test_python_yaml_and_command_line_agree_on_the_fingerprint(
    run: Run, tiny_arguments: list[str], tmp_path: Path
) -> None:
    code, out, err = run(*base(tiny_arguments), *OWN, "+model.width=3", "hydra.run.dir=line")
    assert code == 0, out + err
    recorded = json.loads((tmp_path / "line" / "result.json").read_text())["fingerprint"]
    conf = tmp_path / "conf" / "experiment"
    conf.mkdir(parents=True)
    (conf / "mine.yaml").write_text(
        """# @package _global_
defaults:
  - override /scheduler: step
  - override /callback: [early_stopping, model_checkpoint]
model: {_target_: own_components.Net, width: 3}
loss: own_components.p_loss
loss_options: {power: 1.5}
optimizer: {name: torch.optim.RAdam, options: {eps: 1.0e-7}}
scheduler: {options: {gamma: 0.5}}
callback: {early_stopping: {patience: 2}}
"""
    )
    code, out, err = run(
        *base(tiny_arguments), "hydra.searchpath=[file://conf]", "experiment=mine", "hydra.run.dir=yaml"
    )
    assert code == 0, out + err
    assert json.loads((tmp_path / "yaml" / "result.json").read_text())["fingerprint"] == recorded
    stored = parse_file(tmp_path / "line" / "config.yaml")
    python = changed(
        stored,
        {
            "model": partial(own_components.Net, 3),
            "loss": partial(own_components.p_loss, power=1.5),
            "loss_options": {},
            "optimizer": partial(torch.optim.RAdam, eps=1e-7),
        },
    )
    assert python.fingerprint == stored.fingerprint == recorded


def parse_file(path: Path) -> RunConfig:
    import yaml

    return parse(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["model._target_=own_components.Nett"],
            "model._target_=own_components.Nett: own_components has no Nett; did yo",
        ),
        (
            ["model._target_=own_components.Net", "+model.widht=3"],
            "model.widht=3: Net has no such argument; did you mean",
        ),
        (["+model.width=3"], "model.width=3: no such key; see --help for the keys"),
        (["model.num_chanels=3"], "model.num_chanels=3: no such key; did you mean model.num_channels?"),
        (["scheduler=cosin"], "scheduler=cosin: unknown; did you mean cosine?"),
        (["callback=early_stoping"], "callback=early_stoping: unknown; did you mean early_stopping?"),
        (
            ["scheduler=[cosine,step]"],
            "scheduler=[cosine,step]: a list, and a run has one scheduler; give one, or -m sche",
        ),
        (
            ["loss=own_components.q_loss"],
            "loss=own_components.q_loss: own_components has no q_loss; did you mean p_loss?",
        ),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_trained(
    run: Run, tiny_arguments: list[str], arguments: list[str], line: str
) -> None:
    code, out, err = run(*base(tiny_arguments), *arguments)
    assert (code, err.count("\n")) == (2, 1), out + err
    assert err.startswith(f"mnist-lightning: error: {line}")
