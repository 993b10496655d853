"""One self-contained HTML page of a search: what was chosen and confirmed, figures, every trial. Fetches nothing."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reports import search_tables
from reports.live import Live
from reports.page import COLOURS, template
from reports.plain import plain
from sweeps.search_record import SearchRecord


def page(record: SearchRecord, figures: Sequence[tuple[str, str]], live: Live | None = None) -> str:
    """The page as text. figures: (caption, inlined SVG), in order. live: while its runs go on."""
    text = template("search.html.jinja").render(
        record=record,
        words=search_tables,
        marked={trial.number for trial in record.trials if search_tables.is_marked(record, trial)},
        figures=[(caption, Markup(image)) for caption, image in figures],
        colours=COLOURS,
        live=live,
    )
    return plain(text)
