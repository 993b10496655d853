"""Search: what is to be varied, what for, and how thoroughly, as plain data. No Optuna here.

A search names switches and ranges; a profile says at what scale. What cannot be searched is refused where it is
declared: selection never sees the test set, and a proposal is never a run that its settings would refuse at either end
of a range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sweeps.declared import Shelf, nearest
from sweeps.study import PuzzleName, Row
from trm_core.config import RunConfig
from trm_core.settings import NOT_IN_THE_KEY, Settings
from trm_core.settings_as_text import find_setting, setting_text, setting_value

Value = bool | int | float | str | None  # of a setting
Params = Mapping[str, Value]  # a proposal: the values of the dimensions that it has, by their names
Direction = Literal["maximize", "minimize"]

# What a run logs (trm_core/metrics.py) and what follows from its settings; a search may aim at these and no others.
RECORDED = (
    "validation/exact_accuracy",
    "validation/cell_accuracy",
    "validation/lm_loss",
    "validation/shortest_path_accuracy",  # of mazes
    "train/loss",
    "train/lm_loss",
    "train/halt_loss",
    "train/exact_accuracy",
    "train/cell_accuracy",
    "train/steps_to_halt",
)
FROM_THE_SETTINGS = ("flops", "parameters")  # of all training steps; of the network
NOT_SEARCHED = {
    "train.seed": "a seed is no setting to choose; give `seeds`, so many for each trial",
    "data.seed": "a seed is no setting to choose; its puzzles would be others",
    "data.puzzle": "a search is on one puzzle",
    "train.evaluate_on": "a search looks at validation alone",
    **{f"train.{name}": "it moves no number" for name in NOT_IN_THE_KEY},
}


class UnknownSearch(ValueError):
    """A search name that no file in sweeps/searches carries."""


class BadSearch(ValueError):
    """A file that declares no search: one line, with the file, where it can be the line, and what is wrong in it."""


# --- the space -------------------------------------------------------------------------------------------------------


class Floats(Settings):
    """Every number from low to high; log: as likely between 1e-4 and 1e-3 as between 1e-3 and 1e-2."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_ends(self.low, self.high, log=self.log)
        return self

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that its setting must take, if it is to take them all."""
        return self.low, self.high

    def can_be(self, value: Value) -> bool:
        """Whether the value is in it."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


class Integers(Settings):
    """Every step-th whole number from low to high, both included; log: small ones as likely as large ones."""

    low: int
    high: int
    step: Annotated[int, Field(ge=1)] = 1
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_ends(self.low, self.high, log=self.log)
        if self.log and self.step != 1:
            raise ValueError(f"step={self.step} with log: a logarithmic range has no steps; leave one of them out")
        if (self.high - self.low) % self.step:
            last = self.high - (self.high - self.low) % self.step
            raise ValueError(
                f"{self.low} to {self.high} in steps of {self.step} ends at {last}; set high={last}"
                if last > self.low
                else f"step={self.step} from {self.low} leaves {self.high} out; set it to"
                f" {self.high - self.low} or less"
            )
        return self

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that its setting must take, if it is to take them all."""
        return self.low, self.high

    def can_be(self, value: Value) -> bool:
        """Whether the value is in it."""
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and value in range(self.low, self.high + 1, self.step)
        )


class Choices(Settings):
    """One of these values, without order."""

    values: Annotated[tuple[Value, ...], Field(min_length=2)]

    @field_validator("values")
    @classmethod
    def _are_different(cls, values: tuple[Value, ...]) -> tuple[Value, ...]:
        twice = [value for at, value in enumerate(values) if value in values[:at]]
        if twice:
            raise ValueError(f"{setting_text(twice[0])} is there twice; leave one out")
        return values

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that its setting must take, if it is to take them all."""
        return self.values

    def can_be(self, value: Value) -> bool:
        """Whether the value is one of them."""
        return value in self.values


Range = Floats | Integers | Choices


def _check_ends(low: float, high: float, *, log: bool) -> None:
    """Raises ValueError where no value, or one alone, lies between."""
    if not low < high:
        raise ValueError(f"low={low}, high={high}: expected low below high")
    if log and low <= 0:
        raise ValueError(f"low={low} with log: a logarithmic range starts above 0; set low, or leave log out")


class Dimension(Settings):
    """A setting that is varied, over which values, and when: `when={"model.mixer": ("attention",)}`.

    A condition names a setting and the values of it with which this dimension is there. Where that setting is varied
    too, the proposal's value counts; else the base row's. All conditions have to hold.
    """

    setting: str  # "optim.lr"
    range: Range
    when: dict[str, Annotated[tuple[Value, ...], Field(min_length=1)]] = Field(default_factory=dict)
    name: str = ""  # among a space's: the setting's, unless two dimensions set it, each at its own time

    @field_validator("setting")
    @classmethod
    def _is_a_setting_that_can_be_searched(cls, setting: str) -> str:
        find_setting(setting)
        if setting in NOT_SEARCHED:
            raise ValueError(f"{setting}: {NOT_SEARCHED[setting]}; leave it out")
        return setting

    @field_validator("when")
    @classmethod
    def _depends_on_settings_and_their_values(cls, when: dict[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
        for setting, values in when.items():
            find_setting(setting)
            for value in values:
                setting_value(setting, setting_text(value))
        return when

    @model_validator(mode="after")
    def _takes_every_value(self) -> Self:
        """A range of numbers is for a setting of numbers, and within what it takes."""
        setting = find_setting(self.setting)
        numbers = {float: "numbers", int: "whole numbers"}.get(setting.kind)
        if not isinstance(self.range, Choices) and numbers is None:
            expected = " | ".join(setting.choices) or setting.type
            raise ValueError(f"{self.setting}: a range of numbers for {expected}; give Choices(values=(…))")
        if isinstance(self.range, Floats) and setting.kind is int:
            raise ValueError(f"{self.setting}: takes whole numbers; give Integers(low=…, high=…)")
        for value in self.range.ends:
            setting_value(self.setting, setting_text(value))
        return self

    @model_validator(mode="before")
    @classmethod
    def _is_called_by_its_setting(cls, given: Any) -> Any:
        if isinstance(given, dict) and not given.get("name") and "setting" in given:
            return {**given, "name": given["setting"]}
        return given


def decide(
    space: Sequence[Dimension], base: Mapping[str, Any], suggest: Callable[[Dimension], Value]
) -> dict[str, Value]:
    """A proposal: each dimension that the conditions leave in, asked for in an order in which they can be looked at.

    base: every setting of the base row by its name, as RunConfig.flat() has them.
    """
    settings = dict(base)
    params: dict[str, Value] = {}
    for dimension in in_order(space):
        if all(settings[name] in values for name, values in dimension.when.items()):
            params[dimension.name] = settings[dimension.setting] = suggest(dimension)
    return params


def in_order(space: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """The dimensions, each after those that its conditions name, else as declared. Raises ValueError for a circle."""
    names = {dimension.name: dimension for dimension in space}
    graph = {dimension.name: [other.name for other in space if other.setting in dimension.when] for dimension in space}
    try:
        ordered = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise ValueError(f"a circle of conditions: {circle}; leave one of them out") from None
    return tuple(names[name] for name in ordered)


def _exclude_each_other(one: Dimension, other: Dimension) -> bool:
    """Whether a condition on the same setting keeps the two from being there at once."""
    return any(not set(values) & set(other.when[name]) for name, values in one.when.items() if name in other.when)


# --- the search ------------------------------------------------------------------------------------------------------


def _recorded(metric: str, names: Sequence[str]) -> str:
    """The metric, if it is one of these. Raises ValueError."""
    if metric.startswith("test/"):
        hint = metric.replace("test/", "validation/")
        hint = f"did you mean {hint}?" if hint in names else f"metrics are {', '.join(names)}"
        raise ValueError(f"{metric}: a search never sees the test set; {hint}")
    if metric not in names:
        raise ValueError(f"{metric}: runs do not record it; {nearest(metric, names, 'metrics')}")
    return metric


class Objective(Settings):
    """What a trial is judged by: a metric of its last evaluation, or what it costs by its settings."""

    metric: str  # "validation/exact_accuracy", "train/loss", "flops", "parameters"
    direction: Direction

    @field_validator("metric")
    @classmethod
    def _is_there_for_selection(cls, metric: str) -> str:
        return _recorded(metric, (*RECORDED, *FROM_THE_SETTINGS))


class Pruning(Settings):
    """Successive halving on a learning curve: at each rung the better part of the trials goes on (pruning.py).

    A rung decides only where its rank correlation with the end was measured: as `measured` says, from an earlier
    search's `--pruning-report`; without it, on the complete trials of this search that a trial may know.
    With several seeds each run of a trial is judged alone, against the mean curves of earlier trials: whichever ends
    first, the same are pruned. A trial with a pruned run is a pruned one.
    """

    rungs: Annotated[tuple[float, ...], Field(min_length=1)]  # fractions of a run's steps, rising: (0.25, 0.5)
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.5  # of the trials at a rung
    metric: str  # "validation/lm_loss"
    direction: Direction = "minimize"
    measured: tuple[Annotated[float, Field(ge=-1, le=1)], ...] = ()  # of each rung; the low end of its interval
    startup: Annotated[int, Field(ge=1)] = 8  # a rung decides once so many trials have reached it
    plateau: float | None = None  # of the metric: a curve no better than this has not left its plateau
    protect: tuple[dict[str, Value], ...] = ()  # ({"model.mixer": "attention"},): a trial with these values goes on

    @field_validator("metric")
    @classmethod
    def _is_a_learning_curve(cls, metric: str) -> str:
        return _recorded(metric, RECORDED)

    @field_validator("rungs")
    @classmethod
    def _rise(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < rung < 1 for rung in rungs) or list(rungs) != sorted(set(rungs)):
            raise ValueError(f"{rungs}: expected rising fractions of a run's steps, each above 0 and below 1")
        return rungs

    @model_validator(mode="after")
    def _is_measured_whole(self) -> Self:
        if self.measured and len(self.measured) != len(self.rungs):
            raise ValueError(f"measured: {len(self.measured)} values, expected one for each of {len(self.rungs)} rungs")
        return self


class Confirmation(Settings):
    """What follows a search: its best trials again with fresh seeds, and only these are evaluated on test, once."""

    best: Annotated[int, Field(ge=1)] = 3  # trials
    seeds: Annotated[int, Field(ge=1)] = 3  # of each, none that the search has used


class Search(Settings):
    """One search: a base row, what of it is varied, what for, and how long."""

    name: str  # that of its file in sweeps/searches
    title: str
    puzzle: PuzzleName
    row: Row
    space: Annotated[tuple[Dimension, ...], Field(min_length=1)]
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)]
    trials: Annotated[int, Field(ge=1)]
    seeds: Annotated[int, Field(ge=1)] = 1  # runs of each trial; the objective is their mean
    first_seed: Annotated[int, Field(ge=0)] = 0  # of a trial's runs
    seed: Annotated[int, Field(ge=0)] = 0  # of the proposals
    lag: Annotated[int, Field(ge=1)] = 8  # trial n is proposed with the results up to n - lag, however fast others are
    startup: Annotated[int, Field(ge=1)] = 10  # trials with a result, before which proposals are drawn at random
    pruning: Pruning | None = None
    confirmation: Confirmation = Confirmation()
    note: str = ""  # printed under the table

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        self._check_names()
        self._check_conditions()
        metrics = [objective.metric for objective in self.objectives]
        if len(set(metrics)) < len(metrics):
            raise ValueError(f"objectives: {max(metrics, key=metrics.count)} is there twice; leave one out")
        if self.pruning is not None and len(metrics) > 1:
            raise ValueError(f"pruning with {len(metrics)} objectives: no order to prune by; leave one of them out")
        if self.pruning is not None:
            names = {dimension.name for dimension in self.space}
            for name in (name for values in self.pruning.protect for name in values if name not in names):
                raise ValueError(f"pruning: protect names {name}; {nearest(name, sorted(names), 'dimensions')}")
        of_mazes = "validation/shortest_path_accuracy"
        if of_mazes in (*metrics, self.pruning and self.pruning.metric) and self.on != "maze":
            raise ValueError(f"{of_mazes}: runs on {self.on} do not record it; give validation/exact_accuracy")
        return self

    def _check_names(self) -> None:
        """Raises ValueError where a proposal could set something twice."""
        for at, one in enumerate(self.space):
            for other in self.space[:at]:
                if one.setting == other.setting and not _exclude_each_other(one, other):
                    raise ValueError(
                        f"space: two dimensions of {one.setting} can be there at once; give them conditions on one"
                        " setting with different values"
                    )
                if one.name == other.name:
                    raise ValueError(f"space: two dimensions are named {one.name!r}; give each its own name")

    def _check_conditions(self) -> None:
        """Raises ValueError for a circle, and for a value that never comes."""
        for dimension in in_order(self.space):
            for setting, values in dimension.when.items():
                of = [other for other in self.space if other.setting == setting]
                if not of or any(other.when for other in of):
                    continue  # the base row's value counts, at times
                for value in values:
                    if not any(other.range.can_be(value) for other in of):
                        raise ValueError(
                            f"space: {dimension.name} waits for {setting}={setting_text(value)}, which no proposal has;"
                            f" leave it out, or add it to what {setting} can be"
                        )

    @property
    def on(self) -> PuzzleName:
        """The puzzle of the base row: its own, or the search's."""
        return self.row.puzzle or self.puzzle

    @property
    def trial_seeds(self) -> tuple[int, ...]:
        """Those of a trial's runs."""
        return tuple(range(self.first_seed, self.first_seed + self.seeds))

    @property
    def confirming_seeds(self) -> tuple[int, ...]:
        """Those that confirm the best trials: none that has chosen them."""
        first = self.first_seed + self.seeds
        return tuple(range(first, first + self.confirmation.seeds))

    def change_of(self, params: Params) -> dict[str, dict[str, Value]]:
        """What a proposal changes, by section: {"optim": {"lr": 0.003}}."""
        settings = {dimension.name: dimension.setting for dimension in self.space}
        change: dict[str, dict[str, Value]] = {}
        for name, value in params.items():
            section, _, field = settings[name].partition(".")
            change.setdefault(section, {})[field] = value
        return change

    def values(self, run: RunConfig, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """Each objective of a run with these last metrics; NaN for one that it has not recorded."""
        costs = {"flops": run.train_work(), "parameters": float(run.parameters())}
        return tuple(
            costs.get(objective.metric, metrics.get(objective.metric, math.nan)) for objective in self.objectives
        )

    def identity(self, base: RunConfig, data: str = "") -> dict[str, Any]:
        """What makes a search this one: with it, the same proposals. More trials do not make it another one.

        base: the base row at its profile, with the command's changes; data: the content hash of its puzzles.
        """
        said = self.model_dump(
            mode="json", include={"space", "objectives", "seeds", "seed", "lag", "startup", "pruning"}
        )
        said |= {"first_seed": self.first_seed} if self.first_seed else {}
        seeds = {"train": {"seed", *NOT_IN_THE_KEY}, "data": {"seed"}}
        settings = base.model_dump(mode="json", exclude_defaults=True, exclude=seeds)
        return {**said, "settings": {part: values for part, values in settings.items() if values}, "data": data}


# --- the files -------------------------------------------------------------------------------------------------------

SEARCHES = Shelf(
    "sweeps.searches",
    Search,
    (Search, Dimension, Floats, Integers, Choices, Objective, Pruning, Confirmation, Row),
    unknown=UnknownSearch,
    bad=BadSearch,
)


def find_search(name: str) -> Search:
    """The search of that name, or that a file declares: "lr_wd", "my_search.py". Raises UnknownSearch, BadSearch."""
    return SEARCHES.find(name)


def all_searches() -> tuple[Search, ...]:
    """Every search that ships, by name. Raises BadSearch."""
    return SEARCHES.all()


def searches_and_faults() -> tuple[tuple[Search, ...], dict[str, str]]:
    """The searches that ship, by name; and of each file that declares none, by its name, what is wrong in it."""
    return SEARCHES.sound_and_faults()
