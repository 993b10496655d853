"""One self-contained HTML page of a tuned study: both scores, what was chosen, figures. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reports import tune_tables
from reports.live import Live
from reports.page import COLOURS, template
from reports.plain import plain
from sweeps.tune_record import TuningRecord


def page(record: TuningRecord, figures: Sequence[tuple[str, str]], live: Live | None = None) -> str:
    """The page as text. figures: (caption, inlined SVG), in order. live: while its runs go on."""
    text = template("tuned.html.jinja").render(
        record=record,
        words=tune_tables,
        figures=[(caption, Markup(image)) for caption, image in figures],
        colours=COLOURS,
        live=live,
    )
    return plain(text)
