"""What `--set` and `--grid` say: "optim.lr=1e-3" for every row, "maze:hrm:optim.lr=1e-3" for those on mazes of HRM."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

from sweeps.declared import nearest
from sweeps.study import EVERY_BASE, EVERY_PUZZLE, BaseName, PuzzleName, Row, Study
from trm_core.settings import NOT_IN_THE_KEY, BadSetting
from trm_core.settings_as_text import Setting, describe, find_setting, setting_text, setting_value

MOST_COMBINATIONS = 100_000  # of one grid; nobody runs so many, and their list would fill the memory
LONGEST_LABEL = 80  # characters
SEED_OPTIONS = {"train.seed": "--seeds", "data.seed": "--data-seeds"}


class BadGrid(ValueError):
    """A grid that has no sense: a setting or a value twice, an empty value, a seed."""


class Assignment(NamedTuple):
    """A setting, the text of its value, and the rows that it is for."""

    puzzle: PuzzleName | None  # None: on any
    base: BaseName | None  # None: of any recipe
    name: str  # "optim.lr", not looked at yet
    text: str  # "1e-3"

    def __str__(self) -> str:
        scopes = (scope for scope in (self.puzzle, self.base) if scope)
        return "".join(f"{scope}:" for scope in scopes) + f"{self.name}={self.text}"

    def is_for(self, study: Study, row: Row) -> bool:
        """Whether it changes this row."""
        return self.puzzle in (None, study.puzzle_of(row)) and self.base in (None, row.base)

    def covers(self, other: Assignment) -> bool:
        """Whether it changes all that the other changes: the same setting, of every row that the other is for."""
        same_rows = self.puzzle in (None, other.puzzle) and self.base in (None, other.base)
        return self.name == other.name and same_rows


def read_assignment(assignment: str, option: str = "--set") -> Assignment:
    """ "maze:hrm:optim.lr=1e-3", the scopes in either order, in its parts. Raises BadSetting."""
    scoped_name, equals, text = assignment.partition("=")
    if not equals:
        raise BadSetting(f"{option} {assignment}: expected NAME=VALUE, for example model.D=96")
    *scopes, name = scoped_name.split(":")
    puzzles = [puzzle for scope in scopes for puzzle in EVERY_PUZZLE if puzzle == scope]
    bases = [base for scope in scopes for base in EVERY_BASE if base == scope]
    for scope in scopes:
        if scope not in (*puzzles, *bases):
            hint = nearest(scope, (*EVERY_PUZZLE, *EVERY_BASE), "puzzles and recipes")
            raise BadSetting(f"{option} {assignment}: {scope!r} is no puzzle and no recipe; {hint}")
    if len(puzzles) > 1 or len(bases) > 1:
        two = " and ".join(puzzles if len(puzzles) > 1 else bases)
        raise BadSetting(
            f"{option} {assignment}: a row is on one puzzle and of one recipe, not of {two}; leave one out"
        )
    return Assignment(puzzles[0] if puzzles else None, bases[0] if bases else None, name, text)


def read_changes(groups: Iterable[Sequence[str]]) -> list[str]:
    """What each `--set` was given, in order: of two, the later wins, as a script's settings are replaced by hand.

    Raises BadSetting where one of them has a setting of the same rows twice.
    """
    changes: list[str] = []
    for group in groups:
        before: dict[str, str] = {}
        for assignment in group:
            name, _, text = str(read_assignment(assignment)).partition("=")
            if name in before:
                raise BadSetting(
                    f"--set {assignment}: {name} is there already, as {before[name]!r}; leave one of them out"
                )
            before[name] = text
        changes += group
    return changes


def for_row(study: Study, row: Row, assignments: Iterable[str]) -> list[str]:
    """The assignments that are for this row, without what says so. Raises BadSetting, also for what is for no row."""
    here = []
    for assignment in assignments:
        one = read_assignment(assignment)
        if not any(one.is_for(study, each) for each in study.rows):
            where = (f" of {one.base}" if one.base else "") + (f" on {one.puzzle}" if one.puzzle else "")
            raise BadSetting(f"--set {assignment}: {study.name} has no rows{where}; leave it out")
        if one.is_for(study, row):
            here.append(f"{one.name}={one.text}")
    return here


# --- a grid ----------------------------------------------------------------------------------------------------------


def read_grid(assignments: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """ "optim.lr=1e-3,3e-3" and so on as all their combinations, in order, the last setting changing fastest.

    Without an assignment the one combination that changes nothing. Raises BadSetting, BadGrid.
    """
    axes: list[tuple[Assignment, list[str]]] = []
    for assignment in assignments:
        axis = read_assignment(assignment, "--grid")
        setting = find_setting(axis.name)
        if axis.name in SEED_OPTIONS:
            raise BadGrid(f"--grid {assignment}: a seed is no setting to compare; use {SEED_OPTIONS[axis.name]}")
        if axis.name in {f"train.{name}" for name in NOT_IN_THE_KEY}:
            raise BadGrid(
                f"--grid {assignment}: {axis.name} moves no number, so there is nothing to compare; use --set"
            )
        if any(axis.covers(before) for before, _ in axes):
            raise BadGrid(f"--grid {assignment}: {axis.name} is in the grid already; give all its values in one place")
        axes.append((axis, _values(setting, axis.text, assignment)))
    n = math.prod(len(values) for _, values in axes)
    if n > MOST_COMBINATIONS:
        raise BadGrid(f"--grid: {n:,} combinations, at most {MOST_COMBINATIONS:,} can be; give fewer values")
    return tuple(product(*([str(axis._replace(text=value)) for value in values] for axis, values in axes)))


def _values(setting: Setting, text: str, assignment: str) -> list[str]:
    """The values of a setting in a grid, each as `setting_text` writes it. Raises BadSetting, BadGrid."""
    found: dict[object, str] = {}
    for one in _split(setting, text, assignment):
        if not one:
            raise BadGrid(f"--grid {assignment}: an empty value; write a value between any two commas")
        value = setting_value(setting.name, one)
        if value in found:
            raise BadGrid(f"--grid {assignment}: {one} is there twice; leave one out")
        found[value] = setting_text(value)
    return list(found.values())


def _split(setting: Setting, text: str, assignment: str) -> list[str]:
    """The texts between the commas; a choice may hold a comma itself ("y,z"), so the longest that fits is taken.

    A setting that takes any text has its values in a JSON list. Raises BadGrid.
    """
    if setting.choices:
        return _split_choices(text, setting.choices)
    if setting.kind is not str:
        return [one.strip() for one in text.split(",")]
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise BadGrid(
            f"--grid {assignment}: the values of {setting.name} are texts, which may hold commas; write them as a JSON"
            f" list, in quotes for the shell: '{setting.name}={json.dumps([setting.default])}'"
        )
    return values


def _split_choices(text: str, choices: Iterable[str]) -> list[str]:
    longest_first = sorted(choices, key=len, reverse=True)
    found: list[str] = []
    rest = text
    while True:
        end = next((len(one) for one in longest_first if f"{rest},".startswith(f"{one},")), rest.find(","))
        if end in (-1, len(rest)):
            return [*found, rest.strip()]
        found.append(rest[:end].strip())
        rest = rest[end + 1 :].lstrip()


# --- what changes are called -----------------------------------------------------------------------------------------


def normal(changes: Iterable[str]) -> tuple[str, ...]:
    """Changes as they are said shortest: values as `setting_text` writes them, none that a later one undoes, settings
    in the order of RunConfig. Equal for changes that say the same in another way. Raises BadSetting.
    """
    kept: list[Assignment] = []
    for change in changes:
        one = read_assignment(change)
        one = one._replace(text=setting_text(setting_value(one.name, one.text)))
        kept = [before for before in kept if not one.covers(before)] + [one]
    order = [setting.name for setting in describe()]
    return tuple(str(one) for one in sorted(kept, key=lambda one: order.index(one.name)))


def moves_numbers(change: str) -> bool:
    """Whether a run's numbers depend on it: "train.log_every=5" is no part of a key."""
    section, _, name = read_assignment(change).name.partition(".")
    return section != "train" or name not in NOT_IN_THE_KEY


def label(changes: Iterable[str]) -> str:
    """A readable name of changes, for a folder and MLflow: "hrm.lr=0.001,weight_decay=0.1"; nothing for no change.

    Of A-Z, a-z, 0-9 and ._,=+- alone, 80 characters at most, and another one for other changes: where it is cut, or
    a text does not fit in these characters, it ends in 8 hex digits of the whole. Raises BadSetting.
    """
    whole = normal(changes)
    parts = [_part(read_assignment(change)) for change in whole]
    text = ",".join(words for words, _ in parts)
    if all(says_all for _, says_all in parts) and len(text) <= LONGEST_LABEL:
        return text
    digits = hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:8]
    return f"{text[: LONGEST_LABEL - 9]}-{digits}"


def _part(change: Assignment) -> tuple[str, bool]:
    """A change as it stands in a label, and whether it can be told from every other change there."""
    setting = find_setting(change.name)
    value = change.text.removesuffix(".0") if setting.kind is float else change.text
    says_all = setting.kind is not str or bool(setting.choices) or re.fullmatch(r"[a-z0-9._,]*", value) is not None
    value = re.sub(r"[^A-Za-z0-9._+=-]", "-", value.replace(",", "+"))
    scopes = "".join(f"{scope}." for scope in (change.puzzle, change.base) if scope)
    return f"{scopes}{short_name(change.name)}={value}", says_all


def short_name(name: str) -> str:
    """The last part of a setting's name where no other setting has it: lr, but train.seed. Raises BadSetting."""
    shared = Counter(setting.name.rpartition(".")[2] for setting in describe())
    last = find_setting(name).name.rpartition(".")[2]
    return last if shared[last] == 1 else name
