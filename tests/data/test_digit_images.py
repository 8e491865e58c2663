"""A picture of a digit becomes an image as MNIST's are, whatever lies around the digit and however it is lit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from drawn_digits import KINDS, drawn_digits, gradient, on_paper, page, penned, picture_of, printed, shadow, vignette
from mnist_lightning.config import DataConfig
from mnist_lightning.data.datasets import load_dataset
from mnist_lightning.data.digit_images import digit_image

# The sum of differences of two images as a share of their ink; a shift of all by one pixel would be about 0.6
SAME, NEARLY, CLOSE = 0.001, 0.06, 0.3


def made(picture: Image.Image) -> np.ndarray:
    image = digit_image(picture)
    assert image is not None, "no digit found"
    return image.astype(np.float64)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).sum() / one.sum())


def but_for_a_pixel(one: np.ndarray, other: np.ndarray) -> float:
    """The same where the other may lie a pixel beside: a centre of mass between two pixels is moved to either."""
    return min(difference(one, np.roll(other, (y, x), (0, 1))) for y in (-1, 0, 1) for x in (-1, 0, 1))


def inks() -> list[Image.Image]:
    """A digit of each value, printed and by pen, 120 pixels high."""
    random = np.random.default_rng(0)
    return [printed(d, "DejaVuSans", 160) for d in range(10)] + [penned(d, 120, 12, random) for d in range(10)]


@pytest.fixture(scope="module", params=range(20), ids=lambda n: f"{n % 10} {'by pen' if n > 9 else 'printed'}")
def ink(request: pytest.FixtureRequest) -> Image.Image:
    """A digit on a page around it."""
    return page(inks()[request.param], (220, 200))


def plain(ink: Image.Image) -> np.ndarray:
    return made(picture_of(on_paper(ink)))


def test_where_a_digit_lies_on_its_paper_changes_nothing(ink: Image.Image) -> None:
    box = ink.getbbox()
    assert box
    for at in ((0.05, 0.1), (0.9, 0.95), (0.5, 0.2)):
        moved = page(ink.crop(box), (220, 200), at)
        assert difference(plain(ink), plain(moved)) <= SAME


def test_more_paper_around_a_digit_changes_nothing(ink: Image.Image) -> None:
    for size in ((400, 300), (700, 210), (230, 900)):
        assert difference(plain(ink), plain(page(ink, size))) <= SAME


def test_light_on_dark_is_as_dark_on_light(ink: Image.Image) -> None:
    assert difference(plain(ink), made(ink)) <= SAME


def test_another_colour_of_paper_and_pen_changes_next_to_nothing(ink: Image.Image) -> None:
    for paper, pen in ((230, 60), (90, 220), (180, 140)):
        assert difference(plain(ink), made(picture_of(on_paper(ink, paper, pen)))) <= NEARLY
    red_on_green = Image.composite(
        Image.new("RGB", ink.size, (200, 60, 60)), Image.new("RGB", ink.size, (60, 131, 60)), ink
    )
    assert np.ptp(np.asarray(red_on_green.convert("L"))) <= 2, "in grey nothing would be seen"
    assert difference(plain(ink), made(red_on_green)) <= NEARLY


@pytest.mark.parametrize("colour", ["black", "white"])
def test_ink_on_nothing_is_as_ink_on_paper(colour: str, ink: Image.Image) -> None:
    picture = Image.new("RGBA", ink.size, colour)
    picture.putalpha(ink)
    assert difference(plain(ink), made(picture)) <= SAME


def test_light_from_one_side_changes_little(ink: Image.Image) -> None:
    for angle in (0.0, 1.0, 2.5):
        lit = picture_of(gradient(on_paper(ink, 240, 40), 0.5, angle))
        assert but_for_a_pixel(plain(ink), made(lit)) <= CLOSE


def test_another_size_changes_little(ink: Image.Image) -> None:
    for factor in (0.5, 2, 5):
        size = round(ink.width * factor), round(ink.height * factor)
        assert but_for_a_pixel(plain(ink), plain(ink.resize(size, Image.Resampling.BICUBIC))) <= CLOSE


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_is_as_mnists_are(kind: str) -> None:
    """The longer side is 20 pixels, the brightest 255, the centre of mass in pixel 14 unless the digit would leave."""
    for _, _, picture in (one for one in drawn_digits(1) if one.kind == kind):
        image = made(picture)
        assert (image.shape, image.max()) == ((28, 28), 255)
        rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)  # the outermost pixels may be too faint to count
        for axis, inside in enumerate((rows, columns)):
            mass = image.sum(1 - axis)
            centre = (mass * np.arange(28)).sum() / mass.sum()
            assert abs(centre - 14) <= 0.52 or inside[0] == 0 or inside[-1] == 27


def ready(digit: int) -> np.ndarray:
    """An image as MNIST's are."""
    return plain(page(penned(digit, 120, 14, np.random.default_rng(1)), (200, 200))).astype(np.uint8)


def test_an_image_of_28_by_28_pixels_is_left_as_it_is() -> None:
    for digit in range(10):
        image = ready(digit)
        assert difference(image, made(Image.fromarray(image))) == 0
        moved = np.roll(image, 3, 0)
        assert difference(moved, made(Image.fromarray(moved))) == 0


def test_one_that_is_black_on_white_is_inverted_and_one_on_grey_ground_is_made_anew() -> None:
    for digit in range(10):
        image = ready(digit)
        assert difference(image, made(Image.fromarray(255 - image))) == 0
        grey = made(picture_of(on_paper(Image.fromarray(image), 150, 20)))
        assert grey[0].max() == 0
        assert difference(image.astype(float), grey) < 1


def test_an_image_of_28_by_28_pixels_on_nothing_is_seen_too() -> None:
    for colour in ("white", "black"):
        picture = Image.new("RGBA", (28, 28), colour)
        picture.putalpha(Image.fromarray(ready(3)))
        assert difference(ready(3), made(picture)) == 0


def test_an_image_enlarged_and_pasted_on_paper_comes_back_close_to_itself() -> None:
    for digit in range(10):
        image = ready(digit)
        large = Image.fromarray(image).resize((168, 168), Image.Resampling.BICUBIC)
        again = made(picture_of(gradient(on_paper(page(large, (240, 300)), 240, 40), 0.7, 1.0)))
        assert but_for_a_pixel(image.astype(float), again) < 0.35


def test_so_do_mnists_own(real_mnist: Path) -> None:
    images = load_dataset(DataConfig(root=str(real_mnist), download=False)).test.images[:200, 0].numpy()
    differences = []
    for image in images:
        large = Image.fromarray(image).resize((140, 140), Image.Resampling.BICUBIC)
        differences.append(
            difference(image.astype(float), made(picture_of(on_paper(page(large, (200, 180)), 240, 40))))
        )
    assert np.median(differences) < CLOSE
    assert np.quantile(differences, 0.9) < 0.7  # by one pixel's shift


def noise(mean: float, deviation: float, size: tuple[int, int] = (200, 240)) -> np.ndarray:
    return np.random.default_rng(4).normal(mean, deviation, size)


def blob(width: float, size: tuple[int, int] = (300, 400)) -> np.ndarray:
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    return 200 - 70 * np.exp(-(((x - 150) / width) ** 2) - ((y - 200) / width) ** 2)


EMPTY = {
    "white": np.full((200, 240), 255.0),
    "black": np.zeros((28, 28)),
    "white, as small as MNIST's": np.full((28, 28), 255.0),
    "one pixel": np.zeros((1, 1)),
    "one line": noise(128, 40, (1, 500)),
    "lit from one side": gradient(np.full((200, 240), 240.0), 0.4, 1.0),
    "vignette": vignette(np.full((200, 300), 240.0), 0.5),
    "shadow": shadow(np.full((200, 300), 235.0), 0.6, 0.5, 0.6),
    "a soft shadow of a thing nearby": blob(90),
    "its narrow shadow": blob(55),
    "a border of light": 210 - 80 / (1 + np.exp((150 - np.mgrid[0:300, 0:400][1]) / 30)),
    "uniform noise": np.random.default_rng(5).uniform(0, 255, (200, 200)),
    "uniform noise, small": np.random.default_rng(6).uniform(0, 255, (28, 28)),
    "uniform noise, large": np.random.default_rng(6).uniform(0, 255, (900, 700)),
    "a bell's noise": noise(128, 30),
    "faint noise": noise(230, 2),
    "black and white noise": np.random.default_rng(7).choice([0.0, 255.0], (100, 120)),
    "dust": np.where(np.random.default_rng(8).random((300, 300)) < 0.001, 0.0, 255.0),
    "salt and pepper": np.random.default_rng(9).choice([0.0, 230.0, 255.0], (200, 200), p=[0.05, 0.9, 0.05]),
}


@pytest.mark.parametrize("name", EMPTY)
def test_a_picture_without_a_digit_is_said_to_have_none(name: str) -> None:
    assert digit_image(picture_of(EMPTY[name])) is None


def test_noise_in_colours_or_blurred_has_no_digit_either() -> None:
    random = np.random.default_rng(10)
    colours = Image.fromarray(random.integers(0, 256, (200, 200, 3)).astype(np.uint8))
    assert digit_image(colours) is None
    assert digit_image(picture_of(random.uniform(0, 255, (200, 200))).filter(ImageFilter.GaussianBlur(3))) is None


@pytest.mark.parametrize("side", [90, 200, 600])
def test_grains_of_salt_are_no_digit_whatever_their_number(side: int) -> None:
    salt = np.where(np.random.default_rng(11).random((side, side)) < 0.01, 0.0, 255.0)
    assert digit_image(picture_of(salt)) is None


@pytest.mark.parametrize("grey", [0, 190])
def test_a_line_of_one_pixel_on_a_large_page_is_seen(grey: int) -> None:
    page = Image.new("L", (500, 500), 255)
    draw = ImageDraw.Draw(page)
    draw.ellipse((150, 40, 350, 240), outline=grey)
    draw.line([(350, 140), (320, 460)], fill=grey)
    image = made(page)
    assert image[4:24, 8:20].max() == 255


def test_a_digit_printed_in_dots_is_seen() -> None:
    page = Image.new("L", (120, 160), 255)
    for row, dots in enumerate(("01110", "10001", "00001", "00010", "00100", "01000", "11111")):
        for column in (i for i, dot in enumerate(dots) if dot == "1"):
            ImageDraw.Draw(page).ellipse((15 + column * 18, 15 + row * 18, 26 + column * 18, 26 + row * 18), fill=0)
    assert (made(page) > 0).sum() > 100


def test_nothing_but_transparency_has_no_digit() -> None:
    assert digit_image(Image.new("RGBA", (100, 100), (255, 255, 255, 0))) is None
