"""Draws the ten digits from fonts and distorts them at random: a data set that needs no network and no files.

Every glyph becomes a signed distance field once. An image is that field sampled along a bent grid and cut at
a random level, so that one sampling step gives the affine map, the elastic bend and the stroke width.
"""

import math
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

_SIDE = 28  # pixels along an image's edge
_FIELD_SIDE = 56  # samples along a distance field's edge; the field covers the whole image
_GLYPH_BOX = (19.0, 20.0)  # largest width and height of an undistorted digit, in image pixels
_RENDER_SIZE = 160  # font size in points at which a glyph is drawn before it is fitted to its box
_COARSE_SIDE = 5  # knots along the edge of the random fields that bend the strokes
_BATCH = 2048  # images made together: many, because waking threads on busy cores costs more than the work
_MAX_SEED = 2**32 - 1  # torch's CPU generator drops the higher bits, and two seeds would give the same images

# Ranges of the distortions; lengths are in image pixels.
_ANGLE = math.radians(13.0)
_SHEAR = 0.2
_LOG_SCALE = 0.14
_SHIFT = 1.7
_ELASTIC = (0.3, 1.1)  # standard deviation of the displacement at the knots
_STROKE = (0.0, 0.9)  # added to each side of a stroke
_STROKE_WAVE = 0.2  # standard deviation of the stroke's change along the digit
_SOFTNESS = (1.0, 1.8)  # width of the ramp from black to white
_CONTRAST = (0.8, 1.0)  # brightness of full ink
_NOISE = (0.0, 0.08)  # standard deviation of the pixel noise, where full white is 1

_DEJAVU = ("Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique")
_DEJAVU += ("SansMono", "SansMono-Bold", "SansMono-Oblique", "SansMono-BoldOblique")
_DEJAVU += ("Serif", "Serif-Bold", "Serif-Italic", "Serif-BoldItalic")
_STIX = ("General", "GeneralBol", "GeneralItalic", "GeneralBolIta")
_COMPUTER_MODERN = ("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10")
# The other files of that folder hold symbols only, or old-style figures that sit at uneven heights.
_FONTS = (*(f"DejaVu{name}" for name in _DEJAVU), *(f"STIX{name}" for name in _STIX), *_COMPUTER_MODERN)


def synthetic_digits(num_images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draws distorted font digits: images, uint8 [num_images, 1, 28, 28], and labels, int64 [num_images], 0 to 9.

    255 is white ink. Each digit appears equally often, up to one image, in random order. The bytes depend on the
    arguments alone: not on the global random state, nor on the number of threads. A shorter set is not a prefix of
    a longer one. A second call returns the very same tensors, so treat them as read-only. Raises ValueError.
    """
    if num_images < 1:
        raise ValueError(f"num_images must be at least 1, but it is {num_images}.")
    if not 0 <= seed <= _MAX_SEED:
        raise ValueError(f"seed must be from 0 to {_MAX_SEED}, but it is {seed}.")
    return _draw_all(num_images, seed)


@lru_cache(maxsize=8)
def _draw_all(num_images: int, seed: int) -> tuple[Tensor, Tensor]:
    """The images and labels of `synthetic_digits`, for arguments that are known to be in range."""
    with torch.device("cpu"), torch.no_grad():  # a caller's default device must not move the work
        generator = torch.Generator().manual_seed(seed)
        fields = _glyph_fields()
        labels = torch.randperm(num_images, generator=generator) % 10
        images = [_draw_batch(fields, part, generator) for part in labels.split(_BATCH)]
    return torch.cat(images), labels


def _draw_batch(fields: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draws an image, uint8 [B, 1, 28, 28], for each of the labels [B] by `_glyph_fields` [fonts, 10, S, S].

    Thread-count independence: where torch splits a tensor among threads, an element may be computed by
    vector code or by scalar code, and only exactly rounded operations agree in both. So tensors with pixels
    see +, -, *, clamp and grid_sample (which splits between images, never inside one); sin, cos and exp see
    one number per image, and a batch of those is too short for torch to split.
    """
    count = len(labels)
    font = torch.randint(len(fields), (count,), generator=generator)
    elastic = _uniform(count, _ELASTIC, generator).view(-1, 1, 1, 1)
    grid = _affine_grid(count, generator) + _smooth_noise(count, 2, generator) * (elastic * (2 / _SIDE))
    glyph = fields[font, labels].unsqueeze(1)  # [B,1,S,S]
    depth = grid_sample(glyph, grid, padding_mode="border", align_corners=False)  # [B,1,H,W]
    stroke = _uniform(count, _STROKE, generator).view(-1, 1, 1, 1)
    wave = _smooth_noise(count, 1, generator).permute(0, 3, 1, 2) * _STROKE_WAVE  # [B,1,H,W]
    sharpness = 1 / _uniform(count, _SOFTNESS, generator).view(-1, 1, 1, 1)
    ink = ((depth + stroke + wave) * sharpness + 0.5).clamp(0.0, 1.0)
    contrast = _uniform(count, _CONTRAST, generator).view(-1, 1, 1, 1)
    noise = torch.randn(ink.shape, generator=generator, dtype=torch.float32)
    noise = noise * _uniform(count, _NOISE, generator).view(-1, 1, 1, 1)
    return ((ink * contrast + noise).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


def _affine_grid(count: int, generator: torch.Generator) -> Tensor:
    """Maps each pixel to a point of the field by a random rotation, shear, scale and shift.

    float32 [count, 28, 28, 2], x before y, where -1 and 1 are the edges of the field.
    """
    angle = _uniform(count, (-_ANGLE, _ANGLE), generator)
    shear = _uniform(count, (-_SHEAR, _SHEAR), generator)
    scale_x, scale_y = (_uniform(count, (-_LOG_SCALE, _LOG_SCALE), generator).exp() for _ in range(2))
    bound = 2 * _SHIFT / _SIDE
    shift_x, shift_y = (_uniform(count, (-bound, bound), generator) for _ in range(2))
    cos, sin = angle.cos(), angle.sin()
    # The rows of [[1, shear], [0, 1]] @ rotation, each times its scale.
    row_x = torch.stack([cos + shear * sin, shear * cos - sin, shift_x], 1) * scale_x.unsqueeze(1)
    row_y = torch.stack([sin, cos, shift_y], 1) * scale_y.unsqueeze(1)
    theta = torch.stack([row_x, row_y], 1).view(count, 2, 3, 1, 1)  # [B,2,3,1,1]
    centres = (torch.arange(_SIDE, dtype=torch.float32) * 2 + 1) / _SIDE - 1  # [W]
    # Written out instead of torch's affine_grid, which multiplies matrices in an order of its own choice.
    grid = theta[:, :, 0] * centres + theta[:, :, 1] * centres.unsqueeze(1) + theta[:, :, 2]  # [B,2,H,W]
    return grid.permute(0, 2, 3, 1)  # [B,H,W,2]


def _smooth_noise(count: int, channels: int, generator: torch.Generator) -> Tensor:
    """Normal noise on a few knots, joined by smooth curves: float32 [count, 28, 28, channels], about unit."""
    shape = (count, channels, _COARSE_SIDE, _COARSE_SIDE)
    knots = torch.randn(shape, generator=generator, dtype=torch.float32)
    centres = (torch.arange(_SIDE, dtype=torch.float32) * 2 + 1) / _SIDE - 1
    grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), 2)  # [H,W,2]
    grid = grid.expand(count, -1, -1, -1)
    smooth = grid_sample(knots, grid, mode="bicubic", padding_mode="border", align_corners=True)
    return smooth.permute(0, 2, 3, 1)  # [B,H,W,C]


def _uniform(count: int, bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Uniform numbers between the two bounds, float32 [count]."""
    low, high = bounds
    return torch.rand(count, generator=generator, dtype=torch.float32) * (high - low) + low


@lru_cache(maxsize=1)
def _glyph_fields() -> Tensor:
    """How deep each point lies inside its glyph, in image pixels and negative outside: [fonts, 10, S, S]."""
    glyphs = torch.stack([torch.stack([_glyph(font, str(digit)) for digit in range(10)]) for font in _FONTS])
    depth = torch.stack([_distance(~font) - _distance(font) for font in glyphs])  # [fonts,10,S,S]
    return depth * (_SIDE / _FIELD_SIDE)


def _glyph(font_name: str, digit: str) -> Tensor:
    """One digit fitted into the glyph box at the middle of the field: bool [S, S], true on the ink."""
    import matplotlib  # imported here, as is PIL, so that importing this module stays cheap
    from PIL import Image, ImageDraw, ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font_name}.ttf"
    page = Image.new("L", (2 * _RENDER_SIZE, 2 * _RENDER_SIZE))
    font = ImageFont.truetype(str(path), _RENDER_SIZE)
    ImageDraw.Draw(page).text((_RENDER_SIZE // 2, _RENDER_SIZE // 4), digit, font=font, fill=255)
    crop = page.crop(page.getbbox())
    factor = min(box / edge for box, edge in zip(_GLYPH_BOX, crop.size, strict=True)) * _FIELD_SIDE / _SIDE
    crop = crop.resize((round(crop.width * factor), round(crop.height * factor)), Image.Resampling.BICUBIC)
    canvas = Image.new("L", (_FIELD_SIDE, _FIELD_SIDE))
    canvas.paste(crop, ((_FIELD_SIDE - crop.width) // 2, (_FIELD_SIDE - crop.height) // 2))
    ink = torch.tensor(list(canvas.tobytes()), dtype=torch.uint8)
    return ink.view(_FIELD_SIDE, _FIELD_SIDE) > 127


def _distance(inside: Tensor) -> Tensor:
    """Distance of every sample to the nearest true one, in samples: bool [D, S, S] to float32 [D, S, S].

    The squared distance splits into its two axes: the best column of each row, then the best row.
    """
    side = inside.shape[-1]
    place = torch.arange(side, dtype=torch.float32)
    gap = (place - place.unsqueeze(1)) ** 2  # [S,S]
    squared = (~inside).to(torch.float32) * (4.0 * side**2)  # farther than any two samples
    for _ in range(2):
        squared = (squared.unsqueeze(-2) + gap).amin(-1).transpose(-1, -2)  # [D,S,S]
    return squared.sqrt()
