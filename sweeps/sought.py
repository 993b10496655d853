"""A search as it was asked for, and what is known of it as its report reads it. No Optuna, no MLflow here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps.changes import label
from sweeps.means import Means
from sweeps.profiles import configure
from sweeps.search_record import Axis, Confirmed, Objective, SearchRecord
from sweeps.search_record import State as Word
from sweeps.search_record import Trial as Seen
from sweeps.search_spec import Choices, Dimension, Floats, Search
from sweeps.study import ProfileName, Study
from sweeps.trials import Trial
from trm_core.config import RunConfig

if TYPE_CHECKING:
    from sweeps.records.types import RunRecord

VALIDATION_ALONE = "train.evaluate_on=validation"
EXACT = "test/exact_accuracy"
STATES: dict[str, Word] = {"running": "RUNNING", "complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
JUDGED_ALONE = (
    "Pruning judges each run of a trial alone, by the mean curves of earlier trials: a trial with a pruned run is a"
    " pruned one, and its other runs go on as long as they hold."
)


@dataclass(frozen=True, kw_only=True)
class Sought(Means):
    """A search as it was asked for."""

    search: Search
    profile: ProfileName
    changes: tuple[str, ...]
    trials: int
    storage: str | None  # Optuna's; None: beside MLflow's

    @property
    def study(self) -> Study:
        """The search as a study of one row, which a profile can configure."""
        return study_of(self.search)

    @property
    def base(self) -> RunConfig:
        """The base row at its scale, looking at validation alone. Raises BadSetting."""
        changes = [*self.changes, VALIDATION_ALONE]
        return configure(self.study, self.search.row, self.profile, 0, changes)

    @property
    def name(self) -> str:
        """In Optuna's storage: "lr_wd/mini", "lr_wd/mini/D=96"."""
        return "/".join(part for part in (self.search.name, self.profile, self.label) if part)

    @property
    def label(self) -> str:
        """Of its campaign."""
        return label(self.changes)

    @property
    def confirming_seeds(self) -> tuple[int, ...]:
        """Those at which the best are made again."""
        return self.search.confirming_seeds

    def campaign_id(self, data: str) -> str:
        """Of the campaign that holds its runs. data: the hash of its puzzles."""
        return id_of(self.name, self.search.identity(self.base, data))

    def row_name(self, number: int, *, confirmed: bool = False) -> str:
        """A trial's row in its campaign."""
        return f"trial {number}, confirmed" if confirmed else f"trial {number}"


def id_of(*identity: object) -> str:
    """A campaign's id: 16 hex digits of what makes it this one."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def study_of(search: Search) -> Study:
    """A search as a study of one row."""
    return Study(
        name=f"search_{search.name}",
        title=search.title,
        puzzle=search.puzzle,
        source="a search of this project",
        rows=(search.row,),
        metric=search.objectives[0].metric,
        note=search.note,
    )


def record_of(
    sought: Sought, trials: Sequence[Trial], confirmed: Mapping[int, Sequence[RunRecord]] | None = None
) -> SearchRecord:
    """What is known of a search, as its report reads it."""
    objectives = tuple(Objective(one.metric, one.direction) for one in sought.search.objectives)
    metric, pruning = sought.search.objectives[0].metric, sought.search.pruning
    test_metric = metric.replace("validation/", "test/") if metric.startswith("validation/") else EXACT
    return SearchRecord(
        name=sought.search.name,
        profile=sought.profile,
        objectives=objectives,
        space=tuple(map(_axis, sought.search.space)),
        trials=tuple(
            Seen(
                trial.number,
                STATES[trial.state],
                trial.params,
                trial.values if trial.state == "complete" else (),
                trial.pruning_curve or trial.curve,
                trial.keys,
                trial.began,
                trial.ended,
                trial.why,
            )
            for trial in trials
        ),
        confirmed=tuple(
            Confirmed(
                number,
                tuple(run.seed for run in runs),
                tuple(run.metrics[metric] for run in runs if metric in run.metrics),
                tuple(run.metrics[test_metric] for run in runs if test_metric in run.metrics),
            )
            for number, runs in (confirmed or {}).items()
        ),
        test_metric=test_metric,
        curve_metric=pruning.metric if pruning else metric,
        title=sought.search.title,
        facts=(
            ("Base row", sought.search.row.name),
            ("Profile", sought.profile),
            *([("Changes", ", ".join(sought.changes))] if sought.changes else []),
        ),
        notes=tuple(filter(None, (sought.search.note, JUDGED_ALONE if pruning and sought.search.seeds > 1 else ""))),
    )


def _axis(dimension: Dimension) -> Axis:
    """A dimension as the report reads it."""
    name, setting, values = dimension.name, dimension.setting, dimension.range
    if isinstance(values, Choices):
        return Axis(name, choices=values.values, setting=setting)
    step = 0 if isinstance(values, Floats) else values.step
    return Axis(name, values.low, values.high, values.log, step, setting=setting)
