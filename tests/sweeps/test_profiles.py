"""Which of recipe, profile, row and --set wins; and what the profiles change."""

from itertools import combinations, product

import pytest
from pydantic import ValidationError

from sweeps.profiles import (
    PROFILES,
    NotAtThisScale,
    UnknownProfile,
    configure,
    differences,
    differences_where,
    find_profile,
    shared_puzzles,
)
from sweeps.study import EVERY_BASE, EVERY_PUZZLE, BaseName, ProfileName, PuzzleName, Row, Study, all_studies
from trm_core.settings import BadSetting

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
    assert configure(STUDY, TRM, "mini", 0).model.D == 48
    assert configure(STUDY, TRM, "official", 0).model.D == 512


def test_a_rows_change_wins_over_the_profile() -> None:
    run = configure(STUDY, NARROW, "mini", 0)
    assert (run.model.D, run.train.steps) == (32, 7)
    assert configure(STUDY, NO_EMA, "mini", 0).optim.ema is None


def test_a_rows_change_in_a_profile_wins_in_that_profile_and_is_nowhere_else() -> None:
    change = {"optim": {"lr": 0.5}}
    row = Row(name="row", base="trm", change={"optim": {"lr": 0.25, "beta2": 0.5}}, change_in={"mini": change})
    mini, official = (configure(STUDY, row, profile, 0).optim for profile in ("mini", "official"))
    assert (mini.lr, mini.beta2, official.lr, official.beta2) == (0.5, 0.5, 0.25, 0.5)
    assert configure(STUDY, row, "mini", 0, ["optim.lr=0.125"]).optim.lr == 0.125
    with pytest.raises(ValidationError, match=r"optim\.rl: no such setting"):
        Row(name="row", base="trm", change_in={"mini": {"optim": {"rl": 0.5}}})


def test_what_is_set_wins_over_all() -> None:
    run = configure(STUDY, NARROW, "mini", 1, ["model.D=96", "optim.ema=0.5", "train.seed=9"])
    assert (run.model.D, run.optim.ema, run.train.seed, run.train.steps) == (96, 0.5, 9, 7)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_gives_hrm_an_ema(profile: ProfileName) -> None:
    assert configure(STUDY, HRM, profile, 0).optim.ema is None
    assert configure(STUDY, TRM, profile, 0).optim.ema is not None


@pytest.mark.parametrize(
    "study",
    [study for study in all_studies() if study.name not in ("interactions", "speed")],
    ids=lambda study: study.name,
)
def test_in_mini_no_row_on_sudoku_is_tuned_apart(study: Study) -> None:
    """What a row does not change of data, optimiser and training is the same in all rows; HRM has no EMA."""
    runs = [
        (row, configure(study, row, "mini", 0).flat())
        for row in study.rows_of("mini")
        if study.puzzle_of(row) == "sudoku"
    ]
    assert all(row.change_in == {} for row, _ in runs)
    named = {f"{section}.{name}" for row, _ in runs for section, values in row.change.items() for name in values}
    apart = named | {"optim.ema", "optim.ema_covers"}
    for setting in ({name for _, run in runs for name in run if not name.startswith("model.")}) - apart:
        assert len({run[setting] for _, run in runs}) == 1, setting


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


def test_a_single_z_is_figure_4s_in_the_paper_profile_alone_whoever_asks_for_it() -> None:
    single = Row(name="single z", base="trm", change={"model": {"features": "single z"}})
    study = STUDY.model_copy(update={"rows": (TRM, single)})
    found = {profile: configure(study, single, profile, 0).model.single_z for profile in PROFILES}
    assert found == {profile: "figure 4" if profile == "paper" else "released code" for profile in PROFILES}
    assert configure(study, TRM, "paper", 0).model.single_z == "released code"
    assert configure(study, TRM, "paper", 0, ["model.features=single z"]).model.single_z == "figure 4"
    assert configure(study, single, "paper", 0, ["model.single_z=released code"]).model.single_z == "released code"
    (difference,) = differences_where(PROFILES["official"], PROFILES["paper"])
    assert (difference.setting, difference.values) == ("model.single_z", ("released code", "figure 4"))
    assert differences_where(PROFILES["paper"], PROFILES["official"])[0].values == ("figure 4", "released code")


@pytest.mark.parametrize(
    ("puzzle", "base", "beside"),
    [
        ("maze", "trm", {"model.n": (4, 6), "data.augmentations": (0, 7)}),
        ("arc", "trm_att", {"model.n": (4, 6)}),
        ("maze", "hrm", {"data.augmentations": (0, 7)}),
        ("arc", "direct", {}),
    ],
)
def test_on_maze_and_arc_official_and_paper_differ_in_n_and_augmentation_too(
    puzzle: PuzzleName, base: BaseName, beside: dict[str, tuple[int, int]]
) -> None:
    study = Study(name="a", title="A", puzzle=puzzle, source="Table 0", rows=(Row(name="row", base=base),))
    official, paper = (configure(study, study.rows[0], profile, 0).flat() for profile in ("official", "paper"))
    everywhere: dict[str, tuple[object, object]] = {
        "optim.name": ("adam_atan2", "adamw"),
        "model.halting_loss_weight": (0.5, 1.0),
    }
    if base in ("trm", "trm_att"):
        everywhere |= {"optim.ema_covers": ("network", "all"), "model.puzzle_prefix": (16, 1)}
    if puzzle == "maze":
        everywhere |= {"train.steps": (65_104, 78_125)}  # on ARC both train for 100k epochs
    found = {name: (official[name], paper[name]) for name in official if official[name] != paper[name]}
    assert found == everywhere | beside


def test_a_profile_without_settings_for_a_puzzle_says_which_have(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(name="a", title="A", puzzle="maze", source="Table 0", rows=(Row(name="row", base="trm"),))
    monkeypatch.setitem(PROFILES, "mini", PROFILES["mini"].model_copy(update={"puzzles": ("sudoku",)}))
    with pytest.raises(NotAtThisScale, match="profile mini has no maze puzzles; use official or paper"):
        configure(study, study.rows[0], "mini", 0)


def test_a_row_with_a_puzzle_of_its_own_has_that_puzzles_recipe_and_scale() -> None:
    rows = (Row(name="sudoku", base="trm"), Row(name="maze", base="trm", puzzle="maze"))
    study = Study(name="a", title="A", puzzle="sudoku", source="Table 4", rows=rows)
    sudoku, maze = (configure(study, row, "official", 0) for row in rows)
    assert (sudoku.data.puzzle, sudoku.model.n, maze.data.puzzle, maze.model.n) == ("sudoku", 6, "maze", 4)
    alone = Study(name="b", title="B", puzzle="maze", source="Table 4", rows=(Row(name="maze", base="trm"),))
    assert all(
        configure(study, rows[1], profile, 0) == configure(alone, alone.rows[0], profile, 0)
        for profile in PROFILES
        if "maze" in PROFILES[profile].puzzles
    )


def test_an_override_may_be_for_the_rows_on_one_puzzle() -> None:
    rows = (Row(name="sudoku", base="trm"), Row(name="maze", base="trm", puzzle="maze"))
    study = Study(name="a", title="A", puzzle="sudoku", source="Table 4", rows=rows)
    overrides = ["maze:model.D=96", "train.steps=7", "sudoku:model.D=32"]
    found = [configure(study, row, "mini", 0, overrides) for row in rows]
    assert [(run.model.D, run.train.steps) for run in found] == [(32, 7), (96, 7)]
    with pytest.raises(BadSetting, match="arc:model.D=96: a has no rows on arc"):
        configure(study, rows[0], "mini", 0, ["arc:model.D=96"])
    with pytest.raises(BadSetting, match="data.puzzle=maze: 'sudoku' is a row on sudoku"):
        configure(study, rows[0], "mini", 0, ["data.puzzle=maze"])


@pytest.mark.parametrize(("first", "second"), list(combinations(PROFILES, 2)))
def test_the_differences_of_two_profiles_lead_from_every_run_of_the_one_to_the_others(
    first: ProfileName, second: ProfileName
) -> None:
    found = differences(PROFILES[first], PROFILES[second])
    assert all(difference.why for difference in found)
    for puzzle, base in product(shared_puzzles(PROFILES[first], PROFILES[second]), EVERY_BASE):
        study = Study(name="a", title="A", puzzle=puzzle, source="Table 0", rows=(Row(name="row", base=base),))
        here = [difference for difference in found if puzzle in difference.puzzles and base in difference.bases]
        assert len({difference.setting for difference in here}) == len(here), "a setting differs in one way"
        change: dict[str, dict[str, object]] = {}
        for difference in here:
            section, _, name = difference.setting.partition(".")
            change.setdefault(section, {})[name] = difference.values[1]
        one, other = (configure(study, study.rows[0], profile, 0) for profile in (first, second))
        assert one != other
        assert one.change(change) == other


def test_only_official_and_paper_may_stand_beside_the_papers_column() -> None:
    assert {name: profile.comparable for name, profile in PROFILES.items()} == {
        "mini": False,
        "official": True,
        "paper": True,
        "fast": False,
    }
    assert all(name == profile.name for name, profile in PROFILES.items())


@pytest.mark.parametrize("puzzle", EVERY_PUZZLE)
def test_mini_runs_on_puzzles_generated_on_the_spot(puzzle: PuzzleName) -> None:
    study = Study(name="a", title="A", puzzle=puzzle, source="Table 0", rows=(TRM,))
    data = configure(study, TRM, "mini", 0).data
    assert data.source == "generated"
    assert data.test is not None


@pytest.mark.parametrize("profile", ["official", "paper"])
def test_official_mazes_are_all_learnt_from_and_official_arc_is_arc_agi_1_whole(profile: ProfileName) -> None:
    maze, arc = (
        configure(Study(name="a", title="A", puzzle=puzzle, source="Table 0", rows=(TRM,)), TRM, profile, 0).data
        for puzzle in ("maze", "arc")
    )
    assert (maze.source, maze.train, maze.validation, maze.test) == ("files", 1000, 0, None)
    assert maze.maze_augmentation == "released"
    assert (arc.source, arc.train, arc.validation, arc.test, arc.augmentations) == ("files", None, 0, None, 1000)
    assert (arc.subsets, arc.test_subset, arc.allow_leak) == ("training,evaluation,concept", "evaluation", False)


def test_a_setting_that_cannot_be_is_refused_with_its_name() -> None:
    with pytest.raises(BadSetting, match=r"model\.d: no such setting; did you mean model\.D\?"):
        configure(STUDY, TRM, "mini", 0, ["model.d=3"])


@pytest.mark.parametrize(("typo", "meant"), [("mni", "mini"), ("offical", "official"), ("Paper", "paper")])
def test_a_misspelt_profile_is_refused_with_the_nearest_right_name(typo: str, meant: str) -> None:
    with pytest.raises(UnknownProfile, match=f"did you mean {meant}"):
        find_profile(typo)


def test_a_name_like_no_profile_is_refused_with_the_profiles_there_are() -> None:
    with pytest.raises(UnknownProfile, match="profiles are mini, official, paper, fast"):
        find_profile("xyzzy")
