"""Settings as text and in words: every value survives, what is no value is refused in one line."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trm_core.config import RunConfig
from trm_core.settings import BadSetting
from trm_core.settings_as_text import Setting, assigned, describe, setting_text, setting_value


def test_settings_written_flat_read_back_as_the_same_run() -> None:
    run = RunConfig().set(["data.source=generated", "data.test=9", "optim.ema=none", "optim.lr=3e-4", "data.clues=20"])
    texts = [f"{name}={setting_text(value)}" for name, value in run.flat().items()]
    assert RunConfig().set(texts) == run


def _values(setting: Setting) -> st.SearchStrategy[Any]:
    """Every value of the setting's type, and more than its range has: a text does not depend on it."""
    of_kind: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        str: st.text(),
    }
    values = st.sampled_from(setting.choices) if setting.choices else of_kind[setting.kind]
    return values | st.none() if setting.takes_none else values


@pytest.mark.parametrize("setting", describe(), ids=lambda setting: setting.name)
@given(data=st.data())
def test_every_value_of_every_setting_survives_being_a_text(setting: Setting, data: st.DataObject) -> None:
    value = data.draw(_values(setting))
    section, _, field = setting.name.partition(".")
    (read,) = assigned([f"{setting.name}={setting_text(value)}"])[section].values()
    assert (read, type(read)) == (value, type(value)), field


def test_no_setting_could_mean_two_things_by_none() -> None:
    assert not [one for one in describe() if one.takes_none and (one.kind is str or "none" in one.choices)]


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("model.halting=none", "none"),  # a word there, nothing here
        ("optim.ema=none", None),
        ("optim.ema=None", None),
        ("data.clues=null", None),
        ("data.subsets=none", "none"),
        ("data.subsets=true", "true"),
        ("data.subsets=1", "1"),
        ("data.subsets=a=b", "a=b"),
        ("data.subsets=", ""),
        ("data.allow_leak=true", True),
        ("data.allow_leak=False", False),
        ("optim.lr=1e-3", 0.001),
        ("optim.weight_decay=1", 1),
        ("model.T=3.0", 3),
    ],
)
def test_a_text_is_read_by_its_settings_type(assignment: str, value: object) -> None:
    name, _, text = assignment.partition("=")
    found = setting_value(name, text)
    assert (found, found is None, isinstance(found, bool)) == (value, value is None, isinstance(value, bool))
    run = RunConfig().set([assignment, *(["data.source=generated", "data.test=9"] if name == "data.clues" else [])])
    assert run.flat()[name] == value


@pytest.mark.parametrize(
    "text",
    ["9" * 5000, "[" * 5000, "[" * 500_000, "1e40", "", "ninety", "2.5", "true", "none"],
    ids=map(str, range(9)),
)
def test_what_is_no_value_of_a_setting_is_refused_in_one_line_looked_at_alone_too(text: str) -> None:
    for read in (lambda: setting_value("model.D", text), lambda: RunConfig().set([f"model.D={text}"])):
        with pytest.raises(BadSetting, match=r"model\.D=.*: .*integer") as error:
            read()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 200


def test_a_value_looked_at_alone_may_contradict_other_settings() -> None:
    assert setting_value("model.n", "0") == 0
    with pytest.raises(BadSetting, match=r"model\.n=-1: input should be greater than or equal to 0"):
        setting_value("model.n", "-1")
    with pytest.raises(BadSetting, match=r"optim\.lr='nan': input should be a finite number"):
        setting_value("optim.lr", "nan")
    with pytest.raises(BadSetting, match=r"model\.d: no such setting; did you mean model\.D\?"):
        setting_value("model.d", "1")


def test_every_setting_has_a_meaning_a_type_and_its_default() -> None:
    assert [setting.name for setting in describe()] == list(RunConfig().flat())
    for setting in describe():
        assert setting.meaning.endswith("."), f"{setting.name}: say under it in trm_core/settings.py what it means"
        assert "\n" not in setting.meaning
        assert setting_value(setting.name, setting.default) == RunConfig().flat()[setting.name]
        default = RunConfig().flat()[setting.name]
        assert isinstance(default, setting.kind) or (default is None and setting.takes_none)


@pytest.mark.parametrize(
    ("name", "type_", "range_", "default"),
    [
        ("model.D", "integer", "2 or more", "512"),
        ("model.mixer", "choice", "mlp | attention", "mlp"),
        ("model.exploration", "number", "0 to 1", "0.1"),
        ("model.expansion", "number", "more than 0", "4.0"),
        ("optim.ema", "number or none", "0 or more, less than 1", "0.999"),
        ("data.test", "integer or none", "1 or more", "none"),
        ("data.box_rows", "integer", "2 to 6", "3"),
        ("data.subsets", "text", "", "training,evaluation,concept"),
        ("data.allow_leak", "true or false", "", "false"),
    ],
)
def test_a_setting_is_described_by_type_range_and_default(name: str, type_: str, range_: str, default: str) -> None:
    (found,) = (setting for setting in describe() if setting.name == name)
    assert (found.type, found.range, found.default) == (type_, range_, default)
