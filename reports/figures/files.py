"""A figure as bytes: two draws of the same numbers are the same bytes, without a date or a program's name."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from reports.figures.style import SCHEMES, STYLE
from reports.plain import plain

GROWS = 1.15  # times its size in print
DPI = 144  # of a PNG: two dots a point; most figures are over 1,000 wide
PACKED = 3  # of zlib's 9: a tenth larger than its usual 6, in two thirds of the time


def png(figure: Figure) -> bytes:
    """The picture in pixels."""
    how: dict[str, Any] = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": PACKED}}
    return _saved(figure, lambda out: figure.savefig(out, format="png", dpi=DPI, **how))


def svg(figure: Figure) -> str:
    """The picture as SVG."""
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    return plain(_saved(figure, lambda out: figure.savefig(out, format="svg", metadata=metadata)).decode())


def _saved(figure: Figure, save: Callable[[io.BytesIO], None]) -> bytes:
    out = io.BytesIO()
    with mpl.rc_context(STYLE):
        save(out)
    return out.getvalue()


def inline(image: str, title: str, prefix: str) -> str:
    """An SVG for the inside of a page: no prolog, its own ids, colours that follow the page's scheme.

    It shrinks with the page and grows little, so that the letters of all figures are about as large.
    """
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', image)
    most = f' style="max-width: min(50rem, {GROWS * float(width[1]):.0f}pt)"' if width else ""
    image = image[image.index("<svg") :].strip()
    image = re.sub(r"<metadata>.*?</metadata>", "", image, flags=re.DOTALL)
    image = re.sub(r' xmlns(:\w+)?="[^"]*"', "", image)
    image = image.replace("xlink:href", "href")
    for before_a_name in (' id="', "url(#", 'href="#'):
        image = image.replace(before_a_name, f"{before_a_name}{prefix}-")
    for light, (name, _) in SCHEMES.items():
        image = image.replace(light, f"var(--{name})")
    return image.replace("<svg", f'<svg role="img" aria-label="{title}"{most}', 1)
