"""What the paper's tables fix beside their cells, which stand in the studies (Row.paper): nothing is here twice."""

from __future__ import annotations

from collections.abc import Iterable

# The order in which the paper puts the models side by side (Table 3); models it does not know come after.
MODEL_ORDER = ("HRM", "TRM")


def other_depths(printed: Iterable[int]) -> str:
    """The footnote where the paper prints other depths than its formula gives (section 4.8: 9 and 7, not 8 and 6)."""
    return f"Depth is T(n+1)·n_layers; the paper prints {' and '.join(str(depth) for depth in printed)} here."
