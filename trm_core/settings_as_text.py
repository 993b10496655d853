"""Settings as text and in words: what `--set` reads, what `--settings` prints, what an error says. No torch here."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from trm_core.settings import SECTIONS, BadSetting

Kind = type[int] | type[float] | type[bool] | type[str]


class Setting(NamedTuple):
    """One setting of a run in words, and what its text is read by."""

    name: str  # "model.D"
    type: str  # "integer", "number", "true or false", "text" or "choice", where it may be none " or none"
    range: str  # "2 or more", "mlp | attention"; empty where every value of the type will do
    default: str  # as `--set` reads it
    meaning: str  # one clause
    kind: Kind
    choices: tuple[str, ...]  # of a choice: all there are
    takes_none: bool


@functools.cache
def describe() -> tuple[Setting, ...]:
    """Every setting of a run, section by section."""
    return tuple(_described(name, _field(name), default) for name, default in _defaults().items())


def setting_text(value: object) -> str:
    """The text that `--set` reads back as this value of a setting: none, true, 0.001, single z."""
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)


def setting_value(name: str, text: str) -> Any:
    """The value that `--set name=text` gives a setting, looked at alone. Raises BadSetting."""
    setting = find_setting(name)
    try:
        return _adapter(name).validate_python(_value(setting, text))
    except ValidationError as error:
        raise BadSetting(explain(error, name)) from None


def find_setting(name: str) -> Setting:
    """The setting of that name. Raises BadSetting with the nearest right one."""
    for setting in describe():
        if setting.name == name:
            return setting
    raise BadSetting(f"{name}: no such setting{_nearest(name, _defaults())}")


def assigned(assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """ "model.D=96"-like assignments, in order, as {"model": {"D": 96}}. Raises BadSetting.

    A text is read by its setting's type, and whether it is a value of that type is for RunConfig to say.
    """
    changes: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise BadSetting(f"--set {assignment}: expected NAME=VALUE, for example model.D=96")
        section, _, field = name.partition(".")
        changes.setdefault(section, {})[field] = _value(find_setting(name), text)
    return changes


def _value(setting: Setting, text: str) -> Any:
    """The value that a text stands for, where it stands for one of the setting's type; else the text itself."""
    if setting.takes_none and text.lower() in ("none", "null"):
        return None
    if setting.kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if setting.kind is str:
        return text
    try:
        number = json.loads(text)
    except (ValueError, RecursionError):  # no JSON; thousands of digits; thousands of brackets
        return text
    return number if isinstance(number, int | float) and not isinstance(number, bool) else text  # `true` is no number


@functools.cache
def _defaults() -> dict[str, Any]:
    """Every setting's name and default."""
    return {f"{section}.{name}": value for section, of in SECTIONS.items() for name, value in of().model_dump().items()}


def _field(name: str) -> FieldInfo:
    section, _, field = name.partition(".")
    return SECTIONS[section].model_fields[field]


@functools.cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_field(name).rebuild_annotation(), config=ConfigDict(allow_inf_nan=False))


def _described(name: str, field: FieldInfo, default: object) -> Setting:
    kind: Any = field.annotation
    bounds = list(field.metadata)
    takes_none = NoneType in get_args(kind)
    if takes_none:
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is Annotated:
        bounds += [bound for info in kind.__metadata__ for bound in info.metadata]
        kind = kind.__origin__
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    words = "choice" if choices else {int: "integer", float: "number", bool: "true or false", str: "text"}[kind]
    return Setting(
        name=name,
        type=words + (" or none" if takes_none else ""),
        range=" | ".join(choices) if choices else _range(bounds),
        default=setting_text(default),
        meaning=" ".join((field.description or "").split()),
        kind=str if choices else kind,
        choices=choices,
        takes_none=takes_none,
    )


def _range(bounds: Iterable[object]) -> str:
    """Pydantic's bounds in words: "2 or more", "0 to 1", "0 or more, less than 1"."""
    found = {
        name: getattr(bound, name) for bound in bounds for name in ("ge", "gt", "le", "lt") if hasattr(bound, name)
    }
    if set(found) == {"ge", "le"}:
        return f"{found['ge']} to {found['le']}"
    words = {"ge": "{} or more", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
    return ", ".join(words[name].format(found[name]) for name in words if name in found)


def _nearest(name: str, names: Iterable[str]) -> str:
    """A hint at the setting meant: the same field in another section, or in none, before the closest spelling."""
    full_names = {spelling: known for known in names for spelling in (known, known.rpartition(".")[2])}
    field = name.rpartition(".")[2].lower()
    meant = sorted({known for known in full_names.values() if known.rpartition(".")[2].lower() == field})
    if not meant:
        meant = [full_names[spelling] for spelling in difflib.get_close_matches(name, full_names, n=1, cutoff=0.5)]
    if not meant:
        return f"; settings are {', '.join(sorted(set(full_names.values())))}"
    return f"; did you mean {' or '.join(meant)}?"


def explain(error: ValidationError, within: str = "") -> str:
    """Pydantic's errors, one line: setting, found, expected. within: the setting, where it was looked at alone."""
    known = _defaults()
    lines = []
    for offence in error.errors():
        name = within or ".".join(str(part) for part in offence["loc"])
        if offence["type"] == "extra_forbidden":
            lines.append(f"{name}: no such setting{_nearest(name, known)}")
        elif offence["type"] == "value_error":
            lines.append(str(offence["ctx"]["error"]))
        else:
            lines.append(f"{name}={shortened(offence['input'])}: {offence['msg'][0].lower()}{offence['msg'][1:]}")
    return "; ".join(lines)


def shortened(value: object) -> str:
    """A value as an error shows it: its start, where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
