"""One self-contained HTML page of a study: its table, figures, runs and settings. Nothing is fetched from anywhere."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from reports import words
from reports.collect import SeedRun, Table, said, setting_text
from reports.figures import SCHEMES
from reports.plain import plain
from reports.tables import rows
from reports.tables.laid_out import sheet
from reports.tables.quoted import quotes
from sweeps.progress import duration

COLOURS = [(name, light, dark) for light, (name, dark) in SCHEMES.items()]  # what style.css.jinja names


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
    return environment.get_template(name)


def page(table: Table, figures: Sequence[tuple[str, str]]) -> str:
    """The page as text. figures: (caption, inlined SVG), in order."""
    settings = _settings(table)
    text = template("page.html.jinja").render(
        table=table,
        words=words,
        sheet=sheet(table),
        every_row=rows.every_row(table),
        apart=quotes(table),
        claims=rows.claims(table) if table.claims else None,
        checkpoints=rows.checkpoints(table) if table.selected else None,
        votes=rows.votes(table) if table.vote_curves else None,
        losses=table.study.layout == "losses",
        figures=[(caption, Markup(image)) for caption, image in figures],
        runs=[(row.name, run) for row in table.rows for run in row.runs],
        run_word=_run_word,
        duration=duration,
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
