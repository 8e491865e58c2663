"""A figure as a part of the page: its own ids, the page's text colour, nothing fetched."""

from __future__ import annotations

import base64
import re

from markupsafe import Markup

from mnist_lightning.report.style import INK, Picture

_LARGEST_SVG = 300_000  # bytes; beyond, the PNG is smaller and draws faster


def inline(picture: Picture) -> Markup:
    """Returns `<svg>` markup, or `<img>` with the PNG inside where the drawing has very many points.

    Trusted as markup: matplotlib wrote it and turns every text into outlines; the label is escaped here.
    """
    label = Markup.escape(f"{picture.title}. {picture.caption}")
    if len(picture.svg) > _LARGEST_SVG:
        return Markup('<img class="paper" alt="{}" src="{}">').format(label, data_address(picture.png))
    text = picture.svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)  # `*{...}` would reach the whole page
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    # glyphs have the same ids in every figure, and only one definition of an id counts in a page
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{picture.name}-", text)
    text = re.sub(r"fill: #ffffff", "fill: none", text, count=1)  # the paper: first thing drawn
    text = text.replace(INK, "currentColor")
    # the size in points would win over the page's
    text = re.sub(r'<svg ([^>]*?)\bheight="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)\bwidth="([\d.]+)pt"', r'<svg style="max-width:\2pt" \1', text, count=1)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return Markup(re.sub(r">\s+<", "><", text).strip())


def data_address(png: bytes) -> Markup:
    """Returns a picture as an address that holds it; base64 has nothing that could be markup."""
    return Markup(f"data:image/png;base64,{base64.b64encode(png).decode()}")
