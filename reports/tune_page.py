"""One self-contained HTML page of a tuned study: both scores, what was chosen, figures. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reports import tune_tables
from reports.page import COLOURS, template
from reports.plain import plain
from sweeps.tune_record import TuningRecord


def page(record: TuningRecord, figures: Sequence[tuple[str, str]]) -> str:
    """The page as text. figures: (caption, inlined SVG), in order."""
    text = template("tuned.html.jinja").render(
        record=record,
        words=tune_tables,
        figures=[(caption, Markup(image)) for caption, image in figures],
        colours=COLOURS,
    )
    return plain(text)
