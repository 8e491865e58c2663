"""How much a run computes, to foretell how long it will take beside the others."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_lightning.config import IMAGE_SIZE, NUM_CLASSES, DataConfig, ModelConfig, RunConfig

# images for training and for testing, where the configuration says all
_SIZES = {"synthetic": (10_000, 2_000), "qmnist": (60_000, 60_000)}
_MNIST = (60_000, 10_000)
_BACKWARD = 3  # a training step is a forward pass, the gradients of the weights and those of the inputs
# Multiplications in whose time an image's share of a step's fixed cost is paid; from the images per second of 4/2/1 and
# of 32/2/1 on two cores (benchmarks/results/fused.json, throughput.json)
_FIXED = 2.5e6


@dataclass(frozen=True)
class Work:
    """The work of one run, in multiplications: in its epochs, and of the final weights on whole sets after them."""

    training: float
    evaluation: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.training + self.evaluation


def work_of(config: RunConfig) -> Work:
    """How much a run computes; with limits and early stopping, which may make it less, left out."""
    train, val, test = sizes_of(config.data)
    image = _work_of_image(config)
    held_out = val if config.data.val_size else 0
    return Work(config.trainer.max_epochs * (_BACKWARD * train + val) * image, (train + held_out + test) * image)


def work_of_steps(config: RunConfig, steps: int) -> float:
    """The work of that many training steps."""
    return _BACKWARD * steps * config.data.batch_size * _work_of_image(config)


def _work_of_image(config: RunConfig) -> float:
    return multiplications(config.model) + _FIXED


def sizes_of(data: DataConfig) -> tuple[int, int, int]:
    """Images for training, validation and testing: those of the configuration, else of the data set as published."""
    all_train, all_test = _SIZES.get(data.name, _MNIST)
    test = data.test_size or all_test
    train = (data.train_size or all_train) - data.val_size
    return train, data.val_size or test, test


def multiplications(model: ModelConfig) -> float:
    """Multiplications of one image's forward pass through convolutions and dense layers; see ConvDenseNet."""
    side, channels, total = IMAGE_SIZE, model.num_channels, 9.0 * model.num_channels * IMAGE_SIZE**2
    for _ in range(model.num_conv):
        total += 9.0 * channels * 2 * channels * side**2
        side, channels = side // 2, 2 * channels
    widths = [channels * side**2]
    widths += [int(2000 * (model.num_dense - i) / (model.num_dense + 1)) for i in range(model.num_dense)]
    return total + sum(a * b for a, b in zip(widths, [*widths[1:], NUM_CLASSES], strict=True))
