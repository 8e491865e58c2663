"""Losses and metrics, against torch's and torchmetrics' own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torchmetrics.functional.classification import binary_accuracy, multiclass_accuracy
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error

from mnist_lightning import config
from mnist_lightning.numerics.losses import LOSSES, WITH_GRADIENT, one_hot, probabilities
from mnist_lightning.numerics.metrics import METRICS, metric_sums

torch.manual_seed(0)
LOGITS = torch.randn(3, 40, 10, dtype=torch.float64)  # [G,N,K]
LABELS = torch.randint(10, (40,))


def test_the_losses_are_those_of_the_configuration() -> None:
    assert tuple(LOSSES) == config.LOSSES


def test_losses_equal_torchs_on_softmax_and_one_hot() -> None:
    p, y = LOGITS[0].softmax(-1), functional.one_hot(LABELS, 10).double()
    torch.testing.assert_close(LOSSES["mse"](LOGITS[0], LABELS), functional.mse_loss(p, y))
    torch.testing.assert_close(LOSSES["mae"](LOGITS[0], LABELS), functional.l1_loss(p, y))
    torch.testing.assert_close(LOSSES["cross_entropy"](LOGITS[0], LABELS), functional.cross_entropy(LOGITS[0], LABELS))


@pytest.mark.parametrize("name", LOSSES)
def test_a_stack_of_networks_has_the_losses_of_its_members(name: str) -> None:
    stacked = LOSSES[name](LOGITS, LABELS)
    torch.testing.assert_close(stacked, torch.stack([LOSSES[name](member, LABELS) for member in LOGITS]))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_give_a_float32_loss(name: str, dtype: torch.dtype) -> None:
    assert LOSSES[name](LOGITS[0].to(dtype), LABELS).dtype == torch.float32


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_gradients_written_out_are_autograds_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    for images in (1, 27, 40):
        logits = (9 * LOGITS[0, :images]).to(dtype)
        value, gradient = WITH_GRADIENT[LOSSES[name]](logits, LABELS[:images])
        LOSSES[name](logits.requires_grad_(), LABELS[:images]).backward()
        assert torch.equal(value, LOSSES[name](logits, LABELS[:images]))
        assert logits.grad is not None
        assert torch.equal(gradient.to(dtype), logits.grad)


def test_metrics_equal_torchmetrics() -> None:
    p, y = probabilities(LOGITS[0]), one_hot(LABELS, LOGITS)
    ours = dict(zip(METRICS, (metric_sums(LOGITS[0], LABELS, LOSSES["mae"]) / 40).tolist(), strict=True))
    assert ours["loss"] == pytest.approx(ours["mae"])
    assert ours["mse"] == pytest.approx(mean_squared_error(p, y).item())
    assert ours["mae"] == pytest.approx(mean_absolute_error(p, y).item())
    assert ours["accuracy"] == pytest.approx(multiclass_accuracy(p, LABELS, 10, average="micro").item())
    assert ours["binary_accuracy"] == pytest.approx(binary_accuracy(p, y.int()).item())


def test_metrics_of_batches_add_up_to_those_of_the_whole() -> None:
    whole = metric_sums(LOGITS[0], LABELS, LOSSES["mse"])
    parts = [metric_sums(LOGITS[0][s], LABELS[s], LOSSES["mse"]) for s in (slice(0, 7), slice(7, 40))]
    torch.testing.assert_close(parts[0] + parts[1], whole)


def test_metrics_of_a_stack_are_those_of_its_members() -> None:
    members = torch.stack([metric_sums(member, LABELS, LOSSES["mse"]) for member in LOGITS], dim=1)
    torch.testing.assert_close(metric_sums(LOGITS, LABELS, LOSSES["mse"]), members)


def test_the_members_of_a_stack_may_see_different_images() -> None:
    labels = torch.stack([LABELS, LABELS.flip(0), (LABELS + 1) % 10])  # [G,N]
    for loss in LOSSES.values():
        alone = [loss(*pair) for pair in zip(LOGITS, labels, strict=True)]
        torch.testing.assert_close(loss(LOGITS, labels), torch.stack(alone))
    members = [metric_sums(*pair, LOSSES["mse"]) for pair in zip(LOGITS, labels, strict=True)]
    torch.testing.assert_close(metric_sums(LOGITS, labels, LOSSES["mse"]), torch.stack(members, dim=1))


def test_metrics_keep_no_graph_of_the_network() -> None:
    assert not metric_sums(LOGITS[0].clone().requires_grad_(), LABELS, LOSSES["mse"]).requires_grad


def constant_outputs(row: torch.Tensor) -> dict[str, float]:
    labels = torch.arange(10).repeat(10)
    sums = metric_sums(row.log().expand(100, 10), labels, LOSSES["mse"]) / 100
    return dict(zip(METRICS, sums.tolist(), strict=True))


def test_the_reports_accuracy_of_a_network_that_always_says_the_same_digit_is_082() -> None:
    metrics = constant_outputs(functional.one_hot(torch.tensor(7), 10).double())
    assert metrics["binary_accuracy"] == 0.82
    assert metrics["accuracy"] == 0.1


def test_the_reports_accuracy_of_a_network_that_outputs_a_tenth_everywhere_is_090() -> None:
    assert constant_outputs(torch.full((10,), 0.1, dtype=torch.float64))["binary_accuracy"] == 0.90


def test_an_output_of_exactly_one_half_is_not_above_it_as_in_keras() -> None:
    """Keras' `BinaryAccuracy` takes y_pred > 0.5; torchmetrics does, too."""
    logits = torch.full((1, 10), -torch.inf, dtype=torch.float64)
    logits[0, :2] = 0.0  # softmax: one half, one half, eight times zero
    assert probabilities(logits)[0, :3].tolist() == [0.5, 0.5, 0.0]
    for label, right_outputs in ((2, 9), (0, 9)):  # only the label's own output is on the wrong side
        labels = torch.tensor([label])
        share = metric_sums(logits, labels, LOSSES["mse"])[METRICS.index("binary_accuracy")].item()
        assert share == pytest.approx(right_outputs / 10)
        assert share == pytest.approx(binary_accuracy(probabilities(logits), one_hot(labels, logits).int()).item())
