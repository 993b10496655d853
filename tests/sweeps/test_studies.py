"""Conformance of every study in every profile, and Tables 1, 2 and 3 cell by cell."""

import pytest

from sweeps.profiles import PROFILES, configure
from sweeps.recipes import recipe
from sweeps.study import BaseName, ProfileName, PuzzleName, Row, Study, all_studies, find_study

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


# PAPER.md, Table 1: accuracy %, depth, NFP, parameters; and what tells the row from TRM.
TABLE_1: dict[str, tuple[float, int, int, str, dict[str, object]]] = {
    "HRM": (55.0, 24, 2, "27M", {}),  # another recipe
    "TRM (T=3, n=6)": (87.4, 42, 1, "5M", {}),
    "w/ ACT": (86.1, 42, 2, "5M", {"model.halting": "q_learning"}),
    "w/ separate f_H, f_L": (82.4, 42, 1, "10M", {"model.networks": "separate"}),
    "no EMA": (79.9, 42, 1, "5M", {"optim.ema": None}),
    "w/ 4 layers, n=3": (79.5, 48, 1, "10M", {"model.n_layers": 4, "model.n": 3}),
    "w/ self-attention": (74.7, 42, 1, "7M", {"model.mixer": "attention"}),
    "w/ T=2, n=2": (73.7, 12, 1, "5M", {"model.T": 2, "model.n": 2}),
    "w/ 1-step gradient": (56.5, 42, 1, "5M", {"model.gradient": "one step"}),
}

# PAPER.md, Table 2: accuracy %, features, and the mixer that 87.4 belongs to.
TABLE_2: dict[str, tuple[float, str]] = {
    "TRM y, z (2 features)": (87.4, "y,z"),
    "TRM multi-scale z (7 features)": (77.6, "multi-scale z"),
    "TRM single z (1 feature)": (71.9, "single z"),
}


@pytest.mark.parametrize(("study", "row", "profile"), EVERY_ROW)
def test_every_row_is_a_run_in_every_profile_that_keeps_it(study: Study, row: Row, profile: ProfileName) -> None:
    run = configure(study, row, profile, seed=3)
    assert run.train.seed == 3
    for change in (row.change, row.change_in.get(profile, {})):
        for section, values in change.items():
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


def _row(study: str, name: str) -> Row:
    return next(row for row in find_study(study).rows if row.name == name)


@pytest.mark.parametrize("name", TABLE_1)
@pytest.mark.parametrize("profile", ["official", "paper"])
def test_table_1_has_the_papers_numbers_depths_forward_passes_and_parameters(name: str, profile: ProfileName) -> None:
    accuracy, depth, nfp, parameters, _ = TABLE_1[name]
    row = _row("components", name)
    run = configure(find_study("components"), row, profile, seed=0)
    assert row.paper == accuracy
    assert (run.model.depth, run.model.nfp) == (depth, nfp)
    assert f"{run.parameters() / 1e6:.0f}M" == parameters


@pytest.mark.parametrize("name", [name for name in TABLE_1 if name != "HRM"])
@pytest.mark.parametrize("profile", ["official", "paper"])
def test_a_row_of_table_1_differs_from_trm_in_what_its_name_says_and_nothing_else(
    name: str, profile: ProfileName
) -> None:
    study = find_study("components")
    trm = configure(study, _row("components", "TRM (T=3, n=6)"), profile, seed=0).flat()
    run = configure(study, _row("components", name), profile, seed=0).flat()
    assert {setting: run[setting] for setting in run if run[setting] != trm[setting]} == TABLE_1[name][4]


def test_table_1_has_these_9_rows_in_every_profile_and_table_2_these_3() -> None:
    for profile in PROFILES:
        assert [row.name for row in find_study("components").rows_of(profile)] == list(TABLE_1)
        assert [row.name for row in find_study("latent_features").rows_of(profile)] == list(TABLE_2)


@pytest.mark.parametrize("name", TABLE_2)
@pytest.mark.parametrize("profile", ["official", "paper"])
def test_table_2_is_the_mlp_mixer_with_the_papers_numbers_and_trms_size(name: str, profile: ProfileName) -> None:
    accuracy, features = TABLE_2[name]
    row = _row("latent_features", name)
    run = configure(find_study("latent_features"), row, profile, seed=0)
    trm = configure(find_study("components"), _row("components", "TRM (T=3, n=6)"), profile, seed=0)
    assert row.paper == accuracy
    assert (run.model.features, run.model.mixer) == (features, "mlp")
    assert (run.model.depth, run.model.nfp, run.parameters()) == (42, 1, trm.parameters())
    if profile == "official":
        assert run.parameters() == 5_028_866


@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_run_in_two_tables_has_one_key_so_that_it_is_trained_once(profile: ProfileName) -> None:
    def key(study: str, row: str) -> str:
        return configure(find_study(study), _row(study, row), profile, seed=0).key("h")

    trm = key("recursion_depth", "TRM k=3, T=3")
    assert trm == key("components", "TRM (T=3, n=6)") == key("latent_features", "TRM y, z (2 features)")
    assert trm == key("failed_ideas", "TRM")
    assert key("components", "HRM") == key("recursion_depth", "HRM k=2, T=2")
    assert key("components", "w/ T=2, n=2") != key("recursion_depth", "TRM k=2, T=2")


def test_the_ideas_that_failed_are_one_switch_each_and_the_paper_has_no_number_for_them() -> None:
    study = find_study("failed_ideas")
    assert {row.name: row.change.get("model", {}) for row in study.rows} == {
        "TRM": {},
        "mixture of experts": {"channel_mlp": "mixture of experts"},
        "gradient of the last k=4": {"gradient": "last k", "gradient_k": 4},
        "no early stopping": {"halting": "none"},
        "tied embedding and head": {"output_head": "tied"},
    }
    assert all(row.paper is None and row.base == "trm" for row in study.rows)
    assert not study.has_paper_numbers
    assert all(find_study(name).has_paper_numbers for name in ("components", "latent_features", "recursion_depth"))


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
    direct = recipe("direct", "sudoku")
    assert direct.parameters() == hrm.parameters()  # eight layers, as HRM's two networks of four
    assert (direct.model.depth, direct.model.nfp, direct.optim.ema) == (8, 1, None)


@pytest.mark.parametrize(
    ("base", "puzzle", "parameters"),
    [
        ("trm", "sudoku", 5_028_866),
        ("trm_att", "sudoku", 6_828_034),
        ("trm_att", "maze", 6_822_914),
        ("trm", "maze", 18_795_522),
        ("direct", "sudoku", 27_275_266),
        ("hrm", "sudoku", 27_275_266),
    ],
)
def test_a_recipe_has_the_parameters_of_the_released_model(base: BaseName, puzzle: PuzzleName, parameters: int) -> None:
    assert recipe(base, puzzle).parameters() == parameters


@pytest.mark.parametrize("base", ["trm", "trm_att"])
def test_maze_and_arc_have_four_latent_recursions_and_their_own_settings(base: BaseName) -> None:
    maze, arc = recipe(base, "maze"), recipe(base, "arc")
    assert (maze.data.cells, maze.data.vocabulary, arc.data.cells, arc.data.vocabulary) == (900, 6, 900, 12)
    assert {run.model.n for run in (maze, arc)} == {4}
    assert {run.model.T for run in (maze, arc)} == {3}
    assert (maze.optim.lr, maze.optim.embedding_lr, maze.optim.weight_decay, maze.train.steps) == (
        1e-4,
        1e-4,
        1,
        65_104,
    )
    assert (arc.optim.lr, arc.optim.embedding_lr, arc.optim.weight_decay) == (1e-4, 1e-2, 0.1)
    assert arc.train.steps == int(100_000 * 960 * (3_633_410 / 876_405) / 768)
    assert recipe("hrm", "maze").model.n == 2
