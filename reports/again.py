"""The commands that make a table, or one of its rows, again; put together from a campaign's document, word by word.

The document may be anybody's, and a command is there to be pasted: every word of it is quoted for the shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from reports.plain import one_line
from sweeps.campaign import Campaign

PROGRAM = ("python", "sweeps/run.py")


def again(campaign: Campaign, row: str | None = None) -> str:
    """The command for all of the campaign's runs, or for those of a row. Empty where there are none."""
    runs = [run for run in campaign.runs if row in (None, run.row)]
    if not runs:
        return ""
    rows = tuple(dict.fromkeys(run.row for run in runs))
    able = {one.name for one in campaign.rows if one.settings is not None}
    every = {one.name for one in campaign.study.rows_of(campaign.profile)} & able
    study, data, anyway = _recorded(campaign.command, campaign.study.name)
    words = [*PROGRAM, "--study", study, "--profile", campaign.profile]
    words += ["--only", *map(_pattern, rows)] if set(rows) != every else []
    words += ["--set", *campaign.changes] if campaign.changes else []
    words += _seeds("--seeds", {run.seed for run in runs}) + _seeds("--data-seeds", {run.data_seed for run in runs})
    words += ["--data", *data] if data else []
    words += ["--set-anyway"] if anyway else []
    return shlex.join(map(one_line, words))


def _recorded(command: str, study: str) -> tuple[str, list[str], bool]:
    """What the command that asked last alone knows: a study's own file, where the puzzles lie, --set-anyway."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if tuple(words[: len(PROGRAM)]) != PROGRAM:
        words = []
    options: dict[str, list[str]] = {}
    name = ""
    for word in words[len(PROGRAM) :]:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            options.setdefault(name, []).extend([value] if value else [])
        else:
            options.setdefault(name, []).append(word)
    own = [one for one in options.get("--study", []) if one.endswith(".py")]
    return (own[-1] if own else study), options.get("--data", []), "--set-anyway" in options


def _pattern(row: str) -> str:
    """A row's name as --only takes it, which reads * ? and [ otherwise."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in row)


def _seeds(option: str, seeds: Iterable[int]) -> list[str]:
    """ "--seeds 3" for 0, 1, 2; "--seeds 0,5" for others; nothing for the default, seed 0 alone."""
    found = sorted(seeds)
    if found == [0]:
        return []
    if found == list(range(len(found))):
        return [option, str(len(found))]
    return [option, f"{found[0]}-{found[0]}" if len(found) == 1 else ",".join(map(str, found))]
