"""Laws of the font digits: their form, their determinism, and how hard they are to tell apart."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mnist_lightning.data import synthetic
from mnist_lightning.data.synthetic import synthetic_digits


@pytest.fixture
def restored_threads() -> Iterator[None]:
    """Put the number of threads back after a test that changes it."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def _drawn_anew(num_images: int, seed: int) -> tuple[Tensor, Tensor]:
    """The digits without any help from an earlier call."""
    synthetic._draw_all.cache_clear()
    synthetic._glyph_fields.cache_clear()
    return synthetic_digits(num_images, seed)


def _accuracy(model: nn.Module) -> float:
    """Share of the 2,000 test images (seed 1) that the model labels correctly, 0 to 1."""
    images, labels = synthetic_digits(2_000, 1)
    with torch.no_grad():
        return (model(images / 255).argmax(1) == labels).float().mean().item()


@pytest.fixture(scope="module")
def linear_accuracy() -> float:
    """Test accuracy of multinomial logistic regression, fitted to 10,000 images until it stops improving."""
    images, labels = synthetic_digits(10_000, 0)
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), images / 255
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        penalty = 5e-4 * sum((weight**2).sum() for weight in model.parameters())
        value = cross_entropy(model(inputs), labels) + penalty
        value.backward()
        return value.item()

    optimizer.step(loss)
    return _accuracy(model)


def test_images_are_bytes_of_28_by_28_pixels_with_one_channel() -> None:
    images, labels = synthetic_digits(37, 0)
    assert images.shape == (37, 1, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.shape == (37,)
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("num_images", [1, 9, 10, 1_003, 2_500])
def test_every_digit_appears_equally_often_up_to_one_image(num_images: int) -> None:
    counts = synthetic_digits(num_images, 3)[1].bincount(minlength=10)
    assert len(counts) == 10
    assert counts.sum() == num_images
    assert counts.max() - counts.min() <= 1


def test_labels_come_in_random_order() -> None:
    labels = synthetic_digits(2_000, 0)[1]
    repeats = (labels[1:] == labels[:-1]).float().mean().item()
    assert 0.05 < repeats < 0.15


def test_every_image_is_light_ink_on_a_dark_border() -> None:
    images = synthetic_digits(2_000, 0)[0].float().squeeze(1)  # [N,H,W]
    assert images.flatten(1).amax(1).min() > 128
    for edge in (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]):
        assert edge.mean() < 16


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = _drawn_anew(2_500, 7), _drawn_anew(2_500, 7)
    assert first[0] is not second[0]
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_another_seed_gives_other_images_and_another_order() -> None:
    first, second = synthetic_digits(100, 0), synthetic_digits(100, 1)
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])


def test_no_two_images_are_alike() -> None:
    images = synthetic_digits(5_000, 0)[0]
    assert len({image.numpy().tobytes() for image in images}) == 5_000


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_no_byte(threads: int, restored_threads: None) -> None:
    torch.set_num_threads(1)
    alone = _drawn_anew(2_500, 5)[0]
    torch.set_num_threads(threads)
    assert torch.equal(alone, _drawn_anew(2_500, 5)[0])


def test_the_global_random_state_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    first = _drawn_anew(50, 0)[0]
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(first, _drawn_anew(50, 0)[0])
    assert torch.equal(before, torch.get_rng_state())


def test_the_default_dtype_changes_no_byte() -> None:
    expected = _drawn_anew(50, 0)[0]
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(expected, _drawn_anew(50, 0)[0])
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_second_call_returns_the_same_tensors() -> None:
    assert synthetic_digits(20, 0)[0] is synthetic_digits(num_images=20, seed=0)[0]


@pytest.mark.parametrize(
    ("num_images", "seed", "name"),
    [(0, 0, "num_images"), (-5, 0, "num_images"), (1, -1, "seed"), (1, 2**32, "seed")],
)
def test_arguments_out_of_range_are_refused_by_name(num_images: int, seed: int, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        synthetic_digits(num_images, seed)


def test_a_linear_classifier_learns_the_digits_but_not_well(linear_accuracy: float) -> None:
    assert 0.60 < linear_accuracy < 0.95


def test_a_small_convolutional_network_clearly_beats_the_linear_classifier(linear_accuracy: float) -> None:
    images, labels = synthetic_digits(10_000, 0)
    torch.manual_seed(0)
    first, second = nn.Conv2d(1, 12, 5, stride=2), nn.Conv2d(12, 32, 5, stride=2)
    dense = (nn.Flatten(), nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 10))
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), *dense)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for batch in torch.randperm(4 * 10_000).remainder(10_000).split(100):
        optimizer.zero_grad()
        cross_entropy(model(images[batch] / 255), labels[batch]).backward()
        optimizer.step()
    assert _accuracy(model) > linear_accuracy + 0.03
