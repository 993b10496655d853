"""A search's report as files, from its record alone: drawn, rendered, written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reports.figures import files
from reports.live import Live
from reports.report import write_files
from reports.search_figures import KINDS, pictures
from reports.search_page import page
from reports.search_tables import confirmed_csv, markdown, terminal, trials_csv
from sweeps.search_record import SearchRecord


class NothingSearched(ValueError):
    """A search without a trial."""


@dataclass(frozen=True)
class SearchReport:
    """A report that was written."""

    folder: Path
    files: tuple[str, ...]  # names below the folder
    text: str  # for the terminal
    left_out: tuple[str, ...] = ()  # "pareto_front: there is one objective"


def write_search_report(record: SearchRecord, folder: Path, live: Live | None = None) -> SearchReport:
    """Every file of a search's report, in this folder. The same record, the same bytes. Raises NothingSearched.

    live: while its runs go on.
    """
    if not record.trials:
        raise NothingSearched(f"{record.name} in {record.profile}: no trial yet; give the search's command to begin")
    drawn = pictures(record)
    contents: dict[str, bytes] = {}
    inlined = []
    for name, about, figure in drawn.drawn:
        image = files.svg(figure)
        contents |= {f"figures/{name}.png": files.png(figure), f"figures/{name}.svg": image.encode()}
        inlined.append((about, files.inline(image, name.replace("_", " "), name)))
    written = {
        "search.md": markdown(record),
        "trials.csv": trials_csv(record),
        "page.html": page(record, inlined, live),
    }
    if record.confirmed:
        written["confirmed.csv"] = confirmed_csv(record)
    contents = {name: text.encode() for name, text in written.items()} | contents
    write_files(folder, contents)
    stale = {path for path in folder.glob("figures/*") if path.stem.partition("-")[0] in KINDS}
    for path in (stale | {folder / "confirmed.csv"}) - {folder / name for name in contents}:
        path.unlink(missing_ok=True)
    left_out = tuple(f"{name}: {why}" for name, why in drawn.left_out.items())
    return SearchReport(folder, tuple(contents), terminal(record), left_out)
