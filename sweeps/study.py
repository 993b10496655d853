"""Row and Study: one table of the paper as plain data. A study names switches; a profile says at what scale."""

from __future__ import annotations

import fnmatch
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sweeps.declared import Shelf, nearest
from trm_core.config import RunConfig
from trm_core.settings import Settings
from trm_core.settings_as_text import find_setting

BaseName = Literal["trm", "trm_att", "hrm", "direct"]
PuzzleName = Literal["sudoku", "maze", "arc"]
ProfileName = Literal["mini", "official", "paper", "fast"]
EVERY_BASE: tuple[BaseName, ...] = ("trm", "trm_att", "hrm", "direct")
EVERY_PUZZLE: tuple[PuzzleName, ...] = ("sudoku", "maze", "arc")
EVERY_PROFILE: tuple[ProfileName, ...] = ("mini", "official", "paper", "fast")
# the puzzles that a profile has settings for, where these are not all
PUZZLES_OF: dict[ProfileName, tuple[PuzzleName, ...]] = {"fast": ("sudoku",)}


class UnknownStudy(ValueError):
    """A study name that no file in sweeps/studies carries."""


class BadStudy(ValueError):
    """A file that declares no study: one line, with the file, where it can be the line, and what is wrong in it."""


class Losses(Settings):
    """A training-loss curve in three numbers (nats), as a table of losses prints it."""

    initial: float
    final: float
    minimum: float
    improvement: float | None = None  # per cent, as printed; None: (initial − final) / initial


class Quoted(Settings):
    """A row that is not ours to run: numbers that the paper quotes, by the column of the table they stand in."""

    name: str  # "Claude 3.7 8K"
    parameters: str = ""  # as printed: "671B"
    cells: dict[str, float]  # {"Sudoku-Extreme": 0.0, "Maze-Hard": 0.0}, per cent


class Row(Settings):
    """One row of a table: a base recipe with something changed, and what the paper prints for it."""

    name: str  # unique in its study, and what --only matches: "TRM k=3, T=3"
    base: BaseName
    puzzle: PuzzleName | None = None  # where a table spans several puzzles; None: the study's
    change: dict[str, dict[str, Any]] = Field(default_factory=dict)  # {"model": {"n": 2, "T": 1}}
    # and in one profile besides: what it takes to learn at that scale; printed under the table
    change_in: dict[ProfileName, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    # settings that the recipe has already and the name states: ("model.T", "model.n") of "TRM (T=3, n=6)"
    named_for: tuple[str, ...] = ()
    paper: float | Literal["OOM"] | None = None  # the paper's cell, per cent
    paper_depth: int | None = None  # where the paper prints another depth than its own formula
    paper_losses: Losses | None = None  # in a table of training losses, what its source prints
    place: dict[str, str] = Field(default_factory=dict)  # in a grid table: {"k": "3", "T": "3", "model": "TRM"}
    profiles: tuple[ProfileName, ...] = EVERY_PROFILE  # where it is run

    @field_validator("change")
    @classmethod
    def _changes_only_settings_that_exist(cls, change: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        RunConfig().change(change)
        return change

    @field_validator("change_in")
    @classmethod
    def _changes_only_settings_that_exist_in_a_profile(
        cls, change_in: dict[ProfileName, dict[str, dict[str, Any]]]
    ) -> dict[ProfileName, dict[str, dict[str, Any]]]:
        for change in change_in.values():
            RunConfig().change(change)
        return change_in

    @field_validator("named_for")
    @classmethod
    def _is_named_for_settings_that_exist(cls, named_for: tuple[str, ...]) -> tuple[str, ...]:
        for name in named_for:
            find_setting(name)
        return named_for

    def matches(self, pattern: str) -> bool:
        """Whether the pattern fits anywhere in the row's name, upper case or lower: "k=3*"."""
        return fnmatch.fnmatchcase(self.name.lower(), f"*{pattern.lower()}*")


class Claim(Settings):
    """What the source says of the order of rows, to be tested on ours: "4 layers are worse than 2"."""

    says: str
    # chains of row names, each row worse than the next; the rows of a chain share a test set
    rising: Annotated[tuple[Annotated[tuple[str, ...], Field(min_length=2)], ...], Field(min_length=1)]


class Study(Settings):
    """One table of the paper: its rows, and how the table is laid out."""

    name: str  # that of its file in sweeps/studies
    title: str
    puzzle: PuzzleName
    source: str  # "Table 3 of arXiv 2510.04871v1, section 4.8"
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    quoted: tuple[Quoted, ...] = ()  # printed apart from the rows that were run
    metric: str = "test/exact_accuracy"
    # "losses": first, last and least training loss of each row; "speed": what it takes to come to an accuracy
    layout: Literal["accuracy", "losses", "speed"] = "accuracy"
    reach: Annotated[float, Field(gt=0, lt=1)] | None = None  # with "speed": that accuracy, on the validation puzzles
    note: str = ""  # printed under the table
    baseline: tuple[str, ...] = ()  # the row that the others are compared with; of several test sets one each
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _row_names_are_unique(self) -> Self:
        names = [row.name for row in self.rows]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"study {self.name}: two rows are named {twice[0]!r}; row names must differ")
        return self

    @model_validator(mode="after")
    def _baseline_and_claims_name_rows(self) -> Self:
        names = [row.name for row in self.rows]
        said = [*self.baseline, *(name for claim in self.claims for chain in claim.rising for name in chain)]
        for name in said:
            if name not in names:
                raise ValueError(f"study {self.name}: no row is named {name!r}; {nearest(name, names, 'rows')}")
        return self

    @model_validator(mode="after")
    def _a_table_of_speed_says_how_far(self) -> Self:
        if (self.layout == "speed") != (self.reach is not None):
            raise ValueError(f'study {self.name}: layout="speed" and reach go together; set both or neither')
        return self

    def puzzle_of(self, row: Row) -> PuzzleName:
        """The row's puzzle: its own, or the study's."""
        return row.puzzle or self.puzzle

    @property
    def has_paper_numbers(self) -> bool:
        """Whether the paper prints anything for these rows; else a table has no column of the paper's."""
        return any(row.paper is not None for row in self.rows)

    def rows_of(self, profile: ProfileName) -> tuple[Row, ...]:
        """The rows that this profile runs: those that are for it, on puzzles that it has settings for."""
        puzzles = PUZZLES_OF.get(profile, EVERY_PUZZLE)
        return tuple(row for row in self.rows if profile in row.profiles and self.puzzle_of(row) in puzzles)


# --- the files -------------------------------------------------------------------------------------------------------

STUDIES = Shelf("sweeps.studies", Study, (Study, Row, Quoted, Losses, Claim), unknown=UnknownStudy, bad=BadStudy)


def study_names() -> tuple[str, ...]:
    """The studies there are: the module names in sweeps/studies, sorted."""
    return STUDIES.names()


def find_study(name: str) -> Study:
    """The study of that name, or that a file declares: "recursion_depth", "my_study.py", "elsewhere/my_study.py".

    Raises UnknownStudy with the nearest right name, BadStudy.
    """
    return STUDIES.find(name)


def all_studies() -> tuple[Study, ...]:
    """Every study that ships, by name. Raises BadStudy."""
    return STUDIES.all()


def studies_and_faults() -> tuple[tuple[Study, ...], dict[str, str]]:
    """The studies that ship, by name; and of each file that declares none, by its name, what is wrong in it."""
    return STUDIES.sound_and_faults()
