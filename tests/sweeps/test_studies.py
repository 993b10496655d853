"""Conformance of every study in every profile, and Tables 1 to 5 and the tutorial's cell by cell.

The paper's rows are looked for among those of a study, which may have others beside them.
"""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from sweeps.plan import INLINE_START_S, card_rate, makespan, run_work
from sweeps.prices import find_card
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


# PAPER.md, Tables 4 and 5: % on either puzzle or benchmark; then the released models' depth, NFP and parameters on the
# first and on the second (n=4 on mazes and ARC, in its commands).
TABLE_4: dict[str, tuple[float, float]] = {
    "direct prediction": (0.0, 0.0),
    "HRM, by its own recipe": (55.0, 74.5),
    "HRM, trained as TRM": (55.0, 74.5),
    "TRM-Att": (74.7, 85.3),
    "TRM-MLP": (87.4, 0.0),
}
TABLE_5: dict[str, tuple[float, float]] = {
    "direct prediction": (21.0, 0.0),
    "HRM, by its own recipe": (40.3, 5.0),
    "HRM, trained as TRM": (40.3, 5.0),
    "TRM-Att": (44.6, 7.8),
    "TRM-MLP": (29.6, 2.4),
}
SIZES: dict[tuple[str, str], tuple[int, int, int]] = {
    ("direct prediction", "Sudoku-Extreme"): (8, 1, 27_144_194),
    ("HRM, by its own recipe", "Sudoku-Extreme"): (24, 2, 27_275_266),
    ("HRM, trained as TRM", "Sudoku-Extreme"): (24, 2, 27_275_266),
    ("TRM-Att", "Sudoku-Extreme"): (42, 1, 6_828_034),
    ("TRM-MLP", "Sudoku-Extreme"): (42, 1, 5_028_866),
    ("direct prediction", "Maze-Hard"): (8, 1, 27_139_074),
    ("HRM, by its own recipe", "Maze-Hard"): (24, 2, 27_270_146),
    ("HRM, trained as TRM", "Maze-Hard"): (24, 2, 27_270_146),
    ("TRM-Att", "Maze-Hard"): (30, 1, 6_822_914),
    ("TRM-MLP", "Maze-Hard"): (30, 1, 18_795_522),
}
MILLIONS = {  # on 30x30 cells
    "direct prediction": "27M",
    "HRM, by its own recipe": "27M",
    "HRM, trained as TRM": "27M",
    "TRM-Att": "7M",
    "TRM-MLP": "19M",
}

# PAPER.md, section 1, the tutorial: layers, T, n, EMA, depth; initial, final and least loss, and the improvement in %.
TUTORIAL: dict[str, tuple[tuple[int, int, int, bool, int], tuple[float, float, float, float]]] = {
    "Baseline TRM": ((2, 3, 6, True, 42), (1.789, 1.062, 1.045, 40.6)),
    "No EMA": ((2, 3, 6, False, 42), (1.789, 1.042, 1.041, 41.7)),
    "Fewer recursions": ((2, 2, 2, True, 12), (2.100, 1.100, 1.042, 47.6)),
    "Bigger brain": ((4, 3, 3, True, 48), (1.789, 1.007, 1.007, 43.7)),
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
    assert len({run.key("h") for run in runs}) == len(runs)


def test_every_study_has_rows_in_the_profiles_that_have_settings_for_its_puzzle() -> None:
    without = {(study.name, profile) for study in all_studies() for profile in PROFILES if not study.rows_of(profile)}
    assert without <= {("arc_agi", "fast"), ("tutorial", "fast"), ("speed", "paper"), ("speed", "fast")}


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


def _table_3(study: Study) -> list[Row]:
    """The rows that are Table 3's."""
    cells = {(str(k), str(T)) for k, T, *_ in TABLE_3}
    return [row for row in study.rows if (row.place.get("k"), row.place.get("T")) in cells]


def test_table_3_has_14_rows_and_the_paper_contradicts_its_own_depth_in_the_first_two() -> None:
    rows = _table_3(find_study("recursion_depth"))
    assert len(rows) == 14
    assert {row.name: row.paper_depth for row in rows if row.paper_depth is not None} == {
        "HRM k=1, T=1": 9,
        "TRM k=1, T=1": 7,
    }


def test_mini_keeps_k_1_2_3_of_both_models() -> None:
    names = {row.name for row in _table_3(find_study("recursion_depth")) if "mini" in row.profiles}
    assert names == {f"{model} k={k}, T={k}" for model in ("TRM", "HRM") for k in (1, 2, 3)}


def test_parameters_of_table_3_are_5m_and_27m() -> None:
    study = find_study("recursion_depth")
    sizes = {(row.base, configure(study, row, "official", 0).parameters()) for row in _table_3(study)}
    assert sizes == {("trm", 5_028_866), ("hrm", 27_275_266)}


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
        for name, table in (("components", list(TABLE_1)), ("latent_features", list(TABLE_2))):
            assert [row.name for row in find_study(name).rows_of(profile) if row.name in table] == table


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


GOLDEN_KEYS = Path(__file__).parent / "keys.json"  # of official and paper


def test_unchanged_rows_keep_their_keys() -> None:
    golden = json.loads(GOLDEN_KEYS.read_text())
    found = {
        f"{study.name}, {profile}, {row.name}": configure(study, row, profile, 0).key("h")
        for study in all_studies()
        for profile in PROFILES
        for row in study.rows_of(profile)
    }
    moved = {name: key for name, key in golden.items() if found[name] != key}
    assert not moved, "a run recorded under its old key would be trained again; a row that must change leaves keys.json"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_run_in_two_tables_has_one_key_so_that_it_is_trained_once(profile: ProfileName) -> None:
    def key(study: str, row: str) -> str:
        return configure(find_study(study), _row(study, row), profile, seed=0).key("h")

    trm = key("recursion_depth", "TRM k=3, T=3")
    assert trm == key("components", "TRM (T=3, n=6)") == key("latent_features", "TRM y, z (2 features)")
    assert trm == key("failed_ideas", "TRM")
    assert key("components", "HRM") == key("recursion_depth", "HRM k=2, T=2")
    assert key("components", "w/ T=2, n=2") != key("recursion_depth", "TRM k=2, T=2")


def _cells(study: Study) -> dict[tuple[str, str], Row]:
    """The rows that Table 4 or 5 has, by their line and column."""
    rows = [row for row in study.rows if row.place.get("method") in TABLE_4]
    return {(row.place["method"], row.place["model"]): row for row in rows}


@pytest.mark.parametrize(
    ("name", "columns", "table"),
    [
        ("puzzles", ("Sudoku-Extreme", "Maze-Hard"), TABLE_4),
        ("arc_agi", ("ARC-AGI-1", "ARC-AGI-2"), TABLE_5),
    ],
)
def test_tables_4_and_5_have_the_papers_numbers_and_the_language_models_are_quoted(
    name: str, columns: tuple[str, str], table: dict[str, tuple[float, float]]
) -> None:
    study = find_study(name)
    cells = {place: row.paper for place, row in _cells(study).items()}
    assert cells == {
        (method, column): cell for method in table for column, cell in zip(columns, table[method], strict=True)
    }
    assert all(row.name == f"{method}, {column}" for (method, column), row in _cells(study).items())
    assert all(tuple(quoted.cells) == columns for quoted in study.quoted)


def test_the_quoted_rows_are_the_papers() -> None:
    assert {(row.name, row.parameters): tuple(row.cells.values()) for row in find_study("puzzles").quoted}.items() >= {
        ("DeepSeek R1", "671B"): (0.0, 0.0),
        ("Claude 3.7 8K", ""): (0.0, 0.0),
        ("o3-mini-high", ""): (0.0, 0.0),
    }.items()
    assert {(row.name, row.parameters): tuple(row.cells.values()) for row in find_study("arc_agi").quoted}.items() >= {
        ("DeepSeek R1", "671B"): (15.8, 1.3),
        ("Claude 3.7 16K", ""): (28.6, 0.7),
        ("o3-mini-high", ""): (34.5, 3.0),
        ("Gemini 2.5 Pro 32K", ""): (37.0, 4.9),
        ("Grok-4-thinking", "1.7T"): (66.7, 16.0),
        ("Bespoke (Grok-4)", ""): (79.6, 29.4),
    }.items()


@pytest.mark.parametrize(("method", "column"), SIZES)
def test_table_4_has_the_released_models_depths_forward_passes_and_parameters(method: str, column: str) -> None:
    study = find_study("puzzles")
    row = _cells(study)[method, column]
    run = configure(study, row, "official", 0)
    assert run.data.puzzle == {"Sudoku-Extreme": "sudoku", "Maze-Hard": "maze"}[column]
    assert (run.model.depth, run.model.nfp, run.parameters()) == SIZES[method, column]
    paper = configure(study, row, "paper", 0)
    assert paper.model.depth == (8 if method == "direct prediction" else 24 if method.startswith("HRM") else 42)


def test_hrm_by_its_own_recipe_has_its_own_schedule_set_and_optimiser_in_every_profile() -> None:
    for name, keys in (("puzzles", 4), ("arc_agi", 3)):
        study = find_study(name)
        rows = [row for row in study.rows if row.place.get("method") == "HRM, by its own recipe"]
        runs = [configure(study, row, profile, 0) for row in rows for profile in row.profiles]
        assert len(runs) == keys
        for run in runs:
            assert (run.optim.name, run.model.halting_loss_weight, run.optim.ema) == ("adam_atan2", 0.5, None)
            assert (run.model.exploration, run.model.puzzle_prefix, run.optim.lr) == (0.1, 1, 1e-4)
            if name == "puzzles":
                assert (run.train.steps, run.data.augmentations) == (26_041, 1000 if run.data.puzzle == "sudoku" else 0)
        assert not any("mini" in row.profiles for row in rows)
    as_trm = configure(find_study("puzzles"), _row("puzzles", "HRM, trained as TRM, Sudoku-Extreme"), "official", 0)
    assert as_trm.train.steps == 65_104


@pytest.mark.parametrize("study", ["puzzles", "arc_agi"])
def test_tables_4_and_5_say_whose_numbers_hrms_and_direct_predictions_are(study: str) -> None:
    assert "quotes HRM and direct prediction from Wang et al." in find_study(study).note


def test_the_sudoku_column_of_table_4_is_made_of_runs_of_table_1() -> None:
    puzzles, components = find_study("puzzles"), find_study("components")
    same = {"HRM, trained as TRM": "HRM", "TRM-Att": "w/ self-attention", "TRM-MLP": "TRM (T=3, n=6)"}
    for profile in PROFILES:
        for method, row in same.items():
            here = configure(puzzles, _cells(puzzles)[method, "Sudoku-Extreme"], profile, 0)
            assert here.key("h") == configure(components, _row("components", row), profile, 0).key("h")


@pytest.mark.parametrize("profile", ["official", "paper"])
def test_table_5_learns_from_the_published_subsets_for_100k_epochs_of_each_and_mini_has_one_column(
    profile: ProfileName,
) -> None:
    study = find_study("arc_agi")
    for (method, benchmark), row in _cells(study).items():
        run = configure(study, row, profile, 0)
        assert f"{run.parameters() / 1e6:.0f}M" == MILLIONS[method]
        subsets, test_subset, epoch = {
            "ARC-AGI-1": ("training,evaluation,concept", "evaluation", 960 * 3_633_410 / 876_405),
            "ARC-AGI-2": ("training2,evaluation2,concept", "evaluation2", 1280 * 5_163_272 / 1_191_727),
        }[benchmark]
        if (method, benchmark) == ("HRM, by its own recipe", "ARC-AGI-2"):  # 1,120 tasks, without ConceptARC
            subsets, epoch = "training2,evaluation2", 1120 * 4_340_786 / 1_045_836
        assert (run.data.subsets, run.data.test_subset) == (subsets, test_subset)
        assert run.train.steps == int(100_000 * epoch / 768)
    # PAPER.md 2.17 and the subsets' own counts of pairs: an epoch meets each example of each task about once
    assert pytest.approx(1302 + 1363 + 427 + 416 + 480, rel=0.003) == 960 * 3_633_410 / 876_405
    assert pytest.approx(3232 + 358 + 427 + 1076 + 480, rel=0.006) == 1280 * 5_163_272 / 1_191_727
    assert pytest.approx(3232 + 358 + 1076, rel=0.006) == 1120 * 4_340_786 / 1_045_836
    assert {column for (_, column), row in _cells(study).items() if "mini" in row.profiles} == {"ARC-AGI-1"}
    assert study.metric == "test/pass_at_2"


@pytest.mark.parametrize("name", TUTORIAL)
def test_the_tutorials_rows_have_its_layers_recursions_losses_and_ten_epochs(name: str) -> None:
    (layers, T, n, has_ema, depth), (initial, final, minimum, improvement) = TUTORIAL[name]
    study, row = find_study("tutorial"), _row("tutorial", name)
    for profile in ("mini", "official", "paper"):
        run = configure(study, row, profile, 0)
        assert (run.model.n_layers, run.model.T, run.model.n, run.optim.ema is not None) == (layers, T, n, has_ema)
        assert (run.model.depth, run.model.mixer, run.train.log_every) == (depth, "attention", 1)
        assert run.train.steps * run.train.batch_size <= 10 * 1000 < (run.train.steps + 1) * run.train.batch_size
    losses = row.paper_losses
    assert losses is not None
    assert (losses.initial, losses.final, losses.minimum, losses.improvement) == (initial, final, minimum, improvement)
    assert 100 * (losses.initial - losses.final) / losses.initial == pytest.approx(improvement, abs=0.06)


def test_the_tutorial_prints_no_accuracy_and_its_losses_are_the_cells_alone() -> None:
    study = find_study("tutorial")
    assert (study.layout, study.metric, study.has_paper_numbers) == ("losses", "train/lm_loss", False)
    assert [row.name for row in study.rows if row.name in TUTORIAL] == list(TUTORIAL)


def test_the_ideas_that_failed_are_one_switch_each_and_the_paper_has_no_number_for_them() -> None:
    study = find_study("failed_ideas")
    ideas: dict[str, dict[str, object]] = {
        "TRM": {},
        "mixture of experts": {"channel_mlp": "mixture of experts"},
        "gradient of the last k=4": {"gradient": "last k", "gradient_k": 4},
        "no early stopping": {"halting": "none"},
        "tied embedding and head": {"output_head": "tied"},
    }
    for name, change in ideas.items():
        row = _row("failed_ideas", name)
        assert (row.change.get("model", {}), row.base, row.paper) == (change, "trm", None)
    assert not study.has_paper_numbers
    assert all(find_study(name).has_paper_numbers for name in ("components", "latent_features", "recursion_depth"))


# --- one factor at a time --------------------------------------------------------------------------------------------

# What may differ from TRM in each study, and the rows of the paper's tables that it shows under another name.
FACTORS: dict[str, tuple[set[str], dict[str, tuple[str, str]]]] = {
    "layers": (
        {"model.n_layers"},
        {"2 layers": ("components", "TRM (T=3, n=6)"), "4 layers, n=3": ("components", "w/ 4 layers, n=3")},
    ),
    "cycles": (
        {"model.T", "model.n"},
        {
            "T=3, n=6": ("components", "TRM (T=3, n=6)"),
            "T=2, n=2": ("components", "w/ T=2, n=2"),
            **{f"T={k}, n={2 * k}": ("recursion_depth", f"TRM k={k}, T={k}") for k in (1, 2, 3, 4)},
        },
    ),
    "ema": ({"optim.ema"}, {"no EMA": ("components", "no EMA"), "EMA 0.999": ("components", "TRM (T=3, n=6)")}),
    "mixer": (
        {"model.mixer", "model.n_layers"},
        {
            "MLP, 2 layers": ("components", "TRM (T=3, n=6)"),
            "attention, 2 layers": ("components", "w/ self-attention"),
        },
    ),
    "interactions": (
        {"model.mixer", "model.n_layers", "optim.ema", "optim.lr"},
        {
            "TRM": ("components", "TRM (T=3, n=6)"),
            "attention": ("components", "w/ self-attention"),
            "no EMA": ("components", "no EMA"),
            "4 layers": ("mixer", "MLP, 4 layers"),
            "attention, 4 layers": ("mixer", "attention, 4 layers"),
        },
    ),
}


def _key(study: str, row: str, profile: ProfileName) -> str:
    return configure(find_study(study), _row(study, row), profile, seed=0).key("h")


@pytest.mark.parametrize(
    ("study", "row", "table", "other"),
    [(study, row, *there) for study, (_, same) in FACTORS.items() for row, there in same.items()],
)
def test_a_row_that_a_table_of_the_paper_has_too_is_the_same_run_in_every_profile_that_has_both(
    study: str, row: str, table: str, other: str
) -> None:
    here, there = _row(study, row), _row(table, other)
    for profile in set(here.profiles) & set(there.profiles):
        assert _key(study, row, profile) == _key(table, other, profile)


@pytest.mark.parametrize("study", FACTORS)
def test_the_papers_number_stands_beside_the_papers_own_run_and_nowhere_else(study: str) -> None:
    tables = ("components", "recursion_depth")
    printed = {_key(table, row.name, "official"): row.paper for table in tables for row in find_study(table).rows}
    rows = find_study(study).rows_of("official")
    assert {row.name: row.paper for row in rows} == {
        row.name: printed.get(_key(study, row.name, "official")) for row in rows
    }
    assert find_study(study).has_paper_numbers


@pytest.mark.parametrize("study", FACTORS)
@pytest.mark.parametrize("profile", ["official", "paper"])
def test_its_rows_differ_in_their_factors_and_in_nothing_else(study: str, profile: ProfileName) -> None:
    factors, _ = FACTORS[study]
    trm = configure(find_study("components"), _row("components", "TRM (T=3, n=6)"), profile, 0).flat()
    for row in find_study(study).rows_of(profile):
        if row.name in ("4 layers, n=3", "one more"):
            continue  # Table 1's, which holds the depth; and what another test adds
        run = configure(find_study(study), row, profile, 0).flat()
        assert {name for name in run if run[name] != trm[name]} <= factors


def test_the_grid_of_recursions_is_whole_and_mini_has_an_ema_of_its_own_rate() -> None:
    cells = {(row.place["T"], row.place["model"]) for row in find_study("cycles").rows if row.place}
    assert cells == {(str(T), f"n={n}") for T in (1, 2, 3, 4) for n in (2, 4, 6, 8)}
    assert _key("ema", "EMA 0.95", "mini") == _key("components", "TRM (T=3, n=6)", "mini")


@pytest.mark.parametrize("study", FACTORS)
def test_in_mini_it_takes_less_than_15_minutes_on_two_cores_of_the_table_of_cards(study: str) -> None:
    rate = card_rate(find_card("cpu"))
    runs = [configure(find_study(study), row, "mini", 0) for row in find_study(study).rows_of("mini")]
    assert makespan([INLINE_START_S + rate.seconds(run_work(run)) for run in runs], at_once=2) < 15 * 60


@pytest.mark.parametrize("profile", PROFILES)
def test_the_learning_rates_of_interactions_are_a_third_and_three_times_the_profiles_own(profile: ProfileName) -> None:
    study = find_study("interactions")
    own = configure(study, _row("interactions", "TRM"), profile, 0).optim.lr
    for row in study.rows:
        factor = {"lr / 3": 1 / 3, "lr": 1, "lr x 3": 3}[row.place.get("learning rate", "lr")]
        if row.base == "trm":
            assert configure(study, row, profile, 0).optim.lr == pytest.approx(factor * own)


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
    assert direct.parameters() == 27_144_194  # eight layers of 12 heads of 42: 504 channels of 512
    assert (direct.model.n_heads, direct.model.head_channels, direct.model.D) == (12, 42, 512)
    assert (direct.model.depth, direct.model.nfp, direct.optim.ema) == (8, 1, None)


@pytest.mark.parametrize(
    ("base", "puzzle", "parameters"),
    [
        ("trm", "sudoku", 5_028_866),
        ("trm_att", "sudoku", 6_828_034),
        ("trm_att", "maze", 6_822_914),
        ("trm", "maze", 18_795_522),
        ("direct", "sudoku", 27_144_194),
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


ONE_ROW_MORE = """
import sweeps.study

found = sweeps.study.find_study


def with_one_row_more(name):
    study = found(name)
    more = sweeps.study.Row(name="one more", base="trm", change={"model": {"D": 64}})
    return study.model_copy(update={"rows": (*study.rows, more)})


sweeps.study.find_study = with_one_row_more
sweeps.study.all_studies = lambda: tuple(map(with_one_row_more, sweeps.study.study_names()))
"""


def test_a_row_more_in_every_study_breaks_none_of_these_tests(tmp_path: Path) -> None:
    (tmp_path / "one_row_more.py").write_text(ONE_ROW_MORE)
    root = Path(__file__).parents[2]
    options = ["-vv", "-p", "one_row_more", "-p", "no:xdist", "-p", "no:cacheprovider"]
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-k", "not a_row_more", __file__],
        cwd=root,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout
    assert "[tutorial, mini, one more] PASSED" in answer.stdout


# --- speed ------------------------------------------------------------------------------------------------------------


def _ladder(profile: ProfileName) -> list[dict[str, object]]:
    """The settings of each row of speed's ladder."""
    study = find_study("speed")
    rows = [row for row in study.rows_of(profile) if row.name == "official" or row.name.startswith("and ")]
    return [configure(study, row, profile, 0).flat() for row in rows]


def test_speeds_ladder_goes_from_trm_in_official_to_trm_in_fast() -> None:
    trm, ladder = _row("components", "TRM (T=3, n=6)"), _ladder("official")
    ends: tuple[tuple[dict[str, object], ProfileName], ...] = ((ladder[0], "official"), (ladder[-1], "fast"))
    for here, profile in ends:
        there = configure(find_study("components"), trm, profile, 0).flat()
        differs = {name for name in here if here[name] != there[name]}
        assert differs <= {"train.eval_every", "train.eval_puzzles"}, "how often it is looked at moves no weight"


@pytest.mark.parametrize("profile", ["mini", "official"])
def test_speed_changes_training_and_neither_puzzles_nor_the_networks(profile: ProfileName) -> None:
    ladder = _ladder(profile)
    changed = {name for name in ladder[0] if len({str(run[name]) for run in ladder}) > 1}
    assert {name for name in changed if not name.startswith(("optim.", "train."))} <= {
        "model.puzzle_prefix",
        "model.N_sup",
    }
    assert all(above != below for above, below in pairwise(ladder))
    tested = {run["train.eval_N_sup"] or run["model.N_sup"] for run in ladder}
    assert tested == {16}, "all rows are tested at one depth"
