"""The plan's configurations are those that Hydra composes, job for job, without a composition for each job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from mnist_lightning.command.cli import register
from mnist_lightning.command.overrides import groups
from mnist_lightning.config import RunConfig, conf_dir, parse
from mnist_lightning.config.keys import all_keys
from mnist_lightning.config.section import Section
from mnist_lightning.sweep.compositions import Compositions

Run = Callable[..., Any]
OURS = [g for g in groups() if not g.startswith("hydra/")]
CHOICES = [f"{g}={path.stem}" for g in OURS for path in sorted((conf_dir() / g).glob("*.yaml"))]
KEYS = [name for name, _, hint in all_keys() if not (isinstance(hint, type) and issubclass(hint, Section))]
# Some are right for a key, most are not: then both must refuse in the same words
WORDS = "1 0 -1 2.5 1e-3 true null abc [] [1,2] {a:1} nan 01:00:00:00 auto"
VALUES = [*WORDS.split(" "), "'a b'", "''"]
ODD = (
    """
+new=1|++lr=0.5|++optimizer.options.momentum=0.9|+optimizer.options.alpha=0.9|~lr|lr=${seed}|seed=${oc.env:HOME}
optimizer@optimizer=sgd|+data@mine=synthetic|optimizer.options={momentum: 0.9}|optimizer.options.momentum=0.8
optimizer=torch.optim.Adagrad|data.root='${oc.env:HOME}/x'|trainer={max_epochs: 3}|modle.lr=1|logger._target_=none
logger.extra=1|callbacks=[{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val_loss}]|data.root=${nope}
""".strip()
    .replace("\n", "|")
    .split("|")
)
JOBS = st.lists(
    st.one_of(
        st.sampled_from(CHOICES),
        st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)),
        st.sampled_from(ODD),
    ),
    max_size=5,
)


@pytest.fixture(scope="module")
def hydra() -> tuple[ConfigLoaderImpl, DictConfig]:
    register(["optimizer=torch.optim.Adagrad"])
    with initialize_config_module("mnist_lightning.conf", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        return loader, loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)


def outcome(compose: Callable[[], Any]) -> Any:
    try:
        return compose()
    except Exception as error:  # Hydra has a ValueError for some, too
        return type(error), str(error)


@given(jobs=st.lists(JOBS, min_size=1, max_size=3))
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_plan_of_any_grid_is_what_hydra_composes(
    jobs: list[list[str]], hydra: tuple[ConfigLoaderImpl, DictConfig]
) -> None:
    loader, master = hydra
    planned = Compositions(loader, master)

    def by_hydra(job: list[str]) -> RunConfig:
        composed = loader.load_sweep_config(master, job)
        return parse(OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]))

    for job in jobs:
        expected = outcome(lambda job=job: by_hydra(job))
        got = outcome(lambda job=job: planned.configuration(job))
        assert got == expected
        assert outcome(lambda job=job: planned.configuration(job)) == expected  # also when nothing in it is new
        if isinstance(got, RunConfig):
            assert (got.fingerprint, got.run_name) == (expected.fingerprint, expected.run_name)


def test_a_grid_is_planned_by_one_composition_for_each_choice_of_groups(
    hydra: tuple[ConfigLoaderImpl, DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, master = hydra
    composed: list[list[str]] = []
    compose = loader.load_sweep_config
    monkeypatch.setattr(loader, "load_sweep_config", lambda master, job: composed.append(job) or compose(master, job))
    planned = Compositions(loader, master)
    jobs = [[f"optimizer={o}", f"lr={lr}", f"seed={s}"] for o in ("adam", "sgd") for lr in (0.1, 1) for s in range(50)]
    configs = [planned.configuration(job) for job in jobs]
    assert len({c.fingerprint for c in configs}) == 200
    assert composed == [["optimizer=adam"], ["optimizer=sgd"]]
    configs[0].optimizer.options["mine"] = 1  # no configuration shares anything with another
    assert configs[1].optimizer.options == planned.configuration(jobs[0]).optimizer.options == {}


def test_a_job_that_is_not_what_was_planned_is_a_bug_and_leaves_no_record(
    run: Run, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = Compositions.configuration

    def wrongly(self: Compositions, job: list[str]) -> RunConfig:
        config = configuration(self, job)
        config.seed += 7
        return config

    monkeypatch.setattr(Compositions, "configuration", wrongly)
    code, _, err = run("-m", *tiny_arguments, "hydra.sweep.dir=here")
    assert code == 1
    assert "was composed, and is not in the plan" in err
    assert not list(Path("here").glob("*/result.json"))
