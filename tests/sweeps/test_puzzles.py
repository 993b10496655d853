"""Where puzzles come from, and one set for all runs that can share it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from data_prep.maze import generate as generate_mazes
from data_prep.puzzle_set import PuzzleError, Split
from data_prep.sources import CannotFetch
from sweeps.puzzles import (
    BuiltSet,
    NoPuzzles,
    Sources,
    assumed,
    build_all,
    build_puzzles,
    check_sources,
    find_sources,
    look_up,
    origins,
    puzzle_folder,
    set_of,
    source_overrides,
)
from sweeps.study import PuzzleName
from trm_core.command_line import BadCommand
from trm_core.puzzles import OtherPuzzleSet
from trm_core.settings import DataSettings

SUDOKU = DataSettings(source="generated", box_rows=2, box_cols=2, clues=7, train=12, validation=4, test=6)
MAZE = DataSettings(puzzle="maze", source="generated", side=5, least_path=6, train=8, validation=2, test=4)
ARC = DataSettings(puzzle="arc", source="generated", side=6, train=4, validation=0, test=2, augmentations=2)
BOTH: tuple[PuzzleName, ...] = ("sudoku", "maze")

MAZE_CHARACTERS = np.frombuffer(b"_# SGo", dtype=np.uint8)


def write_mazes(folder: Path, side: int = 5) -> Path:
    """Mazes in the published format."""
    puzzles = generate_mazes(train=12, validation=0, test=4, seed=0, side=side, least_path=6)

    def text(split: Split) -> str:
        rows = zip(*(MAZE_CHARACTERS[cells] for cells in (split.inputs, split.labels)), split.ratings, strict=True)
        lines = [
            f",{question.tobytes().decode()},{answer.tobytes().decode()},{rating}" for question, answer, rating in rows
        ]
        return "\n".join(["source,question,answer,rating", *lines]) + "\n"

    folder.mkdir(parents=True)
    (folder / "train.csv").write_text(text(puzzles.train))
    (folder / "test.csv").write_text(text(puzzles.test))
    return folder


# --- what --data says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "puzzles", "found"),
    [
        ([], BOTH, {}),
        (["somewhere"], ("maze",), {"maze": Path("somewhere")}),
        (["sudoku=a", "maze=b"], BOTH, {"sudoku": Path("a"), "maze": Path("b")}),
        (["maze=b"], BOTH, {"maze": Path("b")}),
        (["hub"], BOTH, {"sudoku": "hub", "maze": "hub"}),
        (["hub"], ("sudoku", "maze", "arc"), {"sudoku": "hub", "maze": "hub"}),
        (["sudoku=hub", "maze=b"], BOTH, {"sudoku": "hub", "maze": Path("b")}),
        (["a=b"], ("sudoku",), {"sudoku": Path("a=b")}),  # such a folder is there
        (["parent"], BOTH, {"sudoku": Path("parent/sudoku-extreme"), "maze": Path("parent/maze-30x30-hard-1k")}),
        (["parent"], ("maze",), {"maze": Path("parent/maze-30x30-hard-1k")}),
    ],
)
def test_data_names_a_place_for_each_puzzle(
    given: list[str], puzzles: tuple[PuzzleName, ...], found: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("parent/sudoku-extreme", "parent/maze-30x30-hard-1k", "a=b"):
        Path(folder).mkdir(parents=True)
    assert find_sources(given, puzzles) == found


@pytest.mark.parametrize(
    ("given", "puzzles", "said"),
    [
        (["somewhere"], BOTH, "say which is which: --data sudoku=FOLDER maze=FOLDER"),
        (["mze=b"], BOTH, "no puzzle 'mze'; expected sudoku=FOLDER maze=FOLDER"),
        (["arc=b"], BOTH, "none of these runs is on arc"),
        (["maze="], BOTH, "no folder; expected maze=FOLDER"),
        (["maze=a", "maze=b"], BOTH, "a second place for maze, after a"),
        (["hub", "maze=b"], BOTH, "a second place for maze, after hub"),
        (["hub"], ("arc",), "give arc=FOLDER"),
        (["arc=hub"], ("arc",), "give arc=FOLDER"),
    ],
)
def test_a_place_that_could_be_several_things_or_none_is_refused(
    given: list[str], puzzles: tuple[PuzzleName, ...], said: str
) -> None:
    with pytest.raises(BadCommand, match=re.escape(said)):
        find_sources(given, puzzles)


def test_files_bring_their_own_board_to_the_rows_of_their_puzzle_and_change_only_what_differs(tmp_path: Path) -> None:
    mazes = write_mazes(tmp_path / "mazes")
    assert source_overrides({"maze": MAZE}, {"maze": mazes}, scoped=False) == (
        "data.source=files",
        "data.least_path=none",
    )
    published = DataSettings(puzzle="maze")
    assert source_overrides({"maze": published}, {"maze": mazes}, scoped=True) == ("maze:data.side=5",)
    assert (
        source_overrides({"maze": published, "sudoku": DataSettings()}, {"maze": "hub", "sudoku": "hub"}, scoped=True)
        == ()
    )
    assert source_overrides({"arc": ARC}, {"arc": tmp_path}, scoped=False) == ("data.source=files", "data.side=30")


@pytest.mark.parametrize("place", ["n" * 300, "a=" + "n" * 300, "sudoku=" + "n" * 300])
def test_a_folder_that_may_not_even_be_looked_at_is_told_in_one_line(place: str) -> None:
    sudoku: tuple[PuzzleName, ...] = ("sudoku",)
    with pytest.raises(BadCommand, match=r"cannot be looked at \(File name too long\); name a folder"):
        find_sources([place], sudoku)


def test_a_built_set_stands_for_its_puzzle_and_brings_all_that_it_was_built_from(tmp_path: Path) -> None:
    folder, puzzles = build_puzzles(MAZE, None, tmp_path)
    assert find_sources([str(folder)], BOTH) == {"maze": folder}
    sudoku: tuple[PuzzleName, ...] = ("sudoku",)
    with pytest.raises(BadCommand, match="a set of Maze puzzles; these runs are on Sudoku"):
        find_sources([str(folder)], sudoku)
    with pytest.raises(BadCommand, match=r"sudoku=.*: a set of Maze puzzles"):
        source_overrides({"sudoku": DataSettings()}, {"sudoku": folder}, scoped=False)
    official = DataSettings(puzzle="maze", train=None, validation=0)
    changes = source_overrides({"maze": official}, {"maze": folder}, scoped=False)
    assert changes == (
        "data.source=generated", "data.train=8", "data.validation=2", "data.test=4", "data.side=5", "data.least_path=6",
    )  # fmt: skip
    assert source_overrides({"maze": MAZE}, {"maze": folder}, scoped=False) == ()
    check_sources([MAZE], {"maze": folder})
    out = tmp_path / "other"
    for act in (look_up, build_all):
        assert act([MAZE], {"maze": folder}, out) == {
            set_of(MAZE): BuiltSet(folder.absolute(), puzzles.content_hash, n_test=4)
        }
    assert not out.exists(), "nothing is built again"


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({"train": 9}, r"built with data\.train=8, these runs ask for 9; leave those settings"),
        ({"seed": 1}, r"data\.seed=0, these runs ask for 1; .* \(--data-seeds 0-0 draws as it was drawn\)"),
        ({"side": 6, "least_path": 7}, r"data\.side=5, these runs ask for 6; data\.least_path=6, .* for 7"),
    ],
)
def test_a_built_set_is_for_the_settings_it_was_built_with_alone(
    differs: dict[str, int], told: str, tmp_path: Path
) -> None:
    folder, _ = build_puzzles(MAZE, None, tmp_path)
    for act in (look_up, build_all):
        with pytest.raises(OtherPuzzleSet, match=told):
            act([MAZE.model_copy(update=differs)], {"maze": folder}, tmp_path)


def test_a_set_built_from_files_gives_the_runs_that_the_files_give(tmp_path: Path) -> None:
    files = write_mazes(tmp_path / "mazes")
    folder, built = build_puzzles(MAZE_FILES, files, tmp_path / "out")
    by_files = build_all([MAZE_FILES], {"maze": files}, tmp_path / "again")[set_of(MAZE_FILES)]
    by_set = build_all([MAZE_FILES], {"maze": folder}, tmp_path / "unused")[set_of(MAZE_FILES)]
    assert by_set.content_hash == by_files.content_hash == built.content_hash
    assert by_set.tags == by_files.tags
    assert by_set.tags["own_files"].startswith("own files (train.csv ")
    assert origins([by_set, by_files]) == (f"Own{by_set.origin[3:]}: not comparable with the paper.",)


# --- the sets --------------------------------------------------------------------------------------------------------


def test_runs_that_differ_in_augmentation_alone_share_a_set_but_arcs_variants_are_in_it() -> None:
    for one in (SUDOKU, MAZE):
        assert set_of(one) == set_of(one.model_copy(update={"augmentations": 3, "maze_augmentation": "recomputed"}))
        assert set_of(one) != set_of(one.model_copy(update={"train": 7}))
    assert set_of(ARC) != set_of(ARC.model_copy(update={"augmentations": 3}))
    assert set_of(ARC) == set_of(ARC.model_copy(update={"box_rows": 2}))


def test_the_set_of_an_earlier_version_is_found_again() -> None:
    settings = DataSettings(source="generated", box_rows=2, box_cols=3, clues=22, train=2000, validation=200, test=400)
    assert puzzle_folder(settings, None, Path("results")) == Path("results/data/sudoku_6x6_generated_a0912555")


def test_one_set_is_built_for_all_runs_that_can_share_it_and_opened_by_the_next_command(tmp_path: Path) -> None:
    wanted = [SUDOKU, MAZE, MAZE.model_copy(update={"augmentations": 7}), ARC]
    assert look_up(wanted, {}, tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
    sets = build_all(wanted, {}, tmp_path)
    assert len(sets) == len(list((tmp_path / "data").iterdir())) == 3
    for one in wanted:
        _, puzzles = build_puzzles(one, None, tmp_path)
        built = sets[set_of(one)]
        assert (built.content_hash, built.n_test, built.leaks) == (puzzles.content_hash, len(puzzles.test), ())
        assert (puzzles.manifest.puzzle, puzzles.cells) == (one.puzzle, one.cells)
    arc = build_puzzles(ARC, None, tmp_path)[1]
    assert arc.groups is not None
    assert max(np.diff(arc.groups.starts)) == 1 + ARC.augmentations
    assert look_up(wanted, {}, tmp_path) == sets


def test_mazes_are_read_from_a_folder(tmp_path: Path) -> None:
    settings = DataSettings(puzzle="maze", side=5, train=8, validation=0, augmentations=0)
    _, puzzles = build_puzzles(settings, write_mazes(tmp_path / "mazes"), tmp_path / "out")
    assert (len(puzzles.train), len(puzzles.validation), len(puzzles.test)) == (8, 0, 4)


MAZE_FILES = DataSettings(puzzle="maze", side=5, train=8, validation=0, augmentations=0)
ARC_FILES = DataSettings(puzzle="arc", side=6, train=None, validation=0, subsets="training,evaluation", augmentations=2)


def write_arc(folder: Path, tests: int = 2) -> Path:
    """A task to learn from and one to be tested, with so many tests, in GitHub's format."""

    def pair(first: int) -> dict[str, list[list[int]]]:
        return {"input": [[first, 1], [2, 3]], "output": [[1, first], [3, 2]]}

    for subset, name, n, start in (("training", "a", 1, 4), ("evaluation", "b", tests, 6)):
        (folder / "data" / subset).mkdir(parents=True)
        task = {"train": [pair(start)], "test": [pair(start + 1 + i) for i in range(n)]}
        (folder / "data" / subset / f"{name}.json").write_text(json.dumps(task))
    return folder


def test_a_plan_knows_the_hash_and_the_tests_of_files_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    sources: Sources = {"maze": write_mazes(tmp_path / "mazes"), "arc": write_arc(tmp_path / "arc")}
    planned = look_up([MAZE_FILES, ARC_FILES], sources, out)
    assert {one.puzzle: built.n_test for one, built in planned.items()} == {"maze": 4, "arc": 2}
    assert not out.exists()
    assert list(temporary.iterdir()) == []
    assert build_all([MAZE_FILES, ARC_FILES], sources, out) == planned
    assert look_up([MAZE_FILES, ARC_FILES], sources, out) == planned


def test_a_plan_refuses_what_the_run_would_refuse_and_writes_nothing(tmp_path: Path) -> None:
    out, arc, mazes = tmp_path / "out", tmp_path / "arc", write_mazes(tmp_path / "mazes")
    arc.mkdir()
    learnt_and_asked = DataSettings(puzzle="arc", subsets="training", test_subset="training")
    (arc / "a_training_challenges.json").write_text("{}")
    torn = (mazes / "train.csv").read_text()[:-20]

    def refused(settings: DataSettings, sources: Sources, said: str) -> None:
        for act in (look_up, build_all):
            with pytest.raises(PuzzleError, match=said):
                act([settings], sources, out if act is look_up else tmp_path / "run")

    refused(learnt_and_asked, {"arc": arc}, r"a_training_solutions\.json: missing")
    refused(DataSettings(puzzle="arc", subsets="training,trainnig"), {"arc": arc}, "subset 'trainnig': expected some")
    refused(MAZE_FILES.model_copy(update={"train": 500}), {"maze": mazes}, "expected 500")
    whole = (mazes / "test.csv").read_text()
    (mazes / "test.csv").write_text(f"{whole}x,\n")
    refused(MAZE_FILES, {"maze": mazes}, r"test\.csv, line 6: 2 fields")
    (mazes / "test.csv").write_text(whole)
    (mazes / "test.csv").rename(mazes / "tests.csv")
    refused(MAZE_FILES, {"maze": mazes}, r"test\.csv: missing")
    (mazes / "tests.csv").rename(mazes / "test.csv")
    (mazes / "train.csv").write_text(torn)
    refused(MAZE_FILES, {"maze": mazes}, r"train\.csv, line 13")
    assert not out.exists()


def test_a_plan_can_do_without_files_and_says_what_it_takes_for_granted(tmp_path: Path) -> None:
    wanted = [DataSettings(), DataSettings(seed=1), DataSettings(puzzle="maze", test=10), ARC, MAZE]
    with pytest.raises(NoPuzzles):
        look_up(wanted, {}, tmp_path)
    assert look_up(wanted, {}, tmp_path, may_be_missing=True) == {}
    assert assumed(wanted, {}, {}) == ("No --data for Sudoku: counted as published, 422,786 test puzzles.",)
    assert assumed(wanted, {"sudoku": "hub"}, {}) == (
        "--data hub, nothing fetched yet: counted as published, 422,786 test puzzles.",
    )
    assert assumed(wanted, {}, {set_of(one) for one in wanted}) == ()
    with pytest.raises(BadCommand, match="leave one of them out"):
        look_up([ARC], {"arc": tmp_path}, tmp_path, may_be_missing=True)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({}, "published puzzles of Sudoku and ARC; give --data sudoku=FOLDER with train.csv"),
        ({"arc": Path("a")}, "published puzzles of Sudoku; give --data sudoku=FOLDER with train.csv"),
    ],
)
def test_every_place_that_is_missing_is_named(sources: Sources, said: str) -> None:
    published = [DataSettings(), DataSettings(puzzle="arc"), MAZE]
    with pytest.raises(NoPuzzles, match=said):
        check_sources(published, sources)


def test_a_folder_for_puzzles_that_are_generated_is_refused() -> None:
    with pytest.raises(BadCommand, match="data.source=generated: leave one of them out"):
        check_sources([DataSettings(), MAZE], {"sudoku": Path("a"), "maze": Path("b")})


def test_a_set_that_leaks_says_so_in_every_record() -> None:
    assert BuiltSet(Path("a"), "h", 1).tags == {}
    assert BuiltSet(Path("a"), "h", 1, ("0934a4d8", "136b0064")).tags == {"leaks": "0934a4d8,136b0064"}


@pytest.mark.parametrize("puzzle", BOTH)
def test_hub_in_a_folders_place_asks_the_hub(
    puzzle: PuzzleName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    settings = DataSettings(puzzle=puzzle, train=8, validation=0)
    with pytest.raises(CannotFetch, match=f"sapientinc/{'sudoku-extreme' if puzzle == 'sudoku' else 'maze-30x30'}"):
        build_puzzles(settings, "hub", tmp_path / "out")
    assert look_up([settings], {puzzle: "hub"}, tmp_path / "out") == {}, "a plan fetches nothing"
