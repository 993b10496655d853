"""What a row is named for, and the changes that would make its name untrue: model.T=2 on "TRM (T=3, n=6)"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sweeps.changes import read_assignment
from sweeps.profiles import configure
from sweeps.recipes import called_for
from sweeps.study import ProfileName, Row, Study
from trm_core.config import RunConfig
from trm_core.settings_as_text import setting_text


class UntrueName(ValueError):
    """A change that undoes what a row is named for."""


class Contradiction(NamedTuple):
    """A setting that a row is named for, the value that its name stands for, and the one asked for."""

    row: str
    setting: str
    value: Any
    asked: Any


def named_for(row: Row) -> tuple[str, ...]:
    """The settings that a row is named for: what it changes, but how long it trains; what its recipe is; what it says.

    "train" is left out, since a row trains longer or in less memory without being another model.
    """
    changed = {f"{section}.{name}" for section, values in row.change.items() if section != "train" for name in values}
    named = changed.union(row.named_for, called_for(row.base))
    return tuple(setting for setting in RunConfig().flat() if setting in named)


def contradictions(study: Study, row: Row, profile: ProfileName, assignments: Sequence[str]) -> list[Contradiction]:
    """Where the assignments give a row another value of what it is named for. Raises BadSetting, NotAtThisScale."""
    named = named_for(row)
    if not any(read_assignment(assignment).name in named for assignment in assignments):
        return []
    now = configure(study, row, profile, seed=0).flat()
    asked = configure(study, row, profile, seed=0, overrides=assignments).flat()
    return [
        Contradiction(row.name, setting, now[setting], asked[setting])
        for setting in named
        if asked[setting] != now[setting]
    ]


def check_names(study: Study, rows: Sequence[Row], profile: ProfileName, assignments: Sequence[str]) -> None:
    """That each row stays what it is named for. Raises UntrueName, BadSetting, NotAtThisScale."""
    found = [one for row in rows for one in contradictions(study, row, profile, assignments)]
    if not found:
        return
    first, others = found[0], len({one.row for one in found}) - 1
    raise UntrueName(
        f"{first.setting}={setting_text(first.asked)}: {first.row!r} is named for {first.setting}="
        f"{setting_text(first.value)}{f', and {others} more row(s) for what is changed' if others else ''};"
        " leave these rows out with --only, or add --set-anyway"
    )
