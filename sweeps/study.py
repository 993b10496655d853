"""Row and Study: one table of the paper as plain data. A study names switches; a profile says at what scale."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import importlib
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from trm_core.config import RunConfig, Settings, find_setting, shortened

BaseName = Literal["trm", "trm_att", "hrm", "direct"]
PuzzleName = Literal["sudoku", "maze", "arc"]
ProfileName = Literal["mini", "official", "paper"]
EVERY_BASE: tuple[BaseName, ...] = ("trm", "trm_att", "hrm", "direct")
EVERY_PUZZLE: tuple[PuzzleName, ...] = ("sudoku", "maze", "arc")
EVERY_PROFILE: tuple[ProfileName, ...] = ("mini", "official", "paper")


class UnknownStudy(ValueError):
    """A study name that no file in sweeps/studies carries."""


FOLDER = Path(__file__).resolve().parent / "studies"  # of the studies that ship


class BadStudy(ValueError):
    """A file that declares no study: one line, with the file, where it can be the line, and what is wrong in it."""


class Losses(Settings):
    """A training-loss curve in three numbers (nats), as a table of losses prints it."""

    initial: float
    final: float
    minimum: float


class Quoted(Settings):
    """A row that is not ours to run: numbers that the paper quotes, by the column of the table they stand in."""

    name: str  # "Claude 3.7 8K"
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


class Study(Settings):
    """One table of the paper: its rows, and how the table is laid out."""

    name: str  # that of its file in sweeps/studies
    title: str
    puzzle: PuzzleName
    source: str  # "Table 3 of arXiv 2510.04871v1, section 4.8"
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    quoted: tuple[Quoted, ...] = ()  # printed apart from the rows that were run
    metric: str = "test/exact_accuracy"
    layout: Literal["accuracy", "losses"] = "accuracy"  # "losses": first, last and least training loss of each row
    note: str = ""  # printed under the table

    @model_validator(mode="after")
    def _row_names_are_unique(self) -> Self:
        names = [row.name for row in self.rows]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"study {self.name}: two rows are named {twice[0]!r}; row names must differ")
        return self

    def puzzle_of(self, row: Row) -> PuzzleName:
        """The row's puzzle: its own, or the study's."""
        return row.puzzle or self.puzzle

    @property
    def has_paper_numbers(self) -> bool:
        """Whether the paper prints anything for these rows; else a table has no column of the paper's."""
        return any(row.paper is not None for row in self.rows)

    def rows_of(self, profile: ProfileName) -> tuple[Row, ...]:
        """The rows that this profile runs."""
        return tuple(row for row in self.rows if profile in row.profiles)


def nearest(name: str, names: Iterable[str], what: str, between: str = ", ") -> str:
    """A hint at the name meant, for an error: "did you mean mini?", else "profiles are mini, official, paper"."""
    names = tuple(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"did you mean {close[0]}?" if close else f"{what} are {between.join(names)}"


# --- the files -------------------------------------------------------------------------------------------------------


def study_names() -> tuple[str, ...]:
    """The studies there are: the module names in sweeps/studies, sorted."""
    package = importlib.import_module("sweeps.studies")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def find_study(name: str) -> Study:
    """The study of that name, or that a file declares: "recursion_depth", "my_study.py", "elsewhere/my_study.py".

    Raises UnknownStudy with the nearest right name, BadStudy.
    """
    if name.endswith(".py") or "/" in name:
        path = Path(name)
        if os.path.realpath(path.parent) != str(FOLDER):
            return _read_file(path)
        name = path.stem
    names = study_names()
    if name not in names:
        hint = f"did you mean {name}.py?" if Path(f"{name}.py").is_file() else nearest(name, names, "studies")
        raise UnknownStudy(f"{name!r}: no such study; {hint}")
    path = Path("sweeps", "studies", f"{name}.py")
    try:
        module = importlib.import_module(f"sweeps.studies.{name}")
    except Exception as error:  # a file that somebody is writing: whatever it raises is told with its line
        raise BadStudy(_fault(path, str(FOLDER / path.name), error)) from error
    study = _declared(path, module)
    if study.name != name:
        raise BadStudy(f"{path}: study.name is {study.name!r}, must be {name!r}, as its file")
    return study


def all_studies() -> tuple[Study, ...]:
    """Every study that ships, by name. Raises BadStudy."""
    return tuple(find_study(name) for name in study_names())


def studies_and_faults() -> tuple[tuple[Study, ...], dict[str, str]]:
    """The studies that ship, by name; and of each file that declares none, by its name, what is wrong in it."""
    studies, faults = [], {}
    for name in study_names():
        try:
            studies.append(find_study(name))
        except BadStudy as error:
            faults[name] = str(error)
    return tuple(studies), faults


def _read_file(path: Path) -> Study:
    """The study that a file outside the package declares. Raises BadStudy."""
    try:
        if not path.exists():
            close = difflib.get_close_matches(str(path), [str(file) for file in sorted(path.parent.glob("*.py"))], n=1)
            hint = f"did you mean {close[0]}?" if close else "give the path of a Python file that declares a study"
            raise BadStudy(f"{path}: no such file; {hint}")
        if not path.is_file():
            raise BadStudy(f"{path}: a folder or a device; give the path of a Python file that declares a study")
        source = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadStudy(f"{path}: cannot be read ({error.strerror}); see its permissions") from None
    except UnicodeDecodeError as error:
        raise BadStudy(f"{path}: byte {error.start} is no UTF-8; save it as UTF-8") from None
    module = ModuleType(f"study_file_{path.stem}")
    module.__file__ = str(path)
    with _importable(module, path.parent):
        try:
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
        except (Exception, SystemExit) as error:  # a person's own code: whatever it raises is told with its line
            raise BadStudy(_fault(path, str(path), error)) from error
    study = _declared(path, module)
    if not re.fullmatch("[a-z0-9_]+", study.name):
        raise BadStudy(f"{path}: study.name is {study.name!r}; expected a-z, 0-9 and _ alone, for its folder")
    if study.name in study_names():
        raise BadStudy(f"{path}: study.name is {study.name!r}, that of a study that ships; choose another")
    return study


@contextlib.contextmanager
def _importable(module: ModuleType, folder: Path) -> Iterator[None]:
    """The module is known while it runs, and what lies beside it can be imported, the repository's own first."""
    before = list(sys.path)
    sys.modules[module.__name__] = module  # where classes that it declares are looked up
    sys.path.append(str(folder.resolve()))
    try:
        yield
    finally:
        sys.path[:] = before
        sys.modules.pop(module.__name__, None)


def _declared(path: Path, module: ModuleType) -> Study:
    """The module's `study`. Raises BadStudy."""
    found = vars(module).get("study")
    if isinstance(found, Study):
        return found
    if found is not None:
        raise BadStudy(f"{path}: `study` is of type {type(found).__name__}, must be a Study: study = Study(name=…)")
    others = [name for name, value in vars(module).items() if isinstance(value, Study)]
    hint = f"did you mean {others[0]}? Call it study" if others else "declare one: study = Study(name=…)"
    raise BadStudy(f"{path}: no `study` in it; {hint}")


def _fault(path: Path, filename: str, error: BaseException) -> str:
    """What a file raised, as one line: the file, the line of it that was running, what is wrong.

    path: as a person knows it; filename: as Python does.
    """
    ran = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    if isinstance(error, SyntaxError) and error.filename == filename:
        ran.append(error.lineno)
    where = f"{path}, line {ran[-1]}" if ran and ran[-1] else str(path)
    if isinstance(error, ValidationError):
        return f"{where}: {_in_one_line(error)}"
    if isinstance(error, SyntaxError):
        elsewhere = "" if error.filename in (filename, None) else f"{error.filename}, line {error.lineno}: "
        return f"{where}: {elsewhere}{error.msg}"
    return f"{where}: {' '.join(traceback.format_exception_only(error)[0].split())}"


def _in_one_line(error: ValidationError) -> str:
    """Pydantic's errors about a declaration: the field, what was found, what was expected."""
    fields = {kind.__name__: tuple(kind.model_fields) for kind in (Study, Row, Quoted, Losses)}
    said = []
    for offence in error.errors():
        name = ".".join(str(part) for part in offence["loc"])
        match offence["type"]:
            case "value_error":
                text = str(offence["ctx"]["error"])
                said.append(f"{name}: {text}" if name else text)
            case "extra_forbidden" if error.title in fields:
                said.append(f"{name}: {error.title} has no such field; {nearest(name, fields[error.title], 'fields')}")
            case "missing":
                said.append(f"{error.title} needs {name}")
            case _:
                text = f"{offence['msg'][0].lower()}{offence['msg'][1:]}"
                said.append(f"{name}={shortened(offence['input'])}: {text}")
    return "; ".join(said)
