"""Training images changed at random: by the seed alone, in training alone, on any device the same way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from mnist_lightning import MNISTClassifier, MNISTDataModule, RunConfig, train
from mnist_lightning.config import MNIST, Shape
from mnist_lightning.data.augmentation import Light, build_augmentation, check_augmentation
from mnist_lightning.data.datasets import load_dataset, scale
from mnist_lightning.errors import ConfigError
from mnist_lightning.records.results import RunResult
from mnist_lightning.training.interrupted import stored_config

Tiny = Callable[..., RunConfig]
Outcome = Any
ERASING = "torchvision.transforms.v2.RandomErasing"
ROTATION = "torchvision.transforms.v2.RandomRotation"


def images(count: int = 8) -> Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def what_came_of(record: RunResult) -> tuple[float, ...]:
    return record.loss, record.loss_test, record.mae, record.accuracy_val


@pytest.mark.parametrize("transform", ["light", {"_target_": ROTATION, "degrees": 90}, [ERASING, "light"]])
def test_the_numbers_are_set_by_seed_epoch_batch_and_process_and_nothing_else(transform: Any) -> None:
    changed = build_augmentation(transform, 3)
    assert changed is not None
    torch.manual_seed(7)
    first = changed(images(), 0, 0)
    torch.manual_seed(8)
    assert torch.equal(first, changed(images(), 0, 0))
    other = build_augmentation(transform, 4)
    assert other is not None
    others = [changed(images(), 1, 0), changed(images(), 0, 1), changed(images(), 0, 0, 1), other(images(), 0, 0)]
    assert all(not torch.equal(first, one) for one in others)


def test_the_numbers_that_others_draw_are_left_as_they_are() -> None:
    changed = build_augmentation(["light", ERASING], 0)
    assert changed is not None
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    changed(images(), 0, 0)
    assert torch.equal(torch.rand(3), wanted)


def test_light_changes_each_image_on_its_own_and_a_little() -> None:
    torch.manual_seed(0)
    same = images(1).repeat(16, 1, 1, 1)
    changed = Light()(same)
    assert changed.shape == same.shape
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 16
    dot = torch.zeros(200, 1, 29, 29)
    dot[:, :, 13:16, 13:16] = 1.0
    seen = Light()(dot)
    at = torch.stack(torch.meshgrid(torch.arange(29.0), torch.arange(29.0), indexing="ij"))
    centre = (seen * at[:, None, None]).sum((-1, -2, -3)) / seen.sum((-1, -2, -3))  # [2,N]
    assert 2.0 < (centre - 14).abs().max() < 2.6, "7 % of 29 pixels, larger where the image is"
    bar = torch.zeros(500, 1, 41, 41)
    bar[:, :, 20, 8:33] = 1.0
    wide = (Light()(bar) > 0.3).any(-2).sum(-1).float()
    assert 22 <= wide.min() < 24
    assert 26 < wide.max() <= 29


@pytest.mark.parametrize("value", [0.0, 0.4, -1.7])
def test_what_light_brings_in_at_the_borders_is_as_dark_as_the_darkest(value: float) -> None:
    blank = torch.full((3, 2, 9, 14), value, dtype=torch.float64)
    assert torch.equal(Light()(blank), blank)


def test_light_does_not_stretch_images_that_are_no_squares() -> None:
    """Turned, a circle stays one."""
    at = torch.stack(torch.meshgrid(torch.arange(20.0), torch.arange(60.0), indexing="ij")) + 0.5
    circle = (((at[0] - 10) ** 2 + (at[1] - 30) ** 2) < 25).float().expand(100, 1, 20, 60)

    class TurnsAlone(Light):
        degrees, shift, scale = 40.0, 0.0, 0.0

    assert (TurnsAlone()(circle) - circle).abs().mean(0).sum() < 10, "of 80 pixels: those of the edge, in part"


def test_the_same_seed_gives_the_same_losses_and_another_or_none_others(tiny: Tiny, tmp_path: Path) -> None:
    def trained(name: str, **changes: Any) -> tuple[float, ...]:
        return what_came_of(train(tiny(**changes), tmp_path / name))

    first = trained("first", transform="light")
    torch.manual_seed(99)
    assert trained("again", transform="light") == first
    assert trained("none") != first
    assert trained("other", transform=[{"_target_": ROTATION, "degrees": 5}]) != first


def test_a_run_that_was_cut_off_goes_on_to_the_same_end(tiny: Tiny, tmp_path: Path, break_off: list[object]) -> None:
    config = tiny(transform=["light", ERASING], **{"trainer.max_epochs": 3})
    undisturbed = train(config, tmp_path / "undisturbed")
    break_off[0] = RuntimeError("cut off")
    with pytest.raises(RuntimeError, match="cut off"):
        train(config, tmp_path / "cut")
    break_off[:] = [None]
    again = train(config, tmp_path / "cut", continue_interrupted=True)
    assert break_off == [None, 1, 2]
    assert what_came_of(again) == what_came_of(undisturbed)
    assert (tmp_path / "cut/metrics.csv").read_bytes() == (tmp_path / "undisturbed/metrics.csv").read_bytes()


def test_the_final_metrics_are_of_the_images_as_they_are(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(transform={"_target_": "torchvision.transforms.v2.RandomInvert", "p": 1.0})
    record = train(config, tmp_path / "run")
    module = MNISTClassifier.load_from_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    data = load_dataset(config.data)
    for split, accuracy in ((data.train, record.accuracy), (data.test, record.accuracy_test)):
        with torch.no_grad():
            right = (module(scale(split.images)).argmax(-1) == split.labels).double().mean()
        assert right.item() == accuracy


class Seen(L.LightningModule):
    """Keeps the batches that it is given in training and in validation."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.training_images: list[Tensor] = []
        self.others: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.training_images.append(batch[0])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.others.append(batch[0])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return []


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_in_somebodys_own_trainer_training_batches_alone_are_changed() -> None:
    pixels, labels = torch.randint(0, 256, (6, 1, 9, 9), dtype=torch.uint8), torch.arange(6) % 3
    data = MNISTDataModule.from_tensors(pixels, labels, pixels, labels, batch_size=3, transform=v2.RandomInvert(p=1.0))
    module = Seen()
    plain: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    L.Trainer(accelerator="cpu", max_epochs=2, num_sanity_val_steps=1, **plain).fit(module, data)
    batches = [images for images, _ in data.train_dataloader()]
    assert [torch.equal(1 - scale(x), y) for x, y in zip(batches, module.training_images, strict=False)] == [True] * 2
    assert all(torch.equal(y, scale(pixels)) for y in module.others)


def test_no_transform_has_the_fingerprint_of_before_and_what_is_written_otherwise_the_same() -> None:
    before = RunConfig().fingerprint
    assert {RunConfig(transform=none).fingerprint for none in (None, "none", [], ["none"])} == {before}
    ways = [ERASING, {"_target_": ERASING}, [ERASING], v2.RandomErasing, [v2.RandomErasing, None]]
    assert len({RunConfig(transform=way).fingerprint for way in ways}) == 1
    half = [{"_target_": ERASING, "p": 0.5}, partial(v2.RandomErasing, p=0.5)]
    assert len({RunConfig(transform=way).fingerprint for way in half}) == 1
    different = [
        None,
        "light",
        ERASING,
        half[0],
        {"_target_": ERASING, "p": 0.6},
        ["light", ERASING],
        [ERASING, "light"],
    ]
    assert len({RunConfig(transform=way).fingerprint for way in different}) == len(different)


@pytest.mark.parametrize("transform", ["light", {"_target_": ERASING, "p": 0.5}, ["light", {"_target_": ERASING}]])
def test_the_configuration_that_a_run_leaves_reads_back(transform: Any, tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(transform=transform, **{"trainer.max_epochs": 1})
    train(config, tmp_path)
    assert stored_config(tmp_path / "config.yaml").fingerprint == config.fingerprint


REFUSED: dict[str, tuple[Any, str]] = {
    "a slip": ("lihgt", r"transform=lihgt: unknown; did you mean light\?"),
    "no name": ("strong", "transform=strong: unknown; use none, light or a name such as torchvision.transforms.v2.X"),
    "no class": ("torchvision.transforms.v2.RandomErase", "transform=.*RandomErase: torchvision.transforms.v2 has no"),
    "no transform": ("os.system", "transform=os.system: not a torch Module"),
    "no such argument": ({"_target_": ERASING, "q": 1}, "transform.q=1: RandomErasing has no such argument"),
    "a bad argument": ({"_target_": ERASING, "p": 7}, r"transform=torchvision.*: refused by RandomErasing \("),
    "no target": ([{"degrees": 7}], "transform={'degrees': 7}: no _target_; give {_target_: package.Class, "),
    "another size": (
        [{"_target_": "torchvision.transforms.v2.Resize", "size": 9}],
        r"transform=torchvision.transforms.v2.Resize\(size=9\): makes float32 \[2, 1, 9, 9\] of float images",
    ),
    "two images": (
        {"_target_": "torchvision.transforms.v2.MixUp", "num_classes": 10},
        r"transform=torchvision.transforms.v2.MixUp\(num_classes=10\): cannot take float images \[2, 1, 28, 28\] \(Val",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_transform_is_refused_before_anything_is_trained(case: str) -> None:
    given, said = REFUSED[case]
    with pytest.raises(ConfigError, match=f"^{said}"):
        check_augmentation(RunConfig(transform=given).transform, MNIST)


def test_a_transform_is_tried_on_images_like_those_of_the_data() -> None:
    grey = {"_target_": "torchvision.transforms.v2.Grayscale", "num_output_channels": 1}
    check_augmentation(grey, MNIST)
    with pytest.raises(ConfigError, match=r"makes float32 \[2, 1, 8, 9\] of float images \[2, 3, 8, 9\]; it must keep"):
        check_augmentation(grey, Shape(3, 8, 9))


class Bits(nn.Module):
    """Black and white."""

    def forward(self, images: Tensor) -> Tensor:
        return images > 0.5


def test_a_module_of_ones_own_is_a_transform_in_python() -> None:
    with pytest.raises(
        ConfigError, match=r"^transform=Bits\(\): makes bool \[2, 1, 28, 28\] of float images .*; it must"
    ):
        check_augmentation(Bits(), MNIST)
    changed = build_augmentation([nn.Identity(), "light"], 0)
    assert changed is not None
    assert changed(images(), 0, 0).shape == (8, 1, 28, 28)


def test_the_command_takes_a_transform_in_a_sweep_and_names_the_runs_by_it(
    run: Callable[..., Outcome], tiny_arguments: list[str]
) -> None:
    outcome = run("-m", "transform=none,light", *tiny_arguments, "hydra.sweep.dir=here")
    assert outcome.code == 0, outcome.err
    assert "2 runs: transform (2)" in outcome.out
    assert "transform=light" in outcome.out
    again = run("-m", "transform=none,light", *tiny_arguments, "hydra.sweep.dir=here")
    assert "resuming: 2 of 2 done" in again.out


def test_the_command_refuses_a_transform_with_one_line(run: Callable[..., Outcome], tiny_arguments: list[str]) -> None:
    outcome = run(*tiny_arguments, "transform={_target_: torchvision.transforms.v2.RandomRotation, degres: 3}")
    assert outcome.code == 2
    assert "error: transform.degres=3: RandomRotation has no such argument; did you mean degrees?" in outcome.err
