"""What MLflow's own pages open on: a campaign's runs grouped by row, and its table as their description. Pure.

The grouped table is a saved view of MLflow's: an experiment's tag, which its page reads by the name in the address. The
format is not documented; it was read from the page's code, and a test looks at the page (tests/browser).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from data_prep.redaction import redacted
from sweeps.campaign import Campaign
from sweeps.records.types import CAMPAIGN, KEY, ROW, ROW_ORDER, RunRecord
from sweeps.words import clean

VALIDATION = "validation/exact_accuracy"
NOTE = "mlflow.note.content"
NOTE_OF = "description"  # a tag: the hash of the description that a launch wrote last
VIEW = "mlflow.sharedViewState."
LONGEST = 5000  # characters of a description or a view: MLflow 2 takes no more of an experiment's tag
LONGEST_NAME = 80
REST = "*The rest is in the artifacts of the campaign's run.*"
NAME_WIDTH, METRIC_WIDTH = 260, 230  # pixels


# --- the view --------------------------------------------------------------------------------------------------------


def address_of(experiment_id: str, campaign: str = "") -> str:
    """The page of a campaign's runs grouped by row, behind the server's address; without one, of all runs."""
    view = f"&viewStateShareKey={campaign}" if campaign else ""
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning{view}"


def address_of_run(experiment_id: str, run_id: str) -> str:
    """A run's page, behind the server's address."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def view(campaign: Campaign, now_ms: int) -> tuple[str, str]:
    """(tag, text): the saved view of a campaign's runs, a group for each row in the table's order."""
    return f"{VIEW}{campaign.id}", json.dumps(
        {
            "name": f"{campaign.profile} {campaign.label}".strip()[:LONGEST_NAME],
            "createdAt": now_ms,
            "updatedAt": now_ms,
            "state": json.dumps(_state(campaign)),
        }
    )


def is_the_same_view(there: str, wanted: str) -> bool:
    """Whether two saved views show the same, whenever they were made; `there` may be anything."""
    try:
        return bool(json.loads(there)["state"] == json.loads(wanted)["state"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _state(campaign: Campaign) -> dict[str, object]:
    metric = campaign.study.metric
    more = [VALIDATION] if metric.startswith("test/") else []
    metrics = [f"metrics.`{name}`" for name in (metric, *more)]
    name = "attributes.`Run Name`"
    return {
        "searchFilter": f"tags.{CAMPAIGN} = '{campaign.id}' AND tags.{KEY} LIKE '%'",
        "orderByKey": f"tags.`{ROW_ORDER}`",  # in the order of time the page adds the rows' own runs, and counts them
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": ROW}]},
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": [*metrics, "params.`parameters`", "params.`depth`", "tags.`seed`"],
        "columnOrder": [name, *metrics],
        "columnWidths": {name: NAME_WIDTH, **dict.fromkeys(metrics, METRIC_WIDTH)},
    }


# --- the description -------------------------------------------------------------------------------------------------


class Best(NamedTuple):
    """The run of a puzzle whose model is best on validation."""

    puzzle: str
    run: RunRecord
    share: float  # of the validation puzzles that it solves


def best_on_validation(campaign: Campaign, runs: Iterable[RunRecord]) -> list[Best]:
    """Of each puzzle the finished run that solves most of the validation puzzles; of equals the first."""
    found: dict[str, Best] = {}
    for run in sorted(runs, key=lambda run: (run.started, run.run_id)):
        settings, share = campaign.settings(run.row), run.metrics.get(VALIDATION)
        if run.status != "FINISHED" or settings is None or share is None:
            continue
        puzzle = settings.data.puzzle
        if puzzle not in found or share > found[puzzle].share:
            found[puzzle] = Best(puzzle, run, share)
    return list(found.values())


def how_to_load(best: Best, run_id: str) -> str:
    """How the best model is loaded, in a line of Markdown."""
    name = f"{best.run.row} seed {best.run.seed}".replace("`", "'")
    return (
        f"Best on {best.puzzle}'s validation puzzles: `{name}`, {100 * best.share:.1f} %;"
        f' `mlflow.pyfunc.load_model("runs:/{run_id}/model")`'
    )


def description(report: str, heading: Sequence[str], *, table_first: bool) -> str:
    """A report's Markdown as MLflow shows it, LONGEST characters at most: of a closed one only the top is seen.

    heading: lines of ours, before it, or behind the first table where that comes first. Whole blocks are kept, of a
    table that is too long its first lines.
    """
    blocks = [_slim(block) for block in _cleaned(report).split("\n\n")]
    blocks = [block for block in blocks if block and not block.startswith("# ")]  # the page has a title
    tables = [at for at, block in enumerate(blocks) if block.startswith("|")]
    top = [blocks.pop(tables[0])] if table_first and tables else []
    blocks = [*top, *heading, *blocks]
    room, kept = LONGEST - len(REST) - 4, list[str]()
    for block in blocks:
        lines = block.splitlines() if block.startswith("|") else [block]
        taken = [line for at, line in enumerate(lines) if sum(len(one) + 1 for one in lines[: at + 1]) <= room]
        if len(taken) > (2 if len(lines) > 1 else 0):  # a table is more than its header
            kept.append("\n".join(taken))
            room -= len(kept[-1]) + 2
        if len(taken) < len(lines):
            while kept and kept[-1].startswith("#"):  # a heading of what is not there
                kept.pop()
            return "\n\n".join([*kept, REST])
    return "\n\n".join(kept)


def as_text(words: str) -> str:
    """Words that Markdown shows as they stand."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", clean(words))


def hash_of(text: str) -> str:
    """What a description of ours is known by."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_ours(tags: Mapping[str, str]) -> bool:
    """Whether a description may be written: there is none, or a launch wrote it; what a person wrote stays."""
    return not tags.get(NOTE) or tags.get(NOTE_OF) == hash_of(tags[NOTE])


def _cleaned(text: str) -> str:
    return "\n".join(clean(line).rstrip() for line in redacted(text).splitlines())


def _slim(block: str) -> str:
    """A table without the padding that lets it be read as plain text."""
    if not block.startswith("|"):
        return block.strip()
    return "\n".join(re.sub(r"-{3,}", "---", re.sub(r" {2,}", " ", line)) for line in block.splitlines())
