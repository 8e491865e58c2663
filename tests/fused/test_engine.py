"""The fused engine against single runs, member by member, number by number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mnist_lightning import train, train_many
from mnist_lightning.config import RunConfig
from mnist_lightning.fused import engine
from mnist_lightning.fused.engine import FusedClassifier
from mnist_lightning.fused.members import Member
from mnist_lightning.numerics.metrics import METRICS
from mnist_lightning.numerics.model import initialise
from mnist_lightning.numerics.update_rules import RULES
from mnist_lightning.records.results import COLUMNS, RunResult
from mnist_lightning.training.checkpoints import BEST, LAST, load_classifier

Tiny = Callable[..., RunConfig]


def members(tiny: Tiny, **shared: Any) -> list[RunConfig]:
    """Every optimizer with a rule x two losses x two learning rates, and two seeds, of one architecture."""
    grid = product(RULES, ("mse", "mae"), (0.001, 0.1), (0, 3))
    configs = [
        tiny(**{"optimizer.name": o, "loss": loss, "lr": lr, "seed": seed}, **shared) for o, loss, lr, seed in grid
    ]
    return configs[::7]  # every seventh: all optimizers, losses, rates and seeds are still there


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_classifier(path).state_dict()


def both(configs: Sequence[RunConfig], tmp_path: Path) -> tuple[list[RunResult], list[RunResult]]:
    alone = [train(c, tmp_path / "alone" / c.run_name) for c in configs]
    return train_many(configs, [tmp_path / "fused" / c.run_name for c in configs]), alone


@pytest.mark.parametrize("sizes", [(1, 0, 0), (2, 1, 0), (2, 3, 1)], ids=str)
def test_members_in_float64_equal_their_single_runs(sizes: tuple[int, int, int], tiny: Tiny, tmp_path: Path) -> None:
    configs = members(tiny, **architecture(sizes), **{"trainer.precision": "64-true"})
    assert {c.optimizer.name for c in configs} == set(RULES)
    assert {(c.loss, c.lr) for c in configs} == set(product(("mse", "mae"), (0.001, 0.1)))
    assert {c.seed for c in configs} == {0, 3}
    assert_equal_to_single_runs(configs, tmp_path)


def test_three_members_with_two_wide_layers_equal_their_single_runs_too(tiny: Tiny, tmp_path: Path) -> None:
    """A million weights each: more members would take long, and what they add is above."""
    configs = members(tiny, **architecture((1, 4, 2)), **{"trainer.precision": "64-true"})[::4]
    assert len({c.optimizer.name for c in configs}) == 3
    assert_equal_to_single_runs(configs, tmp_path)


def architecture(sizes: tuple[int, int, int]) -> dict[str, int]:
    return dict(zip(("model.num_channels", "model.num_conv", "model.num_dense"), sizes, strict=True))


def assert_equal_to_single_runs(configs: Sequence[RunConfig], tmp_path: Path) -> None:
    fused, alone = both(configs, tmp_path)
    for config, a, b in zip(configs, fused, alone, strict=True):
        assert (a.engine, a.group_size) == ("fused", len(configs))
        for metric in [f"{m}{part}" for m in METRICS for part in ("", "_test")]:
            assert getattr(a, metric) == pytest.approx(getattr(b, metric), rel=1e-10, abs=1e-10), config.run_name
        for name in (LAST, BEST):
            ours, theirs = (weights(tmp_path / where / config.run_name / name) for where in ("fused", "alone"))
            for key, value in theirs.items():
                torch.testing.assert_close(ours[key], value, rtol=1e-10, atol=1e-10)


def test_in_float32_a_member_is_as_near_to_its_single_run_as_a_rounding_error_allows(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = members(tiny)[::2]
    fused, alone = both(configs, tmp_path)
    moved: dict[str, list[float]] = {c.run_name: [] for c in configs}
    for number in (1, 2):

        def perturbed(model: torch.nn.Module, seed: int | None = None, number: int = number) -> None:
            initialise(model, seed)
            for p in model.parameters():
                noise = torch.rand(p.shape, generator=torch.Generator().manual_seed(number))
                p.data.mul_(1 + 1e-7 * (2 * noise - 1).sign())

        monkeypatch.setattr("mnist_lightning.numerics.model.initialise", perturbed)
        for config in configs:
            moved[config.run_name].append(train(config, tmp_path / f"{number}" / config.run_name).loss_test)
    for config, a, b in zip(configs, fused, alone, strict=True):
        yardstick = 10 * max(abs(loss - b.loss_test) for loss in moved[config.run_name]) + 1e-6
        assert abs(a.loss_test - b.loss_test) <= yardstick, config.run_name


def test_a_member_that_diverges_is_marked_and_changes_nobody(tiny: Tiny, tmp_path: Path) -> None:
    sane = [tiny(**{"optimizer.name": o, "trainer.max_epochs": 3}) for o in ("sgd", "adam", "rmsprop")]
    mad = [tiny(lr=1e30, **{"optimizer.name": "sgd", "loss": loss, "trainer.max_epochs": 3}) for loss in ("mse", "mae")]
    mad += [tiny(lr=1e30, **{"optimizer.name": "torch_sgd", "loss": "cross_entropy", "trainer.max_epochs": 3})]
    without = train_many(sane, [tmp_path / "without" / c.run_name for c in sane])
    mixed = [mad[0], sane[0], mad[1], *sane[1:], mad[2]]
    results = {r.fingerprint: r for r in train_many(mixed, [tmp_path / "with" / c.run_name for c in mixed])}
    assert [results[c.fingerprint].status for c in sane] == ["completed"] * 3
    ended = [results[c.fingerprint] for c in mad]
    assert "diverged" in {r.status for r in ended}
    assert all(r.epochs == 1 and "not finite in epoch 1" in r.error for r in ended if r.status == "diverged")
    assert [results[c.fingerprint].loss_test for c in sane] == [r.loss_test for r in without]
    for config in sane:
        ours, theirs = (weights(tmp_path / where / config.run_name / LAST) for where in ("with", "without"))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_group_that_was_cut_off_goes_on_to_the_same_end(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [tiny(**{"optimizer.name": o, "trainer.max_epochs": 4}) for o in ("adam", "rmsprop", "adadelta", "sgd")]
    undisturbed = train_many(configs, [tmp_path / "a" / c.run_name for c in configs])
    paths = [tmp_path / "b" / c.run_name for c in configs]
    log, seen = Member.log, []
    monkeypatch.setattr("mnist_lightning.fused.engine._CHECKPOINT_SHARE", 1e9)  # after every epoch, however short

    def interrupted(member: Member, epoch: int, *rest: Any) -> None:
        seen.append(epoch)
        if epoch == 3 and len(seen) < 3 * len(configs):
            raise KeyboardInterrupt
        log(member, epoch, *rest)

    monkeypatch.setattr(Member, "log", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train_many(configs, paths)
    assert len(list((tmp_path / "b" / ".fused").glob("*.ckpt"))) == 1
    seen.clear()
    seen += [0] * 3 * len(configs)
    resumed = train_many(configs, paths, continue_interrupted=True)
    assert min(seen[3 * len(configs) :]) == 3, "epochs 1 and 2 are not repeated"
    assert not (tmp_path / "b" / ".fused").exists()
    for config, a, b in zip(configs, undisturbed, resumed, strict=True):
        assert (a.loss_test, a.loss, a.best_epoch, a.epochs) == (b.loss_test, b.loss, b.best_epoch, b.epochs)
        lines = [(tmp_path / where / config.run_name / "metrics.csv").read_text() for where in ("a", "b")]
        assert lines[0] == lines[1]
        assert lines[0].count("\n") == 5


def test_a_group_too_large_for_the_memory_is_halved(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = FusedClassifier.step

    def limited(module: FusedClassifier, rows: torch.Tensor) -> None:
        if len(module.members) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        step(module, rows)

    monkeypatch.setattr(FusedClassifier, "step", limited)
    configs = [tiny(lr=lr, **{"trainer.max_epochs": 1}) for lr in (0.1, 0.2, 0.3, 0.4, 0.5)]
    results = train_many(configs, [tmp_path / c.run_name for c in configs])
    assert [r.learning_rate for r in results] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert sorted(r.group_size or 0 for r in results) == [1, 2, 2, 2, 2]
    assert "5 runs do not fit into memory together: going on with half of them at a time" in capsys.readouterr().out


def test_what_cannot_be_fused_is_trained_alone_with_the_others(tiny: Tiny, tmp_path: Path) -> None:
    configs = [tiny(**{"optimizer.name": o, "trainer.max_epochs": 1}) for o in ("sgd", "nadam", "torch.optim.RAdam")]
    configs += [tiny(lr=0.2, **{"optimizer.name": "sgd", "trainer.max_epochs": 1})]
    results = train_many(configs, [tmp_path / c.run_name for c in configs])
    assert [r.engine for r in results] == ["fused", "lightning", "lightning", "fused"]
    assert [r.optimizer for r in results] == ["SGD", "NAdam", "RAdam", "SGD"]


def test_the_same_configuration_twice_is_refused(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="the same configuration twice; give each once"):
        train_many([tiny(), tiny()])


def test_a_fused_record_has_every_column_of_a_single_run(tiny: Tiny, tmp_path: Path) -> None:
    (fused,), (alone,) = both([tiny()], tmp_path)
    told_apart = {"engine", "duration_seconds", "samples_per_second", "checkpoint_sha256", "best_checkpoint_sha256"}
    for column in COLUMNS:
        a, b = getattr(fused, column.name), getattr(alone, column.name)
        assert type(a) is type(b), column.name
        assert column.name in told_apart or a == pytest.approx(b), column.name
    names = [
        sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.name != ".lock")
        for root in (tmp_path / "fused", tmp_path / "alone")
    ]
    assert names[0] == names[1]


def test_a_members_duration_does_not_grow_with_its_place_in_the_group(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(engine, "time", SimpleNamespace(perf_counter=lambda: now[0], monotonic=lambda: now[0]))
    finish, begin = Member.finish, FusedClassifier.on_train_epoch_start

    def slowly(*arguments: Any, **more: Any) -> None:
        now[0] += 100
        finish(*arguments, **more)

    def epoch(module: FusedClassifier) -> None:
        now[0] += 6
        begin(module)

    monkeypatch.setattr(Member, "finish", slowly)
    monkeypatch.setattr(FusedClassifier, "on_train_epoch_start", epoch)
    results = train_many([tiny(lr=lr) for lr in (0.1, 0.01, 0.001)], [tmp_path / name for name in "abc"])
    assert [r.duration_seconds for r in results] == [4.0, 4.0, 4.0]  # two epochs of 6 s for three members
