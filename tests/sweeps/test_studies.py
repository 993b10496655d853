"""Conformance of every study in every profile, and Table 3 cell by cell."""

import pytest

from sweeps.profiles import PROFILES, configure
from sweeps.recipes import recipe
from sweeps.study import ProfileName, Row, Study, all_studies, find_study

EVERY_ROW = [
    pytest.param(study, row, profile, id=f"{study.name}, {profile}, {row.name}")
    for study in all_studies()
    for profile in PROFILES
    for row in study.rows_of(profile)
]

# PAPER.md, Table 3: k, T, HRM depth, HRM %, TRM depth, TRM %; the first row's depths by the paper's own formula.
TABLE_3: list[tuple[int, int, int, float, int, float | str]] = [
    (1, 1, 8, 46.4, 6, 63.2),
    (2, 2, 24, 55.0, 20, 81.9),
    (3, 3, 48, 61.6, 42, 87.4),
    (4, 4, 80, 59.5, 72, 84.2),
    (6, 3, 84, 62.3, 78, "OOM"),
    (3, 6, 96, 58.8, 84, 85.8),
    (6, 6, 168, 57.5, 156, "OOM"),
]


@pytest.mark.parametrize(("study", "row", "profile"), EVERY_ROW)
def test_every_row_is_a_run_in_every_profile_that_keeps_it(study: Study, row: Row, profile: ProfileName) -> None:
    run = configure(study, row, profile, seed=3)
    assert run.train.seed == 3
    for section, values in row.change.items():
        assert values.items() <= run.model_dump()[section].items(), "the row's change must survive the profile"


@pytest.mark.parametrize("study", all_studies(), ids=lambda study: study.name)
@pytest.mark.parametrize("profile", PROFILES)
def test_all_runs_of_a_study_in_all_profiles_have_different_keys(study: Study, profile: ProfileName) -> None:
    runs = [configure(study, row, profile, seed) for row in study.rows_of(profile) for seed in (0, 1)]
    assert len({run.key("h") for run in runs}) == len(runs) > 0


@pytest.mark.parametrize(("k", "T", "hrm_depth", "hrm", "trm_depth", "trm"), TABLE_3)
@pytest.mark.parametrize("profile", ["official", "paper"])
def test_table_3_has_the_papers_depths_numbers_and_forward_passes(
    k: int, T: int, hrm_depth: int, hrm: float, trm_depth: int, trm: float | str, profile: ProfileName
) -> None:
    study = find_study("recursion_depth")
    for model, depth, cell, nfp, n in (("HRM", hrm_depth, hrm, 2, k), ("TRM", trm_depth, trm, 1, 2 * k)):
        (row,) = (row for row in study.rows if row.place == {"k": str(k), "T": str(T), "model": model})
        run = configure(study, row, profile, seed=0)
        assert (run.model.n, run.model.T, run.model.depth, run.model.nfp) == (n, T, depth, nfp)
        assert row.paper == cell


def test_table_3_has_14_rows_and_the_paper_contradicts_its_own_depth_in_the_first_two() -> None:
    study = find_study("recursion_depth")
    assert len(study.rows) == 14
    assert {row.name: row.paper_depth for row in study.rows if row.paper_depth is not None} == {
        "HRM k=1, T=1": 9,
        "TRM k=1, T=1": 7,
    }


def test_mini_keeps_k_1_2_3_of_both_models() -> None:
    names = {row.name for row in find_study("recursion_depth").rows_of("mini")}
    assert names == {f"{model} k={k}, T={k}" for model in ("TRM", "HRM") for k in (1, 2, 3)}


def test_parameters_of_table_3_are_5m_and_27m() -> None:
    study = find_study("recursion_depth")
    counts = {row.base: {configure(study, r, "official", 0).parameters() for r in study.rows if r.base == row.base}
              for row in study.rows}  # fmt: skip
    assert counts == {"trm": {5_028_866}, "hrm": {27_275_266}}


def test_the_recipes_are_the_released_codes() -> None:
    trm, attention, hrm = (recipe(base, "sudoku") for base in ("trm", "trm_att", "hrm"))
    assert (trm.parameters(), attention.parameters(), hrm.parameters()) == (5_028_866, 6_828_034, 27_275_266)
    for run in (trm, attention, hrm):
        assert (run.optim.name, run.train.steps, run.train.batch_size) == ("adam_atan2", 50_000 * 1000 // 768, 768)
    assert (trm.optim.ema, trm.optim.ema_covers, trm.model.puzzle_prefix) == (0.999, "network", 16)
    assert hrm.optim.ema is None
    assert hrm.model.model_dump().items() >= {
        "mixer": "attention", "networks": "separate", "gradient": "one step", "halting": "q_learning",
        "n_layers": 4, "n": 2, "T": 2, "puzzle_prefix": 1,
    }.items()  # fmt: skip
