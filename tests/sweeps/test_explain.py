"""What is printed without starting anything: studies, settings, a row in full, two side by side; in 80 columns."""

import re
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest

import sweeps.explain
from sweeps.explain import (
    UnknownRow,
    find_row,
    print_config,
    print_diff,
    print_explanation,
    print_list,
    print_settings,
)
from sweeps.profiles import PROFILES, configure, differences
from sweeps.study import ProfileName, all_studies, find_study, studies_and_faults
from trm_core.command_line import BadCommand
from trm_core.config import RunConfig
from trm_core.settings import BadSetting
from trm_core.settings_as_text import describe, setting_text

COMPONENTS = find_study("components")
Capture = pytest.CaptureFixture[str]


def _said(capsys: Capture) -> str:
    """What was printed, after a look at its width."""
    said = capsys.readouterr().out
    assert max(len(line) for line in said.splitlines()) <= 80
    return said


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "row"),
    [("HRM", "HRM"), ("no ema", "no EMA"), ("T=2*n=2", "w/ T=2, n=2"), ("TRM (T=3, n=6)", "TRM (T=3, n=6)")],
)
def test_a_row_is_found_by_its_name_or_by_a_pattern_that_only_it_matches(name: str, row: str) -> None:
    assert find_row(COMPONENTS, name).name == row


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no EMMA", "'no EMMA': no such row of components; did you mean no EMA?"),
        ("xyzzy", "rows are HRM; TRM (T=3, n=6); w/ ACT; "),
        ("n=", "'n=' matches 3 rows of components: TRM (T=3, n=6); w/ 4 layers, n=3; w/ T=2, n=2; give the whole name"),
    ],
)
def test_a_name_that_is_no_rows_or_several_is_refused_with_those_meant(name: str, said: str) -> None:
    with pytest.raises(UnknownRow) as error:
        find_row(COMPONENTS, name)
    assert said in str(error.value)


# --- studies ---------------------------------------------------------------------------------------------------------


def test_the_list_names_every_study_row_and_profile(capsys: Capture) -> None:
    print_list()
    said = _said(capsys)
    for study in all_studies():
        assert f"{study.name}: {study.title}" in said
        for row in study.rows:
            assert row.name in said
    assert "TRM k=3, T=6  [official, paper]" in said
    assert all(f"profile {profile}" in said for profile in PROFILES)


def test_the_list_names_a_broken_study_and_goes_on(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    studies, _ = studies_and_faults()
    fault = "sweeps/studies/mine.py, line 8: base='trn': input should be 'trm'"
    monkeypatch.setattr(sweeps.explain, "studies_and_faults", lambda: (studies, {"mine": fault}))
    print_list()
    said = _said(capsys)
    assert f"mine: broken; {fault}" in " ".join(said.split())
    assert "tutorial: A tutorial's ablation" in said


# --- settings --------------------------------------------------------------------------------------------------------


def test_every_setting_is_printed_with_type_range_default_and_meaning(capsys: Capture) -> None:
    print_settings()
    said = " ".join(_said(capsys).split())
    for setting in describe():
        assert f"{setting.name} {setting.type}" in said
        assert f"default {setting.default} {setting.meaning}" in said
        assert setting.range in said
    assert "model.D integer, 2 or more; default 512 Width" in said
    assert "model.mixer choice: mlp | attention; default mlp" in said


def test_a_rows_full_settings_read_back_as_its_run(capsys: Capture) -> None:
    print_config(COMPONENTS, "self-att", "mini", ["trm_att:optim.lr=0.5"])
    said = _said(capsys)
    assert said.startswith("w/ self-attention: components in mini, with trm_att:optim.lr=0.5\n")
    lines = [line[3:] for line in said.splitlines()[2:]]
    texts = [f"{line.partition('  ')[0]}={line.partition('  ')[2].strip().partition('  ')[0]}" for line in lines]
    assert RunConfig().set(texts) == configure(
        COMPONENTS, find_row(COMPONENTS, "self-att"), "mini", 0, ["optim.lr=0.5"]
    )
    for line, setting in zip(said.splitlines()[2:], describe(), strict=True):
        differs = f"={setting.default}" not in texts[[setting.name for setting in describe()].index(setting.name)]
        assert line.startswith("* " if differs else "  ")
        assert line.endswith(f"({setting.default})") == differs


def test_a_row_that_the_profile_does_not_run_says_so(capsys: Capture) -> None:
    print_config(find_study("recursion_depth"), "TRM k=6, T=6", "mini")
    assert "(run in official and paper only)" in _said(capsys)


def test_what_differs_between_two_rows_is_all_that_is_printed(capsys: Capture) -> None:
    print_diff(COMPONENTS, "TRM (T=3, n=6)", "layers", "mini")
    assert [line.split() for line in _said(capsys).splitlines()[2:]] == [
        ["setting", "A", "B"],
        ["model.n", "6", "3"],
        ["model.n_layers", "2", "4"],
    ]


def test_two_rows_that_are_one_run_say_so(capsys: Capture) -> None:
    print_diff(COMPONENTS, "TRM (T=3, n=6)", "no EMA", "official", ["optim.ema=none"])
    assert "No setting differs: they are the same run." in _said(capsys)


def test_any_two_rows_stand_side_by_side_in_80_columns(capsys: Capture) -> None:
    study = find_study("arc_agi")
    for first, second in permutations(study.rows, 2):
        print_diff(study, first.name, second.name, "official")
        said = _said(capsys)
        one, other = (configure(study, row, "official", 0).flat() for row in (first, second))
        for name in one:
            line = f"{name} {setting_text(one[name])} {setting_text(other[name])}"
            assert (line in " ".join(said.split())) == (one[name] != other[name])


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda: print_config(COMPONENTS, "xyzzy", "mini"), UnknownRow),
        (lambda: print_diff(COMPONENTS, "HRM", "xyzzy", "mini"), UnknownRow),
        (lambda: print_config(COMPONENTS, "HRM", "mini", ["model.d=3"]), BadSetting),
    ],
)
def test_what_cannot_be_shown_is_refused_before_anything_is_printed(
    ask: Callable[[], None], error: type[ValueError], capsys: Capture
) -> None:
    with pytest.raises(error):
        ask()
    assert capsys.readouterr().out == ""


# --- profiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), list(permutations(PROFILES, 2)))
def test_two_profiles_side_by_side_break_no_word(first: ProfileName, second: ProfileName, capsys: Capture) -> None:
    print_explanation(first, second)
    words = set(_said(capsys).split())
    for profile in (PROFILES[first], PROFILES[second]):
        assert words >= set(profile.description.split())
    for difference in differences(PROFILES[first], PROFILES[second]):
        assert words >= {difference.setting, *difference.why.split()}


def test_official_beside_paper_names_what_the_paper_has_not_and_both_do(capsys: Capture) -> None:
    print_explanation("official", "paper")
    said = " ".join(_said(capsys).split())
    assert "model.single_z released code figure 4" in said
    for words in (
        "exploration in halting (model.exploration=0.1)",
        "SignSGD on the puzzle embedding",
        "12 heads of 42",
    ):
        assert words in said
    assert "HRM by its own recipe: 20,000 epochs" in said
    print_explanation("mini", "official")
    assert "keeps" not in _said(capsys)


def test_one_profile_beside_itself_is_refused() -> None:
    with pytest.raises(BadCommand, match="the same profile twice"):
        print_explanation("mini", "mini")


def test_the_readme_names_every_study_and_how_many_rows_it_has() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| `(\w+)` \| .* \| (\d+[^|]*) \|$", readme, re.M))
    for study in all_studies():
        n = {profile: len(study.rows_of(profile)) for profile in PROFILES}
        full, mini = max(n["official"], n["paper"]), re.search(r"mini: (\d+)", said[study.name])
        assert int(re.match(r"\d+", said[study.name])[0]) == full, study.name  # type: ignore[index]
        assert n["mini"] == (int(mini[1]) if mini else full), study.name
