"""A tuned study's report as files, from its record alone: drawn, rendered, written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reports.figures import files
from reports.live import Live
from reports.report import write_files
from reports.tune_figures import figures as figures_of
from reports.tune_page import page
from reports.tune_tables import every_trial_csv, markdown, rows_csv, terminal
from sweeps.tune_record import TuningRecord


@dataclass(frozen=True)
class TuneReport:
    """A report that was written."""

    folder: Path
    files: tuple[str, ...]  # names below the folder
    text: str  # for the terminal


def write_tune_report(record: TuningRecord, folder: Path, live: Live | None = None) -> TuneReport:
    """Every file of the report, in this folder. The same record, the same bytes. live: while its runs go on."""
    drawn: dict[str, bytes] = {}
    inlined = []
    for name, about, figure in figures_of(record):
        image = files.svg(figure)
        drawn |= {f"figures/{name}.png": files.png(figure), f"figures/{name}.svg": image.encode()}
        inlined.append((about, files.inline(image, name.replace("-", " "), name)))
    written = {"tuned.md": markdown(record), "tuned.csv": rows_csv(record), "trials.csv": every_trial_csv(record)}
    written["page.html"] = page(record, inlined, live)
    contents = {name: text.encode() for name, text in written.items()} | drawn
    write_files(folder, contents)
    for old in (*folder.glob("figures/gains.*"), *folder.glob("figures/slices-*")):
        if f"figures/{old.name}" not in contents:
            old.unlink()
    return TuneReport(folder, tuple(contents), terminal(record))
