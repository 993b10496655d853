"""What answers without starting anything: the studies there are, the settings, a row in full, two side by side.

Everything is printed to fit the terminal, or 80 columns where there is none, and no word of it is broken.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeps.declared import nearest
from sweeps.profiles import (
    PROFILES,
    Difference,
    configure,
    differences,
    differences_where,
    find_profile,
    shared_puzzles,
)
from sweeps.puzzles import PUZZLE_WORDS
from sweeps.search_spec import searches_and_faults
from sweeps.study import EVERY_BASE, BaseName, ProfileName, PuzzleName, Row, Study, studies_and_faults
from trm_core.command_line import BadCommand
from trm_core.config import RunConfig
from trm_core.settings_as_text import describe, setting_text

WIDTH = 80  # where standard output is no terminal

BASE_WORDS: dict[BaseName, str] = {
    "trm": "TRM-MLP",
    "trm_att": "TRM-Att",
    "hrm": "HRM",
    "direct": "direct prediction",
}


class UnknownRow(ValueError):
    """A name that is no row's, or that fits several."""


def find_row(study: Study, name: str) -> Row:
    """The row of that name, or the only one that the name matches as `--only` matches. Raises UnknownRow."""
    names = [row.name for row in study.rows]
    found = [row for row in study.rows if row.name == name] or [row for row in study.rows if row.matches(name)]
    if not found:
        raise UnknownRow(f"{name!r}: no such row of {study.name}; {nearest(name, names, 'rows', between='; ')}")
    if len(found) > 1:
        these = "; ".join(row.name for row in found)
        raise UnknownRow(f"{name!r} matches {len(found)} rows of {study.name}: {these}; give the whole name of one")
    return found[0]


# --- the studies -----------------------------------------------------------------------------------------------------


def print_list() -> None:
    """`--list`: the studies, the runs that a seed makes in each profile, and the rows; the searches; the profiles.

    A file that declares no study is named with what is wrong in it, and the others are printed.
    """
    console = _console()
    studies, faults = studies_and_faults()
    for study in studies:
        runs = ", ".join(f"{profile} {len(study.rows_of(profile))}" for profile in PROFILES)
        _say(console, f"{study.name}: {study.title} ({study.source})")
        _say(console, f"runs per seed: {runs}", indent=2)
        for row in study.rows:
            where = "" if len(row.profiles) == len(PROFILES) else f"  [{', '.join(row.profiles)}]"
            _say(console, f"{row.name}{where}", indent=2)
        console.print()
    searches, more_faults = searches_and_faults()
    for search in searches:
        _say(console, f"search {search.name}: {search.title}, {search.trials} trials of {search.row.name}")
        _say(console, f"varies {', '.join(dict.fromkeys(one.setting for one in search.space))}", indent=2)
        console.print()
    for name, fault in {**faults, **more_faults}.items():
        _say(console, f"{name}: broken; {fault}")
        console.print()
    for profile in PROFILES.values():
        _say(console, f"profile {profile.name}: {profile.description}")


# --- the settings ----------------------------------------------------------------------------------------------------


def print_settings() -> None:
    """`--settings`: every setting with its type, range, default and meaning, section by section."""
    console = _console()
    section = ""
    for setting in describe():
        if setting.name.partition(".")[0] != section:
            section = setting.name.partition(".")[0]
            console.print()
            _say(console, f"{section}: {RunConfig.model_fields[section].annotation.__doc__}")
        of = f": {setting.range}" if setting.choices else f", {setting.range}" if setting.range else ""
        _say(console, f"{setting.name}  {setting.type}{of}; default {setting.default}", indent=2, then=4)
        _say(console, setting.meaning, indent=6)


def print_config(study: Study, row_name: str, profile: ProfileName, changes: Sequence[str] = ()) -> None:
    """`--print-config`: all settings of a row, as `--set` takes them, and which of them are not the defaults.

    Raises UnknownRow, BadSetting, NotAtThisScale.
    """
    row = find_row(study, row_name)
    flat = configure(study, row, profile, seed=0, overrides=changes).flat()
    console = _console()
    _say(console, _heading(study, row, profile, changes))
    _say(console, "* is not the default, which stands in brackets")
    _columns(
        console,
        [
            (" ", setting.name, text, "")
            if (text := setting_text(flat[setting.name])) == setting.default
            else ("*", setting.name, text, f"({setting.default})")
            for setting in describe()
        ],
    )


def print_diff(study: Study, first: str, second: str, profile: ProfileName, changes: Sequence[str] = ()) -> None:
    """`--diff`: the settings that two rows do not share. Raises UnknownRow, BadSetting, NotAtThisScale."""
    rows = [find_row(study, name) for name in (first, second)]
    one, other = (configure(study, row, profile, seed=0, overrides=changes).flat() for row in rows)
    console = _console()
    for letter, row in zip("AB", rows, strict=True):
        _say(console, f"{letter}  {_heading(study, row, profile, changes)}")
    differ = [(name, setting_text(one[name]), setting_text(other[name])) for name in one if one[name] != other[name]]
    if differ:
        _columns(console, [("setting", "A", "B"), *differ])
    else:
        _say(console, "No setting differs: they are the same run.")


def _heading(study: Study, row: Row, profile: ProfileName, changes: Sequence[str]) -> str:
    changed = f", with {' '.join(changes)}" if changes else ""
    not_run = "" if profile in row.profiles else f" (run in {' and '.join(row.profiles)} only)"
    return f"{row.name}: {study.name} in {profile}{not_run}{changed}"


# --- two profiles side by side ---------------------------------------------------------------------------------------


def print_explanation(first_name: str, second_name: str) -> None:
    """`--explain`: a line per setting that differs; those with one reason stand together.

    Raises UnknownProfile, and BadCommand for one profile twice.
    """
    first, second = (find_profile(name) for name in (first_name, second_name))
    if first == second:
        raise BadCommand(f"--explain {first.name} {second.name}: the same profile twice; name two different ones")
    puzzles = shared_puzzles(first, second)
    groups: dict[tuple[str, str], list[Difference]] = {}
    for difference in (*differences(first, second), *differences_where(first, second)):
        groups.setdefault((difference.why, _where(difference, puzzles)), []).append(difference)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column(first.name, justify="right", no_wrap=True)
    table.add_column(second.name, justify="right", no_wrap=True)
    table.add_column("where and why", ratio=1)
    for (why, where), group in groups.items():
        columns = zip(*((one.setting, *map(_shown, one.values)) for one in group), strict=True)
        table.add_row(*(Text("\n".join(column)) for column in columns), Text(f"{where}: {why}" if where else why))
        table.add_section()
    console = _console()
    for profile in (first, second):
        _say(console, f"{profile.name}: {profile.description}")
    console.print(table)
    for profile in (first, second):
        if lacking := [words for puzzle, words in PUZZLE_WORDS.items() if puzzle not in profile.puzzles]:
            _say(console, f"{profile.name} has no {' or '.join(lacking)}; compared on the rest.")
        if profile.kept:
            _say(console, f"{profile.name} keeps of the released code what the paper does not have:")
            for kept in profile.kept:
                _say(console, f"{kept.what}: {kept.why}", indent=2, then=4)


def _where(difference: Difference, puzzles: Collection[PuzzleName]) -> str:
    """On which puzzles and recipes, in words; nothing where it is on all of them."""
    words = "" if difference.bases == EVERY_BASE else ", ".join(BASE_WORDS[base] for base in difference.bases)
    words = words.replace("TRM-MLP, TRM-Att", "TRM")
    if difference.where:
        words = f"{words} with {difference.where}".strip()
    if len(difference.puzzles) == len(puzzles):
        return words
    return f"{words} on {', '.join(PUZZLE_WORDS[puzzle] for puzzle in difference.puzzles)}".strip()


def _shown(value: str | float | None) -> str:
    """A setting's value for a person: 65,104, 0.0001, none."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return setting_text(value)


# --- how it is printed -----------------------------------------------------------------------------------------------


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def _say(console: Console, text: str, indent: int = 0, then: int | None = None) -> None:
    """A text, its lines broken between words; its first line is indented so far, and then so far."""
    first, others = " " * indent, " " * (indent if then is None else then)
    wrap = textwrap.TextWrapper(console.width, first, others, break_long_words=False, break_on_hyphens=False)
    console.print(Text(wrap.fill(text)))


def _columns(console: Console, lines: Iterable[Sequence[str]]) -> None:
    """Lines of cells that stand below each other; a line too long for the screen goes on in the next one."""
    lines = list(lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        _say(console, "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), then=4)
