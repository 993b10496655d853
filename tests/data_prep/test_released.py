"""Released datasets, written here by hand as the released builders write them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from data_prep.puzzle_set import PuzzleSet
from data_prep.released import BadDataset, is_released, open_released

CELLS, VOCABULARY = 6, 5


def write_split(folder: Path, dtype: type, sizes: list[list[int]], ids: list[int], **described: Any) -> None:
    """sizes: for each group, the number of examples of each of its puzzles."""
    folder.mkdir(parents=True)
    per_puzzle = [size for group in sizes for size in group]
    rng = np.random.default_rng(len(per_puzzle))
    arrays = {
        "inputs": rng.integers(1, VOCABULARY, (sum(per_puzzle), CELLS)).astype(dtype),
        "labels": rng.integers(0, VOCABULARY, (sum(per_puzzle), CELLS)).astype(dtype),
        "puzzle_identifiers": np.array(ids, dtype=np.int32),
        "puzzle_indices": np.cumsum([0, *per_puzzle]).astype(np.int32),
        "group_indices": np.cumsum([0, *map(len, sizes)]).astype(np.int32),
    }
    for name, array in arrays.items():
        np.save(folder / f"all__{name}.npy", array)
    description = {
        "pad_id": 0,
        "ignore_label_id": 0,
        "blank_identifier_id": 0,
        "vocab_size": VOCABULARY,
        "seq_len": CELLS,
        "num_puzzle_identifiers": 4,
        "total_groups": len(sizes),
        "mean_puzzle_examples": sum(per_puzzle) / len(per_puzzle),
        "total_puzzles": len(per_puzzle),
        "sets": ["all"],
    }
    (folder / "dataset.json").write_text(json.dumps(description | described))


@pytest.fixture(scope="session")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released") / "dataset"
    write_split(folder / "train", np.int64, [[2, 1], [3]], [1, 2, 3])
    write_split(folder / "test", np.uint8, [[1], [2]], [3, 1])
    (folder / "identifiers.json").write_text(json.dumps(["<blank>", "a", "a|||t1|||0123456789", "b"]))
    (folder / "test_puzzles.json").write_text(json.dumps({"b": {"train": [], "test": []}}))
    return folder


@pytest.fixture
def dataset(written_once: Path, tmp_path: Path) -> Path:
    """One to harm: two groups of training puzzles with several examples each, and a test set."""
    return Path(shutil.copytree(written_once, tmp_path / "dataset"))


def array(dataset: Path, name: str) -> NDArray[Any]:
    loaded: NDArray[Any] = np.load(dataset / f"{name}.npy")
    return loaded


def test_every_example_comes_with_its_puzzles_identifier(dataset: Path) -> None:
    puzzles = open_released(dataset)
    assert is_released(dataset)
    assert puzzles.train.puzzle_ids.tolist() == [1, 1, 2, 3, 3, 3]
    assert puzzles.test.puzzle_ids.tolist() == [3, 1, 1]
    for split in ("train", "test"):
        for name in ("inputs", "labels"):
            ours = getattr(puzzles.splits[split], name)
            assert ours.dtype == np.uint8
            assert np.array_equal(ours, array(dataset, f"{split}/all__{name}"))
    assert (puzzles.cells, puzzles.vocab, puzzles.n_puzzle_ids) == (CELLS, VOCABULARY, 4)


def test_hrms_own_sets_open_without_what_trms_builder_has_added(dataset: Path) -> None:
    before = open_released(dataset).content_hash
    (dataset / "test_puzzles.json").unlink()
    for name in ("train", "test"):
        described = json.loads((dataset / name / "dataset.json").read_text())
        del described["total_puzzles"]
        (dataset / name / "dataset.json").write_text(json.dumps(described))
    assert open_released(dataset).content_hash == before


def test_arrays_of_bytes_are_mapped_and_not_copied(dataset: Path) -> None:
    assert isinstance(open_released(dataset).test.inputs, np.memmap)


def test_what_the_released_code_does_not_hold_out_is_an_empty_validation_split_and_says_so(dataset: Path) -> None:
    puzzles = open_released(dataset)
    assert len(puzzles.validation) == 0
    assert puzzles.validation.inputs.shape == (0, CELLS)
    assert any("validation is empty" in note for note in puzzles.manifest.notes)
    shutil.copytree(dataset / "test", dataset / "validation")  # some forks hold one out
    assert len(open_released(dataset).validation) == 3


def test_it_is_a_puzzle_set_like_any_other_saved_and_opened_with_the_same_content(
    dataset: Path, tmp_path: Path
) -> None:
    puzzles = open_released(dataset)
    puzzles.verify(dataset)
    assert puzzles.save(tmp_path / "ours").content_hash == puzzles.content_hash
    assert PuzzleSet.open(tmp_path / "ours").manifest == puzzles.manifest


def test_another_token_is_another_content(dataset: Path) -> None:
    before = open_released(dataset).content_hash
    inputs = array(dataset, "test/all__inputs")
    inputs[0, 0] = 1 + inputs[0, 0] % (VOCABULARY - 1)
    np.save(dataset / "test/all__inputs.npy", inputs)
    assert open_released(dataset).content_hash != before


@pytest.mark.parametrize(("cells", "vocabulary", "puzzle"), [(81, 11, "sudoku"), (900, 6, "maze"), (900, 12, "arc")])
def test_the_three_puzzles_are_known_by_their_size(tmp_path: Path, cells: int, vocabulary: int, puzzle: str) -> None:
    for split in ("train", "test"):
        # total_puzzles of a Sudoku or maze dataset is in truth its number of groups
        write_split(
            tmp_path / split, np.uint8, [[1, 1, 1]], [0, 0, 0], seq_len=cells, vocab_size=vocabulary,
            num_puzzle_identifiers=1, total_puzzles=1,
        )  # fmt: skip
        for name in ("inputs", "labels"):
            np.save(tmp_path / split / f"all__{name}.npy", np.full((3, cells), vocabulary - 1, dtype=np.uint8))
    (tmp_path / "identifiers.json").write_text('["<blank>"]')
    puzzles = open_released(tmp_path)
    assert puzzles.manifest.puzzle == puzzle
    assert puzzles.manifest.box_rows == (3 if puzzle == "sudoku" else None)


def change(name: str, how: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Path], None]:
    return lambda dataset: np.save(dataset / f"{name}.npy", how(array(dataset, name)))


def cut(name: str) -> Callable[[Path], None]:
    def shorten(dataset: Path) -> None:
        (dataset / name).write_bytes((dataset / name).read_bytes()[:-5])

    return shorten


def describe(split: str, **described: Any) -> Callable[[Path], None]:
    def rewrite(dataset: Path) -> None:
        path = dataset / split / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | described))

    return rewrite


def drop(name: str) -> Callable[[Path], None]:
    return lambda dataset: (dataset / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    def rewrite(dataset: Path) -> None:
        (dataset / name).write_text(text)

    return rewrite


def with_objects(dataset: Path) -> None:
    np.save(dataset / "test/all__labels.npy", np.array([[{}]], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (drop("train/dataset.json"), r"train/dataset.json: missing; expected a dataset as the released code writes it"),
        (drop("test/all__labels.npy"), r"test/all__labels.npy: missing"),
        (drop("identifiers.json"), r"identifiers.json: missing"),
        (cut("train/all__inputs.npy"), r"train/all__inputs.npy: cannot be read as an array"),
        (cut("train/dataset.json"), r"train/dataset.json: cannot be read as JSON"),
        (with_objects, r"test/all__labels.npy: cannot be read as an array .*Python objects"),
        (describe("test", seq_len="many"), r"test/dataset.json: seq_len: Input should be a valid integer"),
        (describe("test", vocab_size=7), r"vocab_size 7, but 5 in train"),
        (describe("train", ignore_label_id=None), r"ignore_label_id None.*expected 0"),
        (describe("train", sets=["all", "more"]), r"sets \['all', 'more'\]; expected .*\['all'\]"),
        (describe("train", total_groups=3), r"all__group_indices.npy: 3 entries, expected 4 for 3 groups"),
        (change("test/all__labels", lambda a: a[:-1]), r"all__labels.npy: 2 rows, expected 3"),
        (change("test/all__inputs", lambda a: a[:, :-1]), r"all__inputs.npy: \[3, 5\], expected \[N, 6\] by seq_len"),
        (change("test/all__inputs", lambda a: a.astype(float)), r"float64 \[3, 6\], expected integers in 2 dim"),
        (change("test/all__inputs", lambda a: a[0]), r"uint8 \[6\], expected integers in 2 dim"),
        (change("test/all__labels", lambda a: a + 9), r"all__labels.npy: tokens \d+ to 1\d from row 0 on, expected 0"),
        (change("train/all__labels", lambda a: a - 100), r"all__labels.npy: tokens -100 to .*expected 0 to 4"),
        (change("train/all__puzzle_identifiers", lambda a: a + 1), r"identifiers 2 to 4, expected 0 to 3"),
        (change("train/all__puzzle_indices", lambda a: a + (a == 6)), r"from 0 to 7, expected .* to 6, the number"),
        (change("train/all__puzzle_indices", lambda a: a[[0, 2, 1, 3]]), r"expected from 0, never falling, to 6"),
        (change("train/all__puzzle_indices", lambda a: a[:-1]), r"3 entries, expected 4 for 3 identifiers"),
        (change("train/all__group_indices", lambda a: a * 2), r"from 0 to 6, expected .* to 3, the number of puzzles"),
        (write("identifiers.json", '["<blank>"]'), r"identifiers.json: 1 names, expected a list of 4"),
        (write("test_puzzles.json", '{"zz": {}}'), r"1 of its 1 tasks are not in identifiers.json, such as zz"),
    ],
)  # fmt: skip
def test_a_torn_or_inconsistent_dataset_is_named(dataset: Path, harm: Callable[[Path], None], told: str) -> None:
    harm(dataset)
    with pytest.raises(BadDataset, match=told):
        open_released(dataset)


def test_a_folder_of_something_else_is_no_released_dataset(tmp_path: Path) -> None:
    assert not is_released(tmp_path)
    with pytest.raises(BadDataset, match="train/dataset.json: missing"):
        open_released(tmp_path)
