"""The pages of MLflow that a campaign is shown on, kept up to date; what stands there is pages.py's.

Nothing here waits or retries, and whoever calls it goes on without: a page is a help, the records are the work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.campaign import Campaign
from sweeps.records import pages, read
from sweeps.records.address import TrackingUnavailable, address, connect, explained
from sweeps.records.tree import Tree, now_ms, record_or_none
from sweeps.records.types import REUSED_FROM

if TYPE_CHECKING:
    from mlflow.entities import Run

REPORTS = ("table.md", "search.md", "tuned.md")  # the report's Markdown, in its folder


def page_of(campaigns: Sequence[Campaign]) -> str:
    """Where the runs are looked at, behind a server's address: the view of a campaign; of several, all of the study's.

    Empty where MLflow does not answer, or has no such experiment.
    """
    try:
        client = connect(address())
        with explained("look for the experiment"):
            experiment = client.get_experiment_by_name(campaigns[0].study.name)
    except TrackingUnavailable:
        return ""
    if experiment is None:
        return ""
    has_view = len(campaigns) == 1 and pages.VIEW + campaigns[0].id in experiment.tags
    return pages.address_of(str(experiment.experiment_id), campaigns[0].id if has_view else "")


def show_view(tree: Tree) -> None:
    """The campaign's runs grouped by row, as a saved view of the experiment. Raises whatever the store raises."""
    tag, text = pages.view(tree.campaign, now_ms())
    there = tree.client.get_experiment(tree.experiment_id).tags.get(tag, "")
    if not pages.is_the_same_view(there, text):
        tree.client.set_experiment_tag(tree.experiment_id, tag, text)


def show_report(tree: Tree, folder: Path) -> None:
    """The table as description of the campaign's run and of the experiment, unless a person wrote one of theirs.

    The experiment shows the campaign that ended last. Raises whatever the store raises, and OSError.
    """
    from mlflow.entities import RunTag

    file = _report_in(folder)
    if file is None:
        return
    report = file.read_text(encoding="utf-8", errors="replace")
    runs = tree.in_campaign()
    every_run = f"[Every run, row by row]({pages.address_of(tree.experiment_id, tree.campaign.id)[1:]})"
    best = _how_to_load_the_best(tree, runs)
    parent = next((run for run in runs if run.info.run_id == tree.parent_id), None)
    if parent is not None and pages.is_ours(parent.data.tags):
        text = pages.description(report, [every_run, *best], table_first=True)
        tags = {pages.NOTE: text, pages.NOTE_OF: pages.hash_of(text)}
        tree.client.log_batch(tree.parent_id, tags=[RunTag(tag, words) for tag, words in tags.items()])
    if pages.is_ours(tree.client.get_experiment(tree.experiment_id).tags):
        name = f"{tree.campaign.study.title}, {tree.campaign.profile} {tree.campaign.label}".rstrip()
        its_run = f"[the table's run]({pages.address_of_run(tree.experiment_id, tree.parent_id)[1:]})"
        top = f"{every_run}, and {its_run}: **{pages.as_text(name)}**"  # closed, a description is one line
        text = pages.description(report, [top, *best], table_first=False)
        for tag, words in {pages.NOTE: text, pages.NOTE_OF: pages.hash_of(text)}.items():
            tree.client.set_experiment_tag(tree.experiment_id, tag, words)


def written_ns(folder: Path) -> int:
    """When the report in a folder was written, by the clock of its file system; 0 where there is none."""
    file = _report_in(folder)
    with contextlib.suppress(OSError):  # gone in between
        return file.stat().st_mtime_ns if file else 0
    return 0


def _report_in(folder: Path) -> Path | None:
    return next((folder / name for name in REPORTS if (folder / name).is_file()), None)


def _how_to_load_the_best(tree: Tree, runs: Sequence[Run]) -> list[str]:
    """A line for each puzzle whose best run has its model in MLflow."""
    records = [record for run in runs if (record := record_or_none(run, {})) and read.belongs(tree.campaign, record)]
    by_id = {run.info.run_id: run for run in runs}
    lines = []
    for best in pages.best_on_validation(tree.campaign, read.one_per_key(records, tree.campaign.id).values()):
        origin = best.run.tags.get(REUSED_FROM)
        run = tree.client.get_run(origin) if origin else by_id[best.run.run_id]
        if run.outputs is not None and run.outputs.model_outputs:
            lines.append(pages.how_to_load(best, run.info.run_id))
    return lines
