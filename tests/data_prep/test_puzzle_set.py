import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_prep.puzzle_set import BadManifest, CannotSave, Manifest, OtherContent, PuzzleSet
from data_prep.sudoku import from_csv, generate


@pytest.fixture
def saved(small_set: PuzzleSet, tmp_path: Path) -> Path:
    small_set.save(tmp_path / "set")
    return tmp_path / "set"


def test_what_is_opened_is_what_was_saved_and_it_is_mapped_read_only(small_set: PuzzleSet, saved: Path) -> None:
    opened = PuzzleSet.open(saved)
    assert opened.manifest == small_set.manifest
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 30, "validation": 10, "test": 12}
    for name, split in small_set.splits.items():
        for key, array in split.arrays().items():
            mapped = opened.splits[name].arrays()[key]
            assert isinstance(mapped, np.memmap)
            assert not mapped.flags.writeable
            assert mapped.dtype == array.dtype
            assert np.array_equal(mapped, array)


def test_the_manifest_tells_geometry_and_counts(small_set: PuzzleSet) -> None:
    manifest = small_set.manifest
    assert (small_set.cells, small_set.vocab, small_set.n_puzzle_ids) == (36, 8, 1)
    assert (manifest.puzzle, manifest.box_rows, manifest.box_cols) == ("sudoku", 2, 3)
    assert manifest.counts == {"train": 30, "validation": 10, "test": 12}
    assert small_set.test.puzzle_ids.tolist() == [0] * 12


def test_sudoku_sets_keep_the_content_hash_they_have_always_had(sudoku_extreme: Path) -> None:
    made = generate(2, 2, train=6, validation=2, test=3, seed=1)
    assert made.content_hash == "354aea7e3dd713863b4a77abc8c4bb073c04bb9650c320d798524cf11ca58db5"
    read = from_csv(sudoku_extreme, train=20, validation=5, test=7, seed=1)
    assert read.content_hash == "b78e6a700fe55516e4e2f8fbe0d9bc2ac4c1cf6adb76e8cfb34bec32e344adb7"


def test_two_saved_builds_are_byte_identical(saved: Path, tmp_path: Path) -> None:
    generate(2, 3, train=30, validation=10, test=12, seed=3).save(tmp_path / "again")
    names = sorted(path.name for path in saved.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    assert len(names) == 3 * 4 + 1
    assert all((saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_an_empty_split_is_saved_and_opened(tmp_path: Path) -> None:
    puzzles = generate(2, 2, train=2, validation=0, test=1, seed=0).save(tmp_path / "set")
    assert len(puzzles.validation) == 0
    assert PuzzleSet.open(tmp_path / "set").validation.inputs.shape == (0, 16)


def test_a_changed_byte_is_named_by_its_array(saved: Path) -> None:
    path = saved / "test_labels.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadManifest, match=r"test_labels has sha256 .* the manifest says .*; delete the folder"):
        PuzzleSet.open(saved)
    assert PuzzleSet.open(saved, verify=False).cells == 36


def test_a_truncated_array_is_named(saved: Path) -> None:
    path = saved / "train_inputs.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BadManifest, match=r"train_inputs\.npy: cannot be read as \|u1 \[30, 36\]"):
        PuzzleSet.open(saved, verify=False)


def test_a_missing_array_is_named(saved: Path) -> None:
    (saved / "validation_ratings.npy").unlink()
    with pytest.raises(BadManifest, match=r"validation_ratings\.npy: missing"):
        PuzzleSet.open(saved)


@pytest.mark.parametrize(
    ("array", "found"),
    [(np.zeros((30, 36), dtype=np.int64), r"<i8 \[30, 36\]"), (np.zeros((29, 36), dtype=np.uint8), r"\|u1 \[29, 36\]")],
)
def test_an_array_of_another_dtype_or_shape_is_named_with_both(saved: Path, array: np.ndarray, found: str) -> None:
    np.save(saved / "train_labels.npy", array)
    with pytest.raises(BadManifest, match=rf"train_labels\.npy: {found}, the manifest says \|u1 \[30, 36\]"):
        PuzzleSet.open(saved, verify=False)


def test_an_array_that_would_run_code_when_unpickled_is_refused(saved: Path) -> None:
    np.save(saved / "train_labels.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(BadManifest, match="train_labels"):
        PuzzleSet.open(saved)


def change(saved: Path, old: str, new: str) -> None:
    path = saved / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"train": 30', '"train": 31', r"train_inputs is \|u1 \[30, 36\], expected \|u1 \[31, 36\] by the manifest"),
        ('"vocab": 8', '"vocab": 9', r"content hash .*, the manifest says"),
        ('"format": 1', '"format": 2', r"format: Input should be 1, found 2"),
        ('"puzzle"', '"puzle"', r"puzzle: Field required"),
        ('"protocol"', '"colour": 3, "protocol"', r"colour: Extra inputs are not permitted, found 3"),
        ("{", "[", r"manifest\.json: the whole file: Invalid JSON"),
        ('"test_inputs"', '"test_input"', r"array test_inputs is not listed"),
    ],
)
def test_a_manifest_that_does_not_fit_says_where(saved: Path, old: str, new: str, message: str) -> None:
    change(saved, old, new)
    with pytest.raises(BadManifest, match=message) as caught:
        PuzzleSet.open(saved)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(f"delete the folder {saved} and give the same command again")


def test_a_folder_without_a_manifest_is_no_puzzle_set(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match=r"no manifest\.json there"):
        PuzzleSet.open(tmp_path)
    with pytest.raises(BadManifest, match=r"no manifest\.json there"):
        PuzzleSet.open(tmp_path / "nowhere")


def test_saving_the_same_set_again_keeps_the_folder_and_another_set_is_refused(
    small_set: PuzzleSet, saved: Path
) -> None:
    before = (saved / "manifest.json").stat().st_mtime_ns
    assert small_set.save(saved).content_hash == small_set.content_hash
    assert (saved / "manifest.json").stat().st_mtime_ns == before
    other = generate(2, 3, train=2, validation=0, test=0, seed=4)
    with pytest.raises(OtherContent, match=r"holds another puzzle set .*; choose another folder or delete this one"):
        other.save(saved)
    assert PuzzleSet.open(saved).content_hash == small_set.content_hash


def test_a_folder_of_something_else_is_never_written_into(small_set: PuzzleSet, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OtherContent, match="exists and holds no puzzle set"):
        small_set.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_current_folder_is_not_replaced_under_whoever_stands_in_it(
    small_set: PuzzleSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for folder in (".", here, "../here"):
        with pytest.raises(CannotSave, match="the current folder, expected one that a set can replace"):
            small_set.save(folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]
    small_set.save("set").save("set")
    monkeypatch.chdir("set")
    assert small_set.save(".").content_hash == small_set.content_hash  # it is there already


@pytest.mark.parametrize("name", ["set", "new/deep/set"])
def test_a_disk_that_fills_leaves_nothing_behind(small_set: PuzzleSet, tmp_path: Path, name: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))  # bytes a file may have, a real refusal by the system
    try:
        with pytest.raises(CannotSave, match="nothing was left there; make room"):
            small_set.save(tmp_path / "data" / "set")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    assert small_set.save(tmp_path / name).content_hash == small_set.content_hash


KILLED = """
import os, signal, sys, numpy
from data_prep.sudoku import generate
puzzles = generate(2, 3, train=30, validation=10, test=12, seed=3)
written = []
def save(file, array, **options):
    if len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(array)
    file.write(b"half")
numpy.save = save
puzzles.save(sys.argv[1])
"""


def test_what_a_killed_build_left_is_never_opened_and_the_next_build_removes_it(
    small_set: PuzzleSet, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=root, check=False)
    assert ended.returncode == -9
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".set.partial-")
    assert len(list(leftover.iterdir())) == 4
    with pytest.raises(BadManifest):
        PuzzleSet.open(folder)
    running = leftover.with_name(leftover.name.rpartition("-")[0] + f"-{os.getppid()}")
    running.mkdir()
    small_set.save(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["set", running.name])


def test_a_set_travels_to_another_process_by_pickle(saved: Path) -> None:
    opened = PuzzleSet.open(saved)
    arrived = pickle.loads(pickle.dumps(opened))
    arrived.verify(saved)
    assert arrived.manifest == opened.manifest


def test_a_manifest_is_frozen(small_set: PuzzleSet) -> None:
    with pytest.raises(ValueError, match="frozen"):
        small_set.manifest.seed = 1  # type: ignore[misc]
    assert "arrays" in Manifest.model_fields
