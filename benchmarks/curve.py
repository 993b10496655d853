"""Accuracy over training as an SVG, written by hand: legible at 700 pixels, no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 700, 400
LEFT, RIGHT, TOP, BOTTOM = 58, 128, 62, 52
EXACT, CELLS, INK, FAINT = "#1f5fa8", "#c2571a", "#222222", "#dddddd"


def draw(points: Sequence[Mapping[str, Any]], title: str, subtitle: str) -> str:
    """points: step, minutes, exact_accuracy with low and high, cell_accuracy, as fractions."""
    last = max(int(points[-1]["step"]), 1)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(fraction: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * fraction

    def line(name: str) -> str:
        return " ".join(f"{x(p['step']):.1f},{y(p[name]):.1f}" for p in points)

    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' font-family="Helvetica, Arial, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 24, title, size=16, weight="bold"),
        _text(LEFT, 44, subtitle, colour="#666666"),
    ]
    for percent in range(0, 101, 20):
        height = y(percent / 100)
        shapes.append(f'<path d="M{LEFT} {height:.1f}H{WIDTH - RIGHT}" stroke="{FAINT}"/>')
        shapes.append(_text(LEFT - 8, height + 4, f"{percent} %", anchor="end"))
    shapes += [_text(x(step), HEIGHT - BOTTOM + 20, f"{step:,}", anchor="middle") for step in _ticks(last)]
    minutes = float(points[-1]["minutes"])
    shapes.append(
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, f"training steps ({minutes:.1f} minutes)", anchor="middle")
    )
    band = [f"{x(p['step']):.1f},{y(p['high']):.1f}" for p in points]
    band += [f"{x(p['step']):.1f},{y(p['low']):.1f}" for p in reversed(points)]
    shapes.append(f'<polygon points="{" ".join(band)}" fill="{EXACT}" opacity="0.18"/>')
    for name, colour, dashes in (("cell_accuracy", CELLS, "5 4"), ("exact_accuracy", EXACT, "none")):
        shapes.append(
            f'<polyline points="{line(name)}" fill="none" stroke="{colour}" stroke-width="2.2"'
            f' stroke-dasharray="{dashes}" stroke-linejoin="round"/>'
        )
    exact, cells = (y(points[-1][name]) for name in ("exact_accuracy", "cell_accuracy"))
    if abs(exact - cells) < 34:  # keep the two labels apart
        middle = min(max((exact + cells) / 2, TOP + 20), HEIGHT - BOTTOM - 30)
        exact, cells = middle + 17, middle - 17
    for height, name, told, colour in (
        (exact, "exact_accuracy", "whole puzzles", EXACT),
        (cells, "cell_accuracy", "cells", CELLS),
    ):
        shapes.append(_text(WIDTH - RIGHT + 8, height, f"{100 * points[-1][name]:.1f} %", colour=colour, weight="bold"))
        shapes.append(_text(WIDTH - RIGHT + 8, height + 15, told, colour=colour))
    return "\n".join([*shapes, "</svg>\n"])


def _ticks(last: int) -> list[int]:
    """0 and about four round numbers up to the last."""
    step = 10 ** (len(str(last)) - 1)
    while last / step > 5:
        step *= 2
    while last / step < 2.5 and step % 2 == 0:
        step //= 2
    return list(range(0, last + 1, step))


def _text(
    x: float, y: float, text: str, *, size: int = 13, colour: str = INK, weight: str = "normal", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" font-weight="{weight}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )
