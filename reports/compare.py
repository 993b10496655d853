"""A comparison of campaigns as files: `python -m reports STUDY --compare`. Reads what MLflow has, and writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.comparison import Comparison, compare
from reports.comparison_figure import draw
from reports.comparison_tables import markdown, rows_csv, terminal
from reports.figures.files import png, svg
from reports.report import read_table, write_files
from sweeps.campaign import Campaign


@dataclass(frozen=True)
class Compared:
    """A comparison that was written."""

    folder: Path
    files: tuple[str, ...]  # names below the folder
    text: str  # for the terminal
    comparison: Comparison


def write_comparison(campaigns: Sequence[Campaign], out: Path) -> Compared:
    """The comparison of these campaigns, in a folder of its own beside their reports. The same runs, the same bytes.

    Raises NothingToCompare, and TrackingUnavailable where MLflow does not answer.
    """
    comparison = compare([read_table(campaign) for campaign in campaigns])
    folder = out / comparison.profile / comparison.study.name / comparison.name
    figure = draw(comparison)
    contents = {"comparison.md": markdown(comparison).encode(), "comparison.csv": rows_csv(comparison).encode()}
    if figure is not None:
        contents |= {"comparison.png": png(figure), "comparison.svg": svg(figure).encode()}
    write_files(folder, contents)
    for name in ("comparison.png", "comparison.svg"):
        if name not in contents:
            (folder / name).unlink(missing_ok=True)
    return Compared(folder, tuple(contents), terminal(comparison), comparison)
