"""One self-contained HTML page of a study: its table, figures, runs and settings. Nothing is fetched from anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from reports import words
from reports.again import again
from reports.facts import setting_text
from reports.figures.style import SCHEMES
from reports.links import Links
from reports.live import Live
from reports.plain import plain
from reports.runs import said
from reports.solved import Solved
from reports.table import NOTHING
from reports.tables import rows
from reports.tables.below import below
from reports.tables.laid_out import sheet
from reports.tables.quoted import quotes
from reports.types import SeedRun, Table
from sweeps.progress import duration, percent

COLOURS = [(name, light, dark) for light, (name, dark) in SCHEMES.items()]  # what style.css.jinja names
DIGITS_TOO_MANY = re.compile(r"(?<=\.[0-9]{2})[0-9]+")
UNCOMMITTED = {"yes": "with uncommitted changes"}


@cache
def template(name: str) -> Template:
    """A page's template: every value is text, and one that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["whole"] = whole
    return environment.get_template(name)


def whole(text: str) -> Markup:
    """The text, whose numbers are not parted from what belongs to them: "12.6 ± 6.3" breaks before its ± alone."""
    parted = r"(?<=±) |(?<=[0-9]) (?=%|\([0-9]+\))"
    return Markup(re.sub(parted, "&nbsp;", str(escape(text))))  # as an entity: `plain` knows no such space


def compact(image: str) -> str:
    """An SVG whose paths are exact to a hundredth of a point: a fifth less of a page of many curves."""
    return re.sub(r' d="[^"]*"', lambda path: DIGITS_TOO_MANY.sub("", path[0]), image)


def page(
    table: Table,
    figures: Sequence[tuple[str, str]],
    links: Links | None = None,
    solved: Solved | None = None,
    live: Live | None = None,
) -> str:
    """The page as text. figures: (caption, inlined SVG), in order. links: where the runs are kept. live: while any of
    its runs goes on.
    """
    settings = _settings(table)
    text = template("page.html.jinja").render(
        table=table,
        words=words,
        sheet=sheet(table),
        every_row=rows.every_row(table),
        apart=quotes(table),
        claims=rows.claims(table) if table.claims else None,
        below=below(table),
        losses=table.study.layout == "losses",
        figures=[(caption, Markup(compact(image))) for caption, image in figures],
        solved=solved,
        links=links or Links(),
        anchors={row.name: f"runs-{at}" for at, row in enumerate(table.rows, 1) if row.runs},
        again=again(table.campaign),
        commands=[(row.name, command) for row in table.rows if (command := again(table.campaign, row.name))],
        run_word=_run_word,
        commit_word=_commit_word,
        duration=duration,
        percent=percent,
        live=live,
        common=[(name, values[0]) for name, values in settings if len(set(values)) == 1],
        varying=[(name, values) for name, values in settings if len(set(values)) > 1],
        colours=COLOURS,
    )
    return plain(text)


def _settings(table: Table) -> list[tuple[str, tuple[str, ...]]]:
    """Every setting with its value in each row; the seeds are the runs' own."""
    flat = [{} if row.settings is None else row.settings.flat() for row in table.rows]
    runs_own = {"train.seed", *(["data.seed"] if table.draws else [])}
    names = [name for name in max(flat, key=len) if name not in runs_own]
    return [(name, tuple(setting_text(one[name]) if one else "" for one in flat)) for name in names]


def _run_word(run: SeedRun) -> str:
    """What became of a run."""
    word = f"finished: {run.reason}" if run.status == "finished" and run.reason else said(run) or run.status
    return f"{word}, reused from {run.tags['reused_from']}" if "reused_from" in run.tags else word


def _commit_word(run: SeedRun) -> str:
    """A run's commit, and whether that is all."""
    commit = run.tags.get("commit", "")[:12] or NOTHING
    return f"{commit} {UNCOMMITTED[run.tags['dirty']]}" if run.tags.get("dirty") in UNCOMMITTED else commit
