import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_prep import arc_kernels as kernels
from data_prep.__main__ import main
from data_prep.arc import (
    N_CODES,
    TRIALS,
    TWICE_IN_ARC_1,
    BadPuzzleFile,
    BadSettings,
    Leaks,
    build_arc,
    candidate_codes,
    draw_arc,
    find_leaks,
    lay,
    n_variants,
    pack,
    restore,
    unpack,
    variant_codes,
)
from data_prep.arc_generate import FAMILIES, N_DEMONSTRATIONS, RULES, generate
from data_prep.arc_tasks import Pair, Task
from data_prep.augment import move
from data_prep.puzzle_set import OtherContent, PuzzleSet
from data_prep.unfinished import partial_of

U8 = NDArray[np.uint8]
Json = dict[str, Any]
numbers = st.integers(min_value=0, max_value=2**31)
codes = st.integers(min_value=0, max_value=N_CODES - 1)
MOVES: tuple[Callable[[U8], U8], ...] = (
    lambda grid: grid,
    np.rot90,
    lambda grid: np.rot90(grid, 2),
    lambda grid: np.rot90(grid, 3),
    np.fliplr,
    np.flipud,
    np.transpose,
    lambda grid: np.fliplr(np.rot90(grid)),
)


def variant(grid: U8, code: int) -> U8:
    """A variant of a grid, the long way: the colours by the code's permutation, then the move."""
    rank, left, new = code % kernels.N_PERMUTATIONS, list(range(1, 10)), [0]
    for base in (40320, 5040, 720, 120, 24, 6, 2, 1, 1):
        new.append(left.pop(rank // base))
        rank %= base
    return np.ascontiguousarray(MOVES[code // kernels.N_PERMUTATIONS](np.array(new, dtype=np.uint8)[grid]))


@st.composite
def grids(draw: st.DrawFn, largest: int = 5, n_colours: int = 10) -> U8:
    """Grids of up to largest x largest cells."""
    rows, columns = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    cells = draw(st.lists(st.integers(0, n_colours - 1), min_size=rows * columns, max_size=rows * columns))
    return np.array(cells, dtype=np.uint8).reshape(rows, columns)


def tasks(largest: int = 5, n_colours: int = 10) -> st.SearchStrategy[Task]:
    pairs = st.tuples(grids(largest, n_colours), grids(largest, n_colours))
    some = st.lists(pairs, min_size=1, max_size=2).map(tuple)
    return st.builds(Task, st.just("training"), st.sampled_from(("one", "other")), some, some)


def grid_of(*rows: str) -> U8:
    return np.array([[int(colour) for colour in row] for row in rows], dtype=np.uint8)


# --- variants ---


def test_codes_name_the_eight_moves_in_the_released_order_and_every_permutation_once() -> None:
    grid = np.arange(9, dtype=np.uint8).reshape(3, 3)
    board = lay(grid, 3)[None]
    for at in range(8):
        put = np.empty(9, dtype=np.uint8)
        colours = np.arange(10, dtype=np.uint8)
        kernels.put(board[0].copy(), 3, at, colours, 0, 0, put)
        assert np.array_equal(put, move(board, np.array([at]))[0])
        assert np.array_equal(put.reshape(3, 3) - 2, MOVES[at](grid))
    new = np.empty(10, dtype=np.uint8)
    for rank, expected in enumerate(itertools.islice(itertools.permutations(range(1, 10)), 0, None)):
        if rank % 997 == 0 or rank < 30:
            kernels.colours_of(rank, new)
            assert tuple(new) == (0, *expected)
    assert rank == kernels.N_PERMUTATIONS - 1


def distinct_the_long_way(task: Task, variants: int, seed: int) -> list[int]:
    """The codes that the released builder keeps of our candidates: whole grids, compared as sorted pairs."""
    kept, seen = [0], {tuple(sorted((pack(a), pack(b)) for a, b in task.pairs))}
    for code in candidate_codes(task.name, TRIALS * variants, seed=seed).tolist():
        key = tuple(sorted((pack(variant(a, code)), pack(variant(b, code))) for a, b in task.pairs))
        if key not in seen and len(kept) <= variants:
            seen.add(key)
            kept.append(code)
    return kept


@settings(max_examples=60, deadline=None)
@given(task=tasks(largest=3, n_colours=3), variants=st.integers(0, 40), seed=numbers)
def test_the_variants_kept_are_those_whose_pairs_no_earlier_one_has(task: Task, variants: int, seed: int) -> None:
    assert variant_codes(task, variants, seed=seed).tolist() == distinct_the_long_way(task, variants, seed)


ONE, SQUARE = grid_of("3"), grid_of("10", "01")


@pytest.mark.parametrize(
    ("pairs", "n"),
    [
        ([(grid_of("0"), grid_of("00", "00"))], 1),
        ([(ONE, ONE)], 9),
        ([(ONE, SQUARE)], 9 * 8 * 2),  # the chequered square has two images
        ([(ONE, grid_of("11", "11")), (grid_of("1"), grid_of("33", "33"))], 36),  # either way round: a multiset
        ([(grid_of("12"), ONE), (grid_of("21"), ONE)], 9 * 8 * 7 * 2 // 2),  # swapped colours: the other pair
        ([(grid_of("00"), grid_of("0"))], 2),  # black alone, but a row or a column
    ],
)
def test_symmetric_tasks_have_as_many_variants_as_there_are_images(pairs: list[Pair], n: int) -> None:
    task = Task("training", "few", tuple(pairs), ())
    kept = variant_codes(task, 2000, seed=1)
    assert len(kept) == n
    assert kept.tolist() == distinct_the_long_way(task, 2000, 1)


def test_other_seeds_and_names_have_other_variants_and_more_of_them_keep_the_first() -> None:
    task = Task("training", "name", ((grid_of("123", "456"), SQUARE),), ((ONE, ONE),))
    codes_of = variant_codes(task, 50, seed=0).tolist()
    assert codes_of == variant_codes(task, 200, seed=0).tolist()[:51]
    assert codes_of[0] == 0
    assert len(set(codes_of)) == 51
    assert not set(codes_of[1:]) & set(variant_codes(task, 50, seed=1).tolist()[1:])
    assert not set(codes_of[1:]) & set(candidate_codes("other", 50, seed=0).tolist())


def test_candidates_are_uniform_over_moves_and_over_where_a_colour_goes() -> None:
    drawn = candidate_codes("task", 40_000, seed=3)
    moves = np.bincount(drawn // kernels.N_PERMUTATIONS, minlength=8)
    first = np.bincount(drawn % kernels.N_PERMUTATIONS // 40320, minlength=9)
    assert (abs(moves - 5000) < 5 * 5000**0.5).all()
    assert (abs(first - 40_000 / 9) < 5 * (40_000 / 9) ** 0.5).all()


# --- files ---


def as_json(grid: U8) -> list[list[int]]:
    return [[int(colour) for colour in row] for row in grid]


def write_kaggle(folder: Path, tasks: list[Task]) -> Path:
    folder.mkdir(exist_ok=True)
    for subset in {task.subset for task in tasks}:
        mine = [task for task in tasks if task.subset == subset]
        challenges = {
            task.name: {
                "test": [{"input": as_json(a)} for a, _ in task.tests],
                "train": [{"input": as_json(a), "output": as_json(b)} for a, b in task.demonstrations],
            }
            for task in mine
        }
        solutions = {task.name: [as_json(b) for _, b in task.tests] for task in mine}
        (folder / f"arc-agi_{subset}_challenges.json").write_text(json.dumps(challenges))
        (folder / f"arc-agi_{subset}_solutions.json").write_text(json.dumps(solutions))
    return folder


def write_github(folder: Path, tasks: list[Task]) -> Path:
    for task in tasks:
        path = folder / "data" / task.subset / f"{task.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = {"train": task.demonstrations, "test": task.tests}
        path.write_text(
            json.dumps({k: [{"input": as_json(a), "output": as_json(b)} for a, b in v] for k, v in parts.items()})
        )
    return folder


@pytest.fixture(scope="module")
def made_up() -> list[Task]:
    """Generated tasks on grids of up to 28x28, of two subsets to learn from and one that is asked."""
    return generate(
        train=10, test=4, subsets=("training", "evaluation", "concept"), test_subset="evaluation", seed=5, side=30
    )


@pytest.fixture(scope="module")
def kaggle(made_up: list[Task], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kaggle(tmp_path_factory.mktemp("kaggle"), made_up)


def canvas_the_long_way(grid: U8, down: int = 0, right: int = 0, side: int = 30) -> list[int]:
    """A grid as the released builder writes it, cell by cell."""
    rows, columns = grid.shape
    canvas = []
    for r in range(-down, side - down):
        for c in range(-right, side - right):
            if 0 <= r < rows and 0 <= c < columns:
                canvas.append(int(grid[r, c]) + 2)
            else:
                ends = (r == rows and 0 <= c < columns) or (c == columns and 0 <= r < rows)
                canvas.append(1 if ends else 0)
    return canvas


@settings(max_examples=30, deadline=None)
@given(grid=grids(largest=8))
@example(grid=np.full((8, 3), 9, dtype=np.uint8))
@example(grid=np.zeros((3, 8), dtype=np.uint8))
@example(grid=np.zeros((8, 8), dtype=np.uint8))
def test_a_grid_has_end_marks_below_and_right_without_the_corner_where_the_canvas_goes_on(grid: U8) -> None:
    assert lay(grid, 8).tolist() == canvas_the_long_way(grid, side=8)


def test_the_untouched_examples_are_the_released_arrays_and_stand_by_task(
    made_up: list[Task], kaggle: Path, tmp_path: Path
) -> None:
    puzzles = build_arc(tmp_path / "set", source=kaggle, variants=20)
    groups = puzzles.groups
    assert groups is not None
    order = {"training": 0, "evaluation": 1, "concept": 2}
    expected: dict[str, list[tuple[list[int], list[int], int]]] = {"train": [], "test": []}
    for g, task in enumerate(sorted(made_up, key=lambda task: (order[task.subset], task.name))):
        assert groups.names[g].decode() == task.name
        for pair in task.demonstrations:
            expected["train"].append((*(canvas_the_long_way(grid) for grid in pair), groups.starts[g]))
        for pair in task.tests:
            where = "test" if task.subset == "evaluation" else "train"
            expected[where].append((*(canvas_the_long_way(grid) for grid in pair), groups.starts[g]))
    for name, rows in expected.items():
        split = puzzles.splits[name]
        inputs, labels, ids = zip(*rows, strict=True)
        assert split.inputs.tolist() == list(inputs)
        assert split.labels.tolist() == list(labels)
        assert split.puzzle_ids.tolist() == list(ids)
    assert len(puzzles.validation) == 0
    for task, start, end in zip(
        sorted(made_up, key=lambda t: (order[t.subset], t.name)), groups.starts, groups.starts[1:], strict=False
    ):
        assert groups.variants[start:end].tolist() == variant_codes(task, 20, seed=0).tolist()
    assert puzzles.n_puzzle_ids == groups.starts[-1] == len(groups.variants)
    assert puzzles.manifest.notes[0] == f"14 tasks, {groups.starts[-1] - 1} identifiers beside the blank one"
    assert puzzles.manifest.licence == "training: Apache-2.0; evaluation: Apache-2.0; concept: MIT"
    assert sorted(puzzles.manifest.source_sha256) == sorted(path.name for path in kaggle.iterdir())


def test_both_formats_of_the_same_tasks_give_the_same_set_and_builds_are_byte_identical(
    made_up: list[Task], kaggle: Path, tmp_path: Path
) -> None:
    first = build_arc(tmp_path / "first", source=kaggle, variants=30, seed=2)
    again = build_arc(tmp_path / "again", source=kaggle, variants=30, seed=2)
    other = build_arc(tmp_path / "other", source=write_github(tmp_path / "github", made_up), variants=30, seed=2)
    assert first.content_hash == again.content_hash == other.content_hash
    assert first.content_hash != build_arc(tmp_path / "seed", source=kaggle, variants=30, seed=3).content_hash
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    assert next(iter(other.manifest.source_sha256)).startswith("data/training/training-")


def test_clones_of_the_three_repositories_side_by_side_are_found(made_up: list[Task], tmp_path: Path) -> None:
    for task in made_up:
        folder = "ConceptARC/corpus/Kind" if task.subset == "concept" else f"ARC-AGI/data/{task.subset}"
        written = write_github(tmp_path / "plain", [task]) / "data" / task.subset / f"{task.name}.json"
        (tmp_path / "clones" / folder).mkdir(parents=True, exist_ok=True)
        written.rename(tmp_path / "clones" / folder / written.name)
    puzzles = build_arc(tmp_path / "set", source=tmp_path / "clones", variants=3)
    kaggle = build_arc(tmp_path / "same", source=write_kaggle(tmp_path / "kaggle", made_up), variants=3)
    assert puzzles.content_hash == kaggle.content_hash


def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        return ended.pid


def test_a_set_is_opened_again_refused_for_other_settings_or_files_and_unfinished_ones_go(
    made_up: list[Task], tmp_path: Path
) -> None:
    source, out = write_kaggle(tmp_path / "source", made_up), tmp_path / "set"
    leftover = partial_of(out, gone())
    leftover.mkdir()
    built = build_arc(out, source=source, variants=5)
    assert not leftover.exists()
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert build_arc(out, source=source, variants=5).manifest == built.manifest
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times
    with pytest.raises(OtherContent, match="holds a set with variants = 5, expected 6"):
        build_arc(out, source=source, variants=6)
    with pytest.raises(OtherContent, match="holds a set with test_subset = evaluation, expected concept"):
        build_arc(out, source=source, variants=5, test_subset="concept")
    path = source / "arc-agi_training_solutions.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(OtherContent, match="holds a set with arc-agi_training_solutions.json = "):
        build_arc(out, source=source, variants=5)


# --- bad files ---


GOOD: Json = {"train": [{"input": [[1, 2]], "output": [[2], [1]]}], "test": [{"input": [[3]], "output": [[4]]}]}


def changed(*path: Any, to: Any) -> Json:
    """GOOD with one place changed."""
    content: Json = json.loads(json.dumps(GOOD))
    at: Any = content
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = to
    return content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (changed("train", 0, "input", to=[[0] * 31]), "train pair 1, input: 1x31 cells, expected at most 30x30"),
        (changed("test", 0, "output", to=[[0]] * 31), "test pair 1, output: 31x1 cells, expected at most 30x30"),
        (changed("train", 0, "output", 1, 0, to=10), "output: 10 at row 2, column 1, expected a colour, 0 to 9"),
        (changed("train", 0, "input", 0, 1, to=-1), "input: -1 at row 1, column 2, expected a colour, 0 to 9"),
        (changed("train", 0, "input", 0, 1, to="2"), 'input: "2" at row 1, column 2, expected a colour'),
        (changed("train", 0, "input", 0, 1, to=True), "input: true at row 1, column 2, expected a colour"),
        (changed("train", 0, "input", 0, 1, to=1.0), "input: 1.0 at row 1, column 2, expected a colour"),
        (changed("train", 0, "output", 1, to=[1, 1]), "output: row 2 has 2 cells, expected 1, as the first row has"),
        (changed("train", 0, "output", to=[]), "train pair 1, output: nothing in it, expected rows of colours"),
        (changed("train", 0, "output", to=[[]]), "train pair 1, output: no cells in row 1, expected colours"),
        (changed("train", 0, "output", to=None), "train pair 1, output: null, expected rows of colours"),
        (changed("train", 0, to={"input": [[1]]}), "train pair 1: no output, expected one"),
        (changed("test", 0, to={"input": [[1]]}), "test pair 1: no output, expected one"),
        (
            changed("test", 0, "input", to=GOOD["train"][0]["input"]),
            "test pair 1: another output than that of train pair 1",
        ),
        (changed("test", to=[]), 'no pairs under "test", expected {"train": [pairs], "test": [pairs]}'),
        (changed("train", to={}), 'no pairs under "train"'),
        ([], 'no pairs under "train"'),
    ],
)
def test_a_bad_task_is_named_with_its_file_and_what_was_expected(content: Any, told: str, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "training"
    folder.mkdir(parents=True)
    (folder / "good.json").write_text(json.dumps(GOOD))
    (folder / "wrong.json").write_text(json.dumps(content))
    with pytest.raises(BadPuzzleFile) as raised:
        build_arc(tmp_path / "set", source=tmp_path, subsets=["training"], test_subset="training")
    assert f"{folder / 'wrong.json'}, task wrong" in str(raised.value)
    assert told in str(raised.value)
    assert not (tmp_path / "set").exists()


CHALLENGES = {"a1": {"train": GOOD["train"], "test": [{"input": [[3]]}]}}


@pytest.mark.parametrize(
    ("challenges", "solutions", "told"),
    [
        (json.dumps(CHALLENGES)[:-9], "{}", "challenges.json, line 1, column 8"),
        ('{\n"a1":\n{"train": [[1, 2}', "{}", "challenges.json, line 3, column 17: no JSON"),
        ('{\n"a1": {"train": [', "{}", "challenges.json, line 2, column 18: the file ends"),
        ("", "{}", "challenges.json: an empty file, expected JSON"),
        (b"\xff\xfe", "{}", "challenges.json: byte 0 is not UTF-8"),
        ('{"a1": ' + "1" * 5000 + "}", "{}", "challenges.json: Exceeds the limit (4300 digits)"),
        ("[" * 100_000, "{}", "challenges.json: brackets nested too deeply"),
        ("[1]", "{}", "challenges.json: a list, expected an object of tasks by name"),
        (json.dumps(CHALLENGES), "{}", "solutions.json: nothing in it, expected an object of tasks by name"),
        (json.dumps(CHALLENGES), '{"b2": []}', "solutions.json, task b2: no such task in arc-agi_training_challenges"),
        (json.dumps(CHALLENGES), '{"a1": []}', "solutions.json, task a1: 0 solutions, expected 1"),
        (json.dumps(CHALLENGES), '{"a1": [[[1]], [[2]]]}', "solutions.json, task a1: 2 solutions, expected 1"),
        (json.dumps(CHALLENGES), '{"a1": [[[1]]], "a1": [[[1]]]}', "'a1' stands twice in an object, expected once"),
        (json.dumps(CHALLENGES), '{"a1": [[[1], [11]]]}', "task a1, test pair 1, output: 11 at row 2, column 1"),
        (json.dumps({"a" * 65: GOOD}), json.dumps({"a" * 65: [[[1]]]}), "expected a name of 1 to 64 printable ASCII"),
        (json.dumps({"a\nb": GOOD}), json.dumps({"a\nb": [[[1]]]}), "task 'a\\nb': expected a name of"),
        (json.dumps(CHALLENGES), None, "arc-agi_training_solutions.json: missing, expected the answers to the tests"),
        (None, None, "neither *_training_challenges.json nor a folder data/training, training or ARC-AGI"),
    ],
)
def test_bad_challenges_and_solutions_are_named(
    challenges: str | bytes | None, solutions: str | None, told: str, tmp_path: Path
) -> None:
    for name, content in (("challenges", challenges), ("solutions", solutions)):
        if content is not None:
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / f"arc-agi_training_{name}.json").write_bytes(data)
    with pytest.raises(BadPuzzleFile) as raised:
        build_arc(tmp_path / "set", source=tmp_path, subsets=["training"], test_subset="training")
    assert told in str(raised.value)


def test_a_folder_that_is_not_there_or_empty_and_two_files_for_a_subset_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadPuzzleFile, match="nowhere: missing, expected a folder with"):
        build_arc(tmp_path / "set", source=tmp_path / "nowhere")
    (tmp_path / "data" / "training").mkdir(parents=True)
    with pytest.raises(BadPuzzleFile, match="training: no \\*.json in it"):
        build_arc(tmp_path / "set", source=tmp_path, subsets=["training"], test_subset="training")
    for prefix in "ab":
        (tmp_path / f"{prefix}_training_challenges.json").write_text("{}")
    with pytest.raises(BadPuzzleFile, match=r"2 files \*_training_challenges.json \(a_training_challenges.json, b_"):
        build_arc(tmp_path / "set", source=tmp_path, subsets=["training"], test_subset="training")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"subsets": ["training", "evaluatoin"]}, "subset 'evaluatoin': expected some of training, evaluation, trai"),
        ({"subsets": ["evaluation", "evaluation"]}, "subset 'evaluation': named twice, expected once"),
        ({"subsets": ["training"]}, "test subset evaluation: not among the subsets training"),
        ({"side": 31}, "side 31: expected 3 to 30 cells"),
        ({"source": "hub"}, "source hub: ARC is not kept on the hub under a name of its publishers, expected a folder"),
        ({"variants": -1}, "variants: -1 asked for, expected 0 to 100000"),
        ({"train": -1}, "train: -1 puzzles asked for, expected at least 0"),
        ({"train": 0, "test": 0}, "train and test: 0 tasks asked for, expected some"),
        ({"subsets": ["evaluation"], "train": 3}, "none for the 3 training tasks, expected one beside evaluation"),
    ],
)
def test_settings_that_cannot_be_are_named(asked: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as raised:
        build_arc(tmp_path / "set", **{"source": "generate", **asked})
    assert told in str(raised.value)


# --- splits and leaks ---


def test_validation_tests_are_learnt_from_nowhere_and_stay_the_same_whatever_train_is(
    kaggle: Path, tmp_path: Path
) -> None:
    def built(name: str, **asked: Any) -> PuzzleSet:
        return build_arc(tmp_path / name, source=kaggle, variants=2, **asked)

    whole, some, few = built("a"), built("b", validation=3), built("c", validation=3, train=5, test=2)
    assert {name: len(split) for name, split in some.splits.items()} == {"train": 49, "validation": 3, "test": 4}
    assert {name: len(split) for name, split in few.splits.items()} == {"train": 23, "validation": 3, "test": 2}
    assert some.validation.inputs.tolist() == few.validation.inputs.tolist()
    learnt = {row.tobytes() for row in some.train.inputs}
    assert learnt.isdisjoint(row.tobytes() for row in some.validation.inputs)
    assert learnt.isdisjoint(row.tobytes() for row in some.test.inputs)
    assert set(some.validation.puzzle_ids) <= set(some.train.puzzle_ids)
    assert Counter(row.tobytes() for row in whole.train.inputs) == Counter(
        row.tobytes() for row in np.concatenate([some.train.inputs, some.validation.inputs])
    )
    assert len(few.groups or ()) == 7
    with pytest.raises(BadPuzzleFile, match="train: 10 tasks for it in training, evaluation, concept, expected 11"):
        built("d", train=11)
    with pytest.raises(BadPuzzleFile, match="validation: 2 tasks for it in .*, expected 3"):
        built("d", train=2, validation=3)
    with pytest.raises(BadPuzzleFile, match="test: 4 tasks for it in .*, expected 5"):
        built("d", test=5)


def test_a_task_that_demonstrates_its_own_test_is_not_held_out(tmp_path: Path) -> None:
    telling = [task("training", f"t{i}", [10 * i, 10 * i + 1], [10 * i]) for i in range(8)]
    silent, asked = task("training", "u", [90, 91], [92]), task("evaluation", "e", [94, 95], [96])
    source = write_kaggle(tmp_path / "files", [*telling, silent, asked])
    protocol: dict[str, Any] = {"source": source, "subsets": ("training", "evaluation"), "variants": 1}
    held_out = build_arc(tmp_path / "set", validation=1, **protocol)
    assert held_out.validation.inputs.tolist() == [lay(silent.tests[0][0], 30).tolist()]
    with pytest.raises(BadPuzzleFile, match="validation: 1 tasks for it in .*, expected 2"):
        build_arc(tmp_path / "two", validation=2, **protocol)


def pair(number: int) -> Pair:
    """A pair of its own."""
    digits = np.array([int(digit) for digit in f"{number:06d}"], dtype=np.uint8)
    return digits.reshape(2, 3), digits.reshape(3, 2)


def task(subset: str, name: str, shown: list[int], asked: list[int]) -> Task:
    return Task(subset, name, tuple(map(pair, shown)), tuple(map(pair, asked)))


@pytest.mark.parametrize(
    ("learnt", "leaks"),
    [
        (task("training2", "a1", [1, 2], [3]), {"a1": ["training2 a1"]}),  # the same task
        (task("training2", "b2", [7, 3], [8]), {"a1": ["training2 b2"]}),  # its answer is shown
        (task("training2", "b2", [7, 9], [1]), {"a1": ["training2 b2"]}),  # only a demonstration is shared
        (task("training2", "a1", [7, 9], [8]), {}),  # the same name alone
        (task("evaluation", "b2", [1, 9], [8]), {}),  # a demonstration of both, each tested on something else
        (task("evaluation", "b2", [3, 9], [8]), {"a1": ["evaluation b2"]}),  # demonstrates the other's answer
    ],
)
def test_a_task_to_be_tested_leaks_where_a_pair_of_it_is_learnt_from(learnt: Task, leaks: dict[str, list[str]]) -> None:
    assert find_leaks([task("evaluation", "a1", [1, 2], [3]), learnt], "evaluation") == (leaks, [])


def test_a_moved_or_recoloured_pair_is_another_pair() -> None:
    asked, (question, answer) = task("evaluation", "a1", [1], [2]), pair(2)
    moved = Task("training", "b2", ((np.fliplr(question).copy(), np.fliplr(answer).copy()),), (pair(5),))
    assert find_leaks([asked, moved], "evaluation") == ({}, [])


def test_leaks_are_refused_by_name_and_listed_where_they_are_allowed(tmp_path: Path) -> None:
    asked = [task("evaluation", f"e{i}", [10 * i, 10 * i + 1], [10 * i + 2]) for i in range(12)]
    learnt = [task("training2", f"e{i}", [10 * i, 10 * i + 1], [10 * i + 2]) for i in range(6)]
    learnt.append(task("training2", "other", [62, 63], [64]))
    source = write_kaggle(tmp_path / "few", asked + learnt)
    protocol: dict[str, Any] = {
        "source": source,
        "subsets": ("training2", "evaluation"),
        "test_subset": "evaluation",
        "variants": 3,
    }
    with pytest.raises(Leaks) as raised:
        build_arc(tmp_path / "set", **protocol)
    assert str(raised.value).startswith(
        "leak: 7 tasks of evaluation learnt from in training2: e0, e1, e2, e3, e4, e5, e6 (as training2 other); "
        "expected none; leave a subset out"
    )
    assert "--allow-leak" in str(raised.value)
    assert not (tmp_path / "set").exists()
    allowed = build_arc(tmp_path / "set", allow_leak=True, **protocol)
    assert allowed.manifest.leaks == ("e0", "e1", "e2", "e3", "e4", "e5", "e6")
    assert build_arc(tmp_path / "one", **{**protocol, "subsets": ("evaluation",)}).manifest.leaks == ()
    many = [task("training2", f"e{i}", [10 * i, 10 * i + 1], [10 * i + 2]) for i in range(12)]
    with pytest.raises(Leaks, match="leak: 12 tasks .*: e0, e1, e10, e11 and 8 more; expected none"):
        build_arc(tmp_path / "set2", **{**protocol, "source": write_kaggle(tmp_path / "many", asked + many)})


def test_the_task_that_arc_agi_1_asks_twice_is_told_and_any_other_refused() -> None:
    (half, name), (other_half, other_name) = sorted(TWICE_IN_ARC_1)
    one, other = task(half, name, [1], [2]), task(other_half, other_name, [2], [1])
    leaks, told = find_leaks([one, other], "evaluation")
    assert leaks == {}
    assert told == [
        "evaluation task 070dd51e is also training task 40853293: ARC-AGI-1 has it so, and the published protocol "
        "with it"
    ]
    again = task("training2", "070dd51e", [1, 2], [3])
    assert find_leaks([one, other, again], "evaluation") == ({"070dd51e": ["training2 070dd51e"]}, told)


# --- drawing ---


def drawn_set(tasks: list[Task], folder: Path, side: int, **asked: Any) -> PuzzleSet:
    source = write_kaggle(folder / "source", tasks)
    return build_arc(folder / "set", source=source, side=side, **asked)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PuzzleSet:
    """Generated tasks on a canvas of 9x9, 30 variants each."""
    out = tmp_path_factory.mktemp("small") / "set"
    return build_arc(out, source="generate", subsets=("training", "evaluation"), train=20, test=10, variants=30, side=9)


def every_variant(puzzles: PuzzleSet, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each example of a split with each of its variants."""
    assert puzzles.groups is not None
    counts = n_variants(puzzles.groups, puzzles.splits[split].puzzle_ids)
    examples = np.repeat(np.arange(len(counts)), counts)
    return examples, np.concatenate([np.arange(n) for n in counts])


def grid_on(canvas: U8, side: int) -> tuple[U8, int, int]:
    """The grid on a canvas, and where it lies."""
    board = canvas.reshape(side, side)
    rows, columns = np.flatnonzero((board > 1).any(axis=1)), np.flatnonzero((board > 1).any(axis=0))
    return board[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] - 2, int(rows[0]), int(columns[0])


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_variant_drawn_is_the_variant_and_restored_it_is_the_task(small: PuzzleSet, split: str) -> None:
    assert small.groups is not None
    part = small.splits[split]
    examples, variants = every_variant(small, split)
    inputs, labels, ids = draw_arc(part, small.groups, examples, variants, side=9, seed=0, translate=False)
    assert (ids == part.puzzle_ids[examples] + variants).all()
    codes_of = small.groups.variants[ids]
    for old, new in ((part.inputs, inputs), (part.labels, labels)):
        originals = [grid_on(row, 9)[0] for row in old]
        for row, e, code in zip(new, examples, codes_of, strict=True):
            assert row.tolist() == lay(variant(originals[e], int(code)), 9).tolist()
        assert restore(new, codes_of, side=9) == [pack(originals[e]) for e in examples]


@settings(max_examples=40, deadline=None)
@given(task=tasks(largest=6), code=codes)
def test_any_move_and_permutation_of_any_grid_is_undone_exactly(task: Task, code: int) -> None:
    for grid in itertools.chain(*task.pairs):
        moved = lay(variant(grid, code), 6)[None]
        (packed,) = restore(moved, np.array([code], dtype=np.int32), side=6)
        assert packed == pack(grid)
        assert np.array_equal(unpack(packed), grid)


def test_translated_pairs_move_together_over_all_the_space_and_one_of_each_task_and_variant_stays(
    small: PuzzleSet,
) -> None:
    assert small.groups is not None
    examples, variants = every_variant(small, "train")
    plain = draw_arc(small.train, small.groups, examples, variants, side=9, seed=4, translate=False)
    inputs, labels, ids = draw_arc(small.train, small.groups, examples, variants, side=9, seed=4, translate=True)
    stays = Counter[int]()
    for b in range(len(examples)):
        _, down, right = grid_on(inputs[b], 9)
        largest = np.maximum(grid_on(plain[0][b], 9)[0].shape, grid_on(plain[1][b], 9)[0].shape)
        assert inputs[b].tolist() == canvas_the_long_way(grid_on(plain[0][b], 9)[0], down, right, side=9)
        assert labels[b].tolist() == canvas_the_long_way(grid_on(plain[1][b], 9)[0], down, right, side=9)
        assert (9 - largest >= (down, right)).all()
        stays[int(ids[b])] += (down, right) == (0, 0)
    assert min(stays.values()) == 1  # nobody's examples are all moved …
    n_stay = sum(stays.values()) / len(stays)
    assert 1 < n_stay < 1.5  # … and beside the one that stays few draw (0, 0)


def test_a_draw_depends_on_seed_identifier_and_example_alone(small: PuzzleSet) -> None:
    assert small.groups is not None
    examples, variants = every_variant(small, "train")
    order = np.random.default_rng(0).permutation(len(examples))[:200]
    whole = draw_arc(small.train, small.groups, examples, variants, side=9, seed=4, translate=True)
    part = draw_arc(small.train, small.groups, examples[order], variants[order], side=9, seed=4, translate=True)
    assert all((whole[i][order] == part[i]).all() for i in range(3))
    other = draw_arc(small.train, small.groups, examples, variants, side=9, seed=5, translate=True)
    assert (whole[0] != other[0]).any(axis=1).mean() > 0.5
    opened = small.splits["train"]
    assert not opened.inputs.flags.writeable  # drawn from memory-mapped arrays, which stay as they are


def test_the_example_that_stays_and_the_offsets_of_the_others_are_uniform(tmp_path: Path) -> None:
    one = task("training", "one", [1, 2, 3], [4])  # the larger of both grids has 3x3 cells: 9 places on 5x5
    puzzles = drawn_set([one], tmp_path, 5, subsets=["training"], test_subset="training", variants=900)
    assert puzzles.groups is not None
    examples, variants = every_variant(puzzles, "train")
    moved, _, ids = draw_arc(puzzles.train, puzzles.groups, examples, variants, side=5, seed=0, translate=True)
    places = Counter(tuple(grid_on(row, 5)[1:]) for row in moved)
    n_moved = 2 * len(ids) // 3
    assert set(places) == set(itertools.product(range(3), repeat=2))
    assert all(abs(n - n_moved / 9) < 5 * (n_moved / 9) ** 0.5 for place, n in places.items() if place != (0, 0))
    at_home = np.array([tuple(grid_on(row, 5)[1:]) == (0, 0) for row in moved])
    alone = np.bincount(ids[at_home])[ids] * at_home == 1  # the only one of its variant: the one that stays
    stays = np.bincount(examples[alone], minlength=3)
    assert (abs(stays - stays.mean()) < 5 * stays.mean() ** 0.5).all()


# --- predictions ---


def crop_the_long_way(canvas: U8, side: int) -> tuple[int, int]:
    """The largest rectangle from the top left corner without pad or end mark; the first of equal ones, by rows."""
    board = canvas.reshape(side, side)
    sizes = [
        (rows, columns)
        for rows in range(1, side + 1)
        for columns in range(1, side + 1)
        if (board[:rows, :columns] > 1).all()
    ]
    return max(sizes, key=lambda size: (size[0] * size[1], -size[0]), default=(0, 0))


@settings(max_examples=100, deadline=None)
@given(seed=numbers, share=st.sampled_from((0.5, 0.8, 0.95, 1.0)), code=codes)
def test_predictions_of_any_kind_are_cropped_as_the_released_evaluator_crops(
    seed: int, share: float, code: int
) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.integers(2, 12, (4, 36), dtype=np.uint8)
    noise[rng.random((4, 36)) > share] = rng.integers(0, 2)
    code_of_each = np.array([0, 0, code, code], dtype=np.int32)
    for canvas, one, packed in zip(noise, code_of_each, restore(noise, code_of_each, side=6), strict=True):
        rows, columns = crop_the_long_way(canvas, 6)
        if rows == 0:
            assert packed == b"\0\0"
            assert unpack(packed).shape == (0, 0)
        else:
            assert np.array_equal(variant(unpack(packed), int(one)), canvas.reshape(6, 6)[:rows, :columns] - 2)


# --- generated tasks ---


def test_generated_tasks_show_a_rule_that_fixes_the_answer_and_evaluation_has_rules_of_its_own() -> None:
    made = generate(train=60, test=20, subsets=("training", "evaluation"), test_subset="evaluation", seed=1, side=10)
    assert [task.subset for task in made] == ["training"] * 60 + ["evaluation"] * 20
    rules: dict[str, set[int]] = {"training": set(), "evaluation": set()}
    for one in made:
        assert (len(one.demonstrations), len(one.tests)) == (N_DEMONSTRATIONS, 1)
        assert all(3 <= n <= 8 for grids in one.pairs for grid in grids for n in grid.shape)
        assert not any(np.array_equal(question, answer) for question, answer in one.pairs)
        fitting = [i for i, rule in enumerate(RULES) if all(np.array_equal(rule(a), b) for a, b in one.demonstrations)]
        ((question, answer),) = one.tests
        assert {pack(RULES[i](question)) for i in fitting} == {pack(answer)}
        assert one.name.rpartition("-")[2] in FAMILIES
        rules[one.subset].update(fitting if len(fitting) == 1 else [])
    assert min(map(len, rules.values())) > 10
    assert rules["training"].isdisjoint(rules["evaluation"])
    keys = [(pack(a), pack(b)) for one in made for a, b in one.pairs]
    assert len(set(keys)) == len(keys)


def test_every_family_is_closed_under_moves_and_colours() -> None:
    grid = np.random.default_rng(0).integers(0, 10, (6, 6), dtype=np.uint8)
    for code in (kernels.N_PERMUTATIONS, 4 * kernels.N_PERMUTATIONS + 1234, 99_999):
        for rules in FAMILIES.values():
            made = {pack(rule(variant(grid, code))) for rule in rules}
            assert {pack(variant(rule(grid), code)) for rule in rules} == made


def test_generated_tasks_are_the_same_again_and_more_of_them_leave_the_others_alone(tmp_path: Path) -> None:
    def names(train: int, seed: int) -> dict[str, list[bytes]]:
        made = generate(
            train=train, test=6, subsets=("training", "evaluation"), test_subset="evaluation", seed=seed, side=8
        )
        return {one.name: [pack(grid) for grids in one.pairs for grid in grids] for one in made}

    few, more = names(12, 0), names(24, 0)
    assert few == {name: more[name] for name in few}
    assert names(12, 1) != few
    asked: dict[str, Any] = {"source": "generate", "train": 12, "test": 6, "variants": 4, "side": 8, "validation": 2}
    first, again = build_arc(tmp_path / "a", **asked), build_arc(tmp_path / "b", **asked)
    assert first.manifest == again.manifest
    assert (first.manifest.protocol, first.manifest.licence) == ("generated", "CC0-1.0: generated, no claim made")
    assert first.manifest.counts == {"train": 4 * 10 + 3 * 8, "validation": 2, "test": 6}


# --- the command ---


def test_the_command_builds_tells_the_counts_and_refuses_leaks_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [task("evaluation", "e1", [1, 2], [3]), task("training", "t1", [4, 5], [6])]
    source = write_kaggle(tmp_path / "source", [*asked, task("training2", "e1", [1, 2], [3])])
    arguments = ["arc", "--source", str(source), "--out", str(tmp_path / "set"), "--variants", "7"]
    assert main([*arguments, "--subsets", "training", "evaluation"]) == 0
    assert capsys.readouterr().out.splitlines()[2:4] == [
        "2 tasks, 16 identifiers beside the blank one",
        "examples: train 5, validation 0, test 1",
    ]
    arguments[4] = str(tmp_path / "other")
    assert main([*arguments, "--subsets", "training2", "evaluation"]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: leak: 1 task of evaluation learnt from in training2: e1; expected none")
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert sorted(os.listdir(tmp_path)) == ["set", "source"]
    assert main([*arguments, "--subsets", "training2", "evaluation", "--allow-leak"]) == 0
    assert "leak: 1 task of evaluation learnt from in training2: e1\n" in capsys.readouterr().out
