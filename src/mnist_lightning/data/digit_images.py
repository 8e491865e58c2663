"""A picture of a digit made into an image as MNIST's were made.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", Proceedings of the IEEE
86(11), 1998, section III.A: NIST's black and white digits were "size normalized to fit in a 20x20 pixel box while
preserving their aspect ratio", which gave grey levels "as a result of the anti-aliasing", and "centered in a 28x28
image by computing the center of mass of the pixels, and translating the image so as to position this point at the
center". In MNIST's files the longer side of 59,987 of 60,000 digits is 20 pixels, and the centre of mass of each is
within half a pixel of pixel 14 across and down (counted from 0): they were moved by whole pixels.

NIST began with digits that were clean already. What makes a picture such a one, step by step:

1. Colours become one number for each pixel, along the direction in which they differ most (principal components).
2. The paper's brightness is a plane, or, where light falls unevenly, a surface of second degree, fitted by least
   absolute deviations, which ink in less than half of the picture does not disturb; it is taken away.
3. As much noise as there is (Immerkaer, "Fast noise variance estimation", 1996) is smoothed.
4. Otsu, "A threshold selection method from gray-level histograms", 1979, parts the pixels; ink is what the picture's
   edge and most of its pixels are not.
5. Specks, parts of less than a tenth of the largest one, are taken away.
6. A stroke thinner than nearly all of MNIST's is made thicker.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from mnist_lightning.config import IMAGE_SIZE
from mnist_lightning.data.image_files import flat

_BOX = 20  # pixels: MNIST's digits fit into a square of this side
_CENTRE = 14  # the pixel in which their centre of mass is
_STROKE = 2.0  # pixels: about 80 % of MNIST's digits have wider strokes, 2.5 in the median
_CLEAN = 16  # the edge of an image that is as MNIST's is at most this bright, in the median
_FAINTEST = 8  # grey levels between ink and paper
_SHARPEST_LIGHT = 9  # times, from ink to paper in a ninth of the digit's size: shadows change more slowly
_SPECK = 0.1  # of the largest part
_MOST_PARTS = 30  # of which a digit consists, if it is printed in dots; grains are more
_LABELLED = 256  # pixels along the longer side at which parts are told apart
_RAMP = (0.05, 0.95)  # between paper and ink: what is outside is paper or ink

Grey = NDArray[np.float64]
Mask = NDArray[np.bool_]


def digit_image(picture: Image.Image) -> NDArray[np.uint8] | None:
    """Makes a picture into an image as MNIST's are: uint8 [28, 28], white on black; None if no digit is in it.

    One of 28 x 28 pixels on clean paper is left as it is, or inverted if it is dark on light. For a picture with alpha
    see `flat`. What is no digit, but a drawing, is taken for one.
    """
    picture = flat(picture)
    if picture.size == (IMAGE_SIZE, IMAGE_SIZE):
        ready = _as_it_is(np.asarray(picture.convert("L")))
        if ready is not None:
            return ready
    if min(picture.size) < 3:
        return None
    colours = np.atleast_3d(np.asarray(picture, np.float64))
    for degree in (1, 2):
        ink = _ink(_brightness(colours, degree))
        if ink is not None:
            return fitted(ink)
    return None


def _as_it_is(grey: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """An image on clean ground, white on black; None if its ground is neither black nor white.

    Of MNIST's first 1,000 test images in black on white a network reads as many (98.9 %) so as when they are
    fitted anew (99.0 %).
    """
    edge = float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    if min(edge, 255 - edge) > _CLEAN:
        return None
    if grey.min() == grey.max():
        return None
    return 255 - grey if edge > 127 else grey.copy()


def _brightness(colours: Grey, degree: int) -> Grey:
    """Colours [H, W, C] as one number each [H, W], 0 for the paper's colour there, greater for what is brighter."""
    rest = np.stack([c - _paper(c, degree) for c in np.moveaxis(colours, -1, 0)], -1)
    if rest.shape[-1] == 1:
        return rest[..., 0]
    flat_rest = rest.reshape(-1, rest.shape[-1])
    main = np.linalg.eigh(flat_rest.T @ flat_rest)[1][:, -1]
    return rest @ (main if main.sum() > 0 else -main)


def _paper(grey: Grey, degree: int) -> Grey:
    """The surface [H, W] of first or second degree that is nearest to the picture, by least absolute deviations.

    Iteratively reweighted least squares on at most 48 x 48 to 95 x 95 of the pixels.
    """
    y, x = (np.linspace(-1, 1, n) for n in grey.shape)
    x, y = np.broadcast_to(x, grey.shape), np.broadcast_to(y[:, None], grey.shape)
    terms = np.stack([np.ones(grey.shape), x, y, *([x * x, y * y, x * y] if degree > 1 else [])], -1)
    some = tuple(slice(step // 2, None, step) for step in (max(1, n // 48) for n in grey.shape))
    a, b = terms[some].reshape(-1, terms.shape[-1]), grey[some].ravel()
    weight = np.ones_like(b)
    solution = np.zeros(terms.shape[-1])
    for _ in range(15):
        weighted = a * weight[:, None]
        solution = np.linalg.lstsq(weighted.T @ a, weighted.T @ b, rcond=None)[0]
        weight = 1 / np.maximum(np.abs(b - a @ solution), 2)
    return terms @ solution


def _ink(bright: Grey) -> Grey | None:
    """How much ink is where, 0 to 1 [H, W], by the brightness beside the paper's; None if there is no digit."""
    noise = _noise(bright)
    if noise > 0.5:
        low, high = np.percentile(bright, [0.5, 99.5])
        bright = _smooth(bright, float(np.clip(8 * noise / max(high - low, 1e-9), 0.3, 2.5)))
    threshold, parted = _otsu(bright)
    dark = bright <= threshold
    edge = np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]])
    mask = dark if 2 * edge.mean() + dark.mean() < 1.5 else ~dark
    if not mask.any() or mask.all():
        return None
    paper, pen = float(bright[~mask].mean()), float(bright[mask].mean())
    contrast = abs(pen - paper)
    if contrast < max(_FAINTEST, 2 * noise) or (parted < 0.66 and mask.mean() > 0.3):
        return None  # empty, or noise: a bell's halves explain 0.64 of its variance, its pixels are ink by halves
    digit = _without_specks(mask)
    if digit.sum() < 0.15 * mask.sum() or not _is_sharp(bright, digit):
        return None
    low, high = _RAMP
    ink = np.clip(((bright - paper) / (pen - paper) - low) / (high - low), 0, 1)
    return np.where(_grown(digit), ink, 0)


def _noise(grey: Grey) -> float:
    """The standard deviation of white noise, from what a plane and any straight edge do not have."""
    d = np.diff(np.diff(grey, 2, axis=0), 2, axis=1)
    return float(np.median(np.abs(d)) / 0.6745 / 6)


def _smooth(grey: Grey, sigma: float) -> Grey:
    """Convolves [H, W] with a Gaussian of that deviation in pixels."""
    reach = max(1, round(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    for axis in (0, 1):
        padded = np.pad(grey, [(reach, reach) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
        n = grey.shape[axis]
        grey = sum(k * padded.take(range(i, i + n), axis) for i, k in enumerate(kernel / kernel.sum()))  # pyright: ignore[reportAssignmentType] - not 0, but arrays
    return grey


def _otsu(grey: Grey) -> tuple[float, float]:
    """The threshold that parts the values into two classes, and which share of the variance that explains."""
    counts, bounds = np.histogram(grey, 256)
    middles, share = (bounds[:-1] + bounds[1:]) / 2, counts / counts.sum()
    below, sums = np.cumsum(share), np.cumsum(share * middles)
    both = below * (1 - below)
    between = np.where(both > 1e-12, (sums[-1] * below - sums) ** 2 / np.maximum(both, 1e-12), 0)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    at = int(best[0] + best[-1]) // 2  # of a gap its middle
    variance = float((share * (middles - sums[-1]) ** 2).sum())
    return float(bounds[at + 1]), float(between[at]) / max(variance, 1e-12)


def _without_specks(mask: Mask) -> Mask:
    """The parts of a mask [H, W] that are at least a tenth as large as the largest; none if they are grains."""
    factor = -(-max(mask.shape) // _LABELLED)
    height, width = (-(-n // factor) for n in mask.shape)
    padded = np.pad(mask, [(0, height * factor - mask.shape[0]), (0, width * factor - mask.shape[1])])
    labels = _labelled(np.asarray(padded.reshape(height, factor, width, factor).any((1, 3))))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    large = sizes >= max(1, _SPECK * sizes.max())
    if large.sum() > _MOST_PARTS:
        return np.zeros_like(mask)
    return mask & large[labels].repeat(factor, 0).repeat(factor, 1)[: mask.shape[0], : mask.shape[1]]


def _labelled(mask: Mask) -> NDArray[np.int64]:
    """A number for each part of a mask [H, W] whose pixels touch, also by a corner; 0 outside."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        across = np.pad(labels, 1)
        across = np.maximum.reduce([across[:, :-2], across[:, 1:-1], across[:, 2:]])
        around = np.where(mask, np.maximum.reduce([across[:-2], across[1:-1], across[2:]]), 0)
        around = np.where(
            mask, np.concatenate([[0], around.ravel()])[around], 0
        )  # that of the pixel whose number it has: long ways
        if (around == labels).all():
            return labels
        labels = around


def _is_sharp(bright: Grey, digit: Mask) -> bool:
    """Whether the brightness changes faster at the digit's outline than light does.

    That is by at least nine times the contrast over the digit's size, or, of a small one, by an eighth per pixel. The
    contrast is what smoothing leaves of it: to a line of one pixel little.
    """
    size = 1 + max(float(np.ptp(np.flatnonzero(digit.any(axis)))) for axis in (0, 1))
    outline = _grown(digit) & ~digit
    bright = _smooth(bright, max(size / 100, 0.3))
    contrast = abs(float(bright[digit].mean() - bright[~digit].mean()))
    down, across = np.gradient(bright)
    steepness = np.hypot(down, across)[outline]
    return not outline.any() or float(np.median(steepness)) >= contrast * min(_SHARPEST_LIGHT / size, 0.125)


def _grown(mask: Mask) -> Mask:
    """The mask [H, W] and the pixels around it."""
    return np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(3))) > 0


def fitted(ink: Grey) -> NDArray[np.uint8] | None:
    """Fits ink, 0 to 1 [H, W], into 20 x 20 pixels and centres it by mass: uint8 [28, 28]; None if there is none."""
    inked = ink > 0.2
    if not inked.any():
        return None
    box = tuple(slice(i[0], i[-1] + 1) for i in (np.flatnonzero(inked.any(axis)) for axis in (1, 0)))
    ink = _thick_enough(ink[box])
    scale = _BOX / max(ink.shape)
    height, width = (max(1, round(n * scale)) for n in ink.shape)
    by = Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BILINEAR
    return _centred(np.asarray(Image.fromarray((ink * 255).astype(np.float32)).resize((width, height), by), np.float64))


def _thick_enough(ink: Grey) -> Grey:
    """The ink [H, W] with strokes of at least two pixels, once it is fitted into 20 x 20.

    The width of a stroke is twice its area by its outline's length.
    """
    outline = sum(np.abs(np.diff(np.pad(ink, 1), axis=axis)).sum() for axis in (0, 1)) * np.pi / 4
    side = max(ink.shape)
    missing = _STROKE - 2 * ink.sum() / outline * _BOX / side
    rounds = round((missing + 0.4) / 2 * side / _BOX) if missing > 0 else 0
    for number in range(rounds):
        padded = np.pad(ink, 2)
        views = [padded[1:-1, i : i + ink.shape[1] + 2] for i in range(3)]
        views += [padded[i : i + ink.shape[0] + 2, 1:-1] for i in (0, 2)]
        if number % 2:  # in turn a square and a cross: nearly a disc
            views += [padded[i : i + ink.shape[0] + 2, j : j + ink.shape[1] + 2] for i in (0, 2) for j in (0, 2)]
        ink = np.maximum.reduce(views)
    return ink


def _centred(grey: Grey) -> NDArray[np.uint8]:
    """A digit [H, W], at most 20 x 20, in 28 x 28 pixels: its brightest is 255, its centre of mass in pixel 14."""
    grey = grey * (255 / grey.max())
    corner = []
    for axis, n in enumerate(grey.shape):
        mass = grey.sum(1 - axis)
        centre = (mass * np.arange(n)).sum() / mass.sum()
        corner.append(int(np.clip(np.floor(_CENTRE - centre + 0.5), 0, IMAGE_SIZE - n)))
    top, left = corner
    result = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    result[top : top + grey.shape[0], left : left + grey.shape[1]] = np.clip(np.rint(grey), 0, 255)
    return result
