"""Fair ablations as asked for: a study, and the search for every row's own best settings. What can be tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from sweeps.campaign import Campaign, id_in
from sweeps.conduct import Asked
from sweeps.conduct import check as check_study
from sweeps.means import Means
from sweeps.names import UntrueName, named_for
from sweeps.profiles import configure
from sweeps.puzzles import check_sources
from sweeps.search_spec import Confirmation, Dimension, Search
from sweeps.sought import VALIDATION_ALONE, Sought, id_of
from sweeps.study import Row, Study
from trm_core.command_line import BadCommand
from trm_core.config import RunConfig
from trm_core.settings import BadSetting
from trm_core.settings_as_text import setting_text

FIRST_SEED = 1000  # of trials: none that anybody asks for, so that the asked seeds are fresh ones


@dataclass(frozen=True)
class Tuning:
    """A study to be tuned, as it was asked for."""

    asked: Asked  # the study as published
    search: Search  # what is varied in every row, and what for; its own row counts for nothing
    trials: int  # of every row
    storage: str | None  # Optuna's; None: beside MLflow's
    anyway: bool  # even what a row is named for

    @property
    def campaign(self) -> Campaign:
        """The study as published, without runs."""
        return self.asked.campaigns[0]

    @property
    def study(self) -> Study:
        """The study as published."""
        return self.campaign.study

    @property
    def folder(self) -> Path:
        """Of its report: results/mini/components/tune-lr_wd."""
        label = "-".join(part for part in (f"tune-{self.search.name}", self.campaign.label) if part)
        home = self.asked.out / self.asked.profile / self.study.name
        of = self.of(self.asked.rows[0]).campaign_id("")
        return home / label if id_in(home / label) in (None, of) else home / f"{label}-{of[:8]}"

    def of(self, row: Row) -> SoughtForRow:
        """The search with this row as its base row."""
        as_base = row.model_copy(update={"puzzle": self.study.puzzle_of(row)})
        confirmation = Confirmation(best=1, seeds=len(self.asked.seeds))
        changed = {"row": as_base, "trials": self.trials, "first_seed": FIRST_SEED, "confirmation": confirmation}
        means = {name: getattr(self.asked, name) for name in Means.__dataclass_fields__}
        return SoughtForRow(
            **means,
            search=self.search.model_copy(update=changed),
            profile=self.campaign.profile,
            changes=self.campaign.changes,
            trials=self.trials,
            storage=self.storage,
            of=self.campaign,
            seeds=self.asked.seeds,
        )


@dataclass(frozen=True, kw_only=True)
class SoughtForRow(Sought):
    """A search for the best settings of one row of a study; all rows share a campaign."""

    of: Campaign  # the study as published
    seeds: tuple[int, ...]

    @property
    def study(self) -> Study:
        """What the campaign of all rows is of."""
        return Study(
            name=f"tune_{self.of.study.name}",
            title=f"{self.of.study.title}, every row tuned alike: {self.search.title}",
            puzzle=self.of.study.puzzle,
            source="a search of this project",
            rows=(self.search.row,),
            metric=self.search.objectives[0].metric,
            note=self.search.note,
        )

    @property
    def base(self) -> RunConfig:
        """The row as published, looking at validation alone. Raises BadSetting."""
        return configure(self.of.study, self.search.row, self.profile, 0, [*self.changes, VALIDATION_ALONE])

    @property
    def name(self) -> str:
        """In Optuna's storage: "lr_wd/components/TRM (T=3, n=6)/mini"."""
        parts = (self.search.name, self.of.study.name, self.search.row.name, self.profile, self.of.label)
        return "/".join(part for part in parts if part)

    @property
    def label(self) -> str:
        """Of the campaign of all rows."""
        return ",".join(part for part in (self.search.name, self.of.label) if part)

    @property
    def confirming_seeds(self) -> tuple[int, ...]:
        """Those of the published rows."""
        return self.seeds

    def campaign_id(self, data: str) -> str:
        """The same for all rows: it follows from the study as published, and from the search without a row."""
        return id_of(self.study.name, self.of.id, self.search.name, self.search.identity(RunConfig()))

    def row_name(self, number: int, *, confirmed: bool = False) -> str:
        """A trial's row in the campaign of all rows: "HRM, trial 7"."""
        return f"{self.search.row.name}, {super().row_name(number, confirmed=confirmed)}"


# --- what can be tuned -----------------------------------------------------------------------------------------------


def check(tuning: Tuning, *, may_lack_files: bool = False) -> None:
    """Everything that needs no puzzles.

    Raises BadSetting, BadCommand, UntrueName, NoPuzzles, NotEnoughMachines.
    """
    asked, search, study = tuning.asked, tuning.search, tuning.study
    if len(asked.campaigns) > 1:
        raise BadCommand("--grid with --tune: the search has the values; leave one of them out")
    if asked.data_seeds != (0,):
        raise BadCommand("--data-seeds with --tune: rows are tuned on one draw of the puzzles; leave it out")
    if tuning.trials < 1:
        raise BadCommand(f"--trials {tuning.trials}: expected 1 or more")
    if spent := [seed for seed in asked.seeds if FIRST_SEED <= seed < FIRST_SEED + search.seeds]:
        raise BadCommand(f"--seeds {spent[0]}: a seed of the trials themselves; take seeds below {FIRST_SEED}")
    if len(search.objectives) > 1:
        metrics = " and ".join(one.metric for one in search.objectives)
        raise BadCommand(
            f"--tune {search.name}: {metrics} leave a front, and a row needs one best; take a search for one"
        )
    if not study.metric.startswith("test/"):
        raise BadCommand(f"--tune with {study.name}: its table is of {study.metric}, not of a test set; take another")
    of_mazes = search.objectives[0].metric == "validation/shortest_path_accuracy"
    if of_mazes and any(study.puzzle_of(row) != "maze" for row in asked.rows):
        raise BadCommand(f"--tune {search.name}: {search.objectives[0].metric} is of mazes alone; add --only for these")
    check_study(asked, may_lack_files=may_lack_files)
    bases = {row.name: tuning.of(row).base for row in asked.rows}
    if not tuning.anyway:
        check_space(search, asked.rows, bases)
    check_rows_differ(search, bases)
    check_sources([base.data for base in bases.values()], asked.data, may_be_missing=may_lack_files)


def check_space(search: Search, rows: Sequence[Row], bases: Mapping[str, RunConfig]) -> None:
    """That no dimension changes what a row is named for. Raises UntrueName."""
    for row in rows:
        settings = bases[row.name].flat()
        for dimension in search.space:
            if dimension.setting in named_for(row) and _can_be_there(dimension, search, settings):
                raise UntrueName(
                    f"--tune {search.name}: it varies {dimension.setting}, and {row.name!r} is named for"
                    f" {dimension.setting}={setting_text(settings[dimension.setting])}; leave the row out with --only,"
                    " or add --set-anyway"
                )


def _can_be_there(dimension: Dimension, search: Search, settings: Mapping[str, object]) -> bool:
    """Whether any proposal for a row with these settings has the dimension."""
    varied = {one.setting for one in search.space}
    return all(name in varied or settings[name] in values for name, values in dimension.when.items())


def check_rows_differ(search: Search, bases: Mapping[str, RunConfig]) -> None:
    """That no two rows are told apart by nothing but what is varied. Raises BadSetting."""
    varied = {one.setting for one in search.space}
    rest = {name: {k: v for k, v in base.flat().items() if k not in varied} for name, base in bases.items()}
    for one, other in combinations(rest, 2):
        if rest[one] == rest[other]:
            raise BadSetting(
                f"--tune {search.name}: {one!r} and {other!r} differ in nothing but what it varies, so both would be"
                " tuned to the same; pick one with --only"
            )
