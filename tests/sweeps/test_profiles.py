"""Which of recipe, profile, row and --set wins; and what the profiles change."""

import pytest

from sweeps.profiles import PROFILES, UnknownProfile, configure, find_profile
from sweeps.study import ProfileName, Row, Study
from trm_core.config import BadSetting

STUDY = Study(
    name="a",
    title="A",
    puzzle="sudoku",
    source="Table 0",
    rows=(
        Row(name="TRM", base="trm"),
        Row(name="no EMA", base="trm", change={"optim": {"ema": None}}),
        Row(name="narrow", base="trm", change={"model": {"D": 32}, "train": {"steps": 7}}),
        Row(name="HRM", base="hrm"),
    ),
)
TRM, NO_EMA, NARROW, HRM = STUDY.rows


def test_a_profile_changes_the_recipe() -> None:
    assert configure(STUDY, TRM, "mini", 0).model.D == PROFILES["mini"].change["model"]["D"] != 512
    assert configure(STUDY, TRM, "official", 0).model.D == 512


def test_a_rows_change_wins_over_the_profile() -> None:
    run = configure(STUDY, NARROW, "mini", 0)
    assert (run.model.D, run.train.steps) == (32, 7)
    assert configure(STUDY, NO_EMA, "mini", 0).optim.ema is None


def test_what_is_set_wins_over_all() -> None:
    run = configure(STUDY, NARROW, "mini", 1, ["model.D=96", "optim.ema=0.5", "train.seed=9"])
    assert (run.model.D, run.optim.ema, run.train.seed, run.train.steps) == (96, 0.5, 9, 7)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_gives_hrm_an_ema(profile: ProfileName) -> None:
    assert configure(STUDY, HRM, profile, 0).optim.ema is None
    assert configure(STUDY, TRM, profile, 0).optim.ema is not None


def test_configuring_a_run_leaves_the_profile_as_it_was() -> None:
    before = PROFILES["mini"].model_dump()
    configure(STUDY, NARROW, "mini", 5, ["model.D=96"])
    assert PROFILES["mini"].model_dump() == before


def test_official_and_paper_differ_where_the_paper_and_its_released_code_do_and_nowhere_else() -> None:
    official, paper = (configure(STUDY, TRM, profile, 0).flat() for profile in ("official", "paper"))
    assert {name: (official[name], paper[name]) for name in official if official[name] != paper[name]} == {
        "train.steps": (65_104, 78_125),  # 50k and 60k epochs of 1,000 puzzles at batch 768
        "optim.name": ("adam_atan2", "adamw"),
        "optim.ema_covers": ("network", "all"),
        "model.puzzle_prefix": (16, 1),
        "model.halting_loss_weight": (0.5, 1.0),
    }
    assert 60_000 * 1000 / 768 == 78_125


def test_only_official_and_paper_may_stand_beside_the_papers_column() -> None:
    assert {name: profile.comparable for name, profile in PROFILES.items()} == {
        "mini": False,
        "official": True,
        "paper": True,
    }
    assert all(name == profile.name for name, profile in PROFILES.items())


def test_mini_runs_on_puzzles_generated_on_the_spot() -> None:
    data = configure(STUDY, TRM, "mini", 0).data
    assert data.source == "generated"
    assert data.test is not None


def test_a_setting_that_cannot_be_is_refused_with_its_name() -> None:
    with pytest.raises(BadSetting, match=r"model\.d: no such setting; did you mean model\.D\?"):
        configure(STUDY, TRM, "mini", 0, ["model.d=3"])


@pytest.mark.parametrize(("typo", "meant"), [("mni", "mini"), ("offical", "official"), ("Paper", "paper")])
def test_a_misspelt_profile_is_refused_with_the_nearest_right_name(typo: str, meant: str) -> None:
    with pytest.raises(UnknownProfile, match=f"did you mean {meant}"):
        find_profile(typo)


def test_a_name_like_no_profile_is_refused_with_the_profiles_there_are() -> None:
    with pytest.raises(UnknownProfile, match="profiles are mini, official, paper"):
        find_profile("xyzzy")
