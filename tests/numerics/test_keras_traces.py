"""The judge: float64 traces of Keras training, 72 configurations, reproduced number by number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from keras_layout import BATCH, NUM_IMAGES, STEPS, configurations, inputs, load_initial_weights, traces

from mnist_lightning.config import OptimizerConfig
from mnist_lightning.data.datasets import scale
from mnist_lightning.numerics.losses import LOSSES, probabilities
from mnist_lightning.numerics.metrics import METRICS, metric_sums
from mnist_lightning.numerics.model import ConvDenseNet, count_parameters
from mnist_lightning.numerics.optimizers import build_optimizer

TOLERANCE = 1e-10
CASES = configurations()


def retrain(index: int, optimizer_name: str | None = None) -> tuple[ConvDenseNet, np.ndarray]:
    """The network after the trace's ten steps, and the loss of each step."""
    *architecture, name, loss_name, lr = CASES[index]
    net = ConvDenseNet(*architecture).double()
    load_initial_weights(net)
    images, labels = inputs()
    x = scale(images, torch.float64)
    optimizer = build_optimizer(OptimizerConfig(optimizer_name or name), net.parameters(), lr)
    losses = []
    for step in range(STEPS):
        rows = slice(step * BATCH % NUM_IMAGES, step * BATCH % NUM_IMAGES + BATCH)
        loss = LOSSES[loss_name](net(x[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, np.array(losses)


@torch.no_grad()
def logits_of(net: ConvDenseNet) -> torch.Tensor:
    return net(scale(inputs()[0], torch.float64))


@pytest.mark.parametrize("index", range(len(CASES)), ids=["-".join(map(str, case)) for case in CASES])
def test_training_reproduces_keras_to_ten_digits(index: int) -> None:
    expected = {key: value[index] for key, value in traces().items() if np.ndim(value) and len(value) == len(CASES)}
    net, losses = retrain(index)
    logits, labels = logits_of(net), inputs()[1]
    np.testing.assert_allclose(losses, expected["losses"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(probabilities(logits), expected["probabilities"], rtol=0, atol=TOLERANCE)
    metrics = dict(zip(METRICS, (metric_sums(logits, labels, LOSSES["mse"]) / NUM_IMAGES).tolist(), strict=True))
    # Keras keeps its metrics in float32, and mse and mae of the float64 outputs in float64
    for name, tolerance in {"mse": TOLERANCE, "mae": TOLERANCE, "accuracy": 1e-6, "binary_accuracy": 1e-6}.items():
        assert metrics[name] == pytest.approx(expected[name], abs=tolerance), name
    assert count_parameters(net) == expected["num_parameters"]
    norms = np.array([p.norm().item() for p in net.parameters()])
    np.testing.assert_allclose(norms, expected["weight_norms"][: len(norms)], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_torchs_own_optimizer_would_not_pass(name: str) -> None:
    index = next(i for i, case in enumerate(CASES) if case[3:] == (name, "mse", 0.001))
    net, _ = retrain(index, f"torch_{name}")
    difference = np.abs(probabilities(logits_of(net)).numpy() - traces()["probabilities"][index]).max()
    assert difference > 1e-3
