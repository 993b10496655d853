"""The file of outcomes: what is written is read, anything else is refused in a line."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.sudoku import generate
from trm_core.outcomes import (
    BadOutcomes,
    CannotWriteOutcomes,
    Outcomes,
    Place,
    halting_scores,
    hash_of_test_set,
    read_outcomes,
    write_outcomes,
)


def outcomes(n: int = 21, N_sup: int = 16) -> Outcomes:
    random = np.random.default_rng(n)
    steps = np.uint8 if N_sup < 256 else np.uint16
    return Outcomes(
        test_set="a" * 64,
        data_hash="b" * 64,
        step=100,
        N_sup=N_sup,
        solved=random.random(n) < 0.5,
        settled_at=random.integers(1, N_sup + 1, n).astype(steps),
        halted_at=random.integers(0, N_sup + 1, n).astype(steps),
        solved_when_halted=random.random(n) < 0.5,
        reliability=random.random((10, 3)),
        places=(Place("a_task", 0, 2), Place("ä" * 3, 1, 0)),
    )


@pytest.mark.parametrize(("n", "N_sup"), [(21, 16), (8, 300), (0, 4)])
def test_what_is_written_is_read_and_equal_outcomes_are_equal_bytes(tmp_path: Path, n: int, N_sup: int) -> None:
    wanted = outcomes(n, N_sup)
    for name in ("a.npz", "b.npz"):
        write_outcomes(wanted, tmp_path / name)
    found = read_outcomes(tmp_path / "a.npz", test_set="a" * 64)
    for name, value in vars(wanted).items():
        assert np.array_equal(getattr(found, name), value), name
        assert getattr(getattr(found, name), "dtype", None) == getattr(value, "dtype", None)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_how_puzzles_were_stopped_is_kept_and_nothing_but_the_two_ways_is_read(tmp_path: Path) -> None:
    write_outcomes(replace(outcomes(), halt="settled"), tmp_path / "o.npz")
    assert read_outcomes(tmp_path / "o.npz").halt == "settled"
    write_outcomes(replace(outcomes(), halt="at will"), tmp_path / "o.npz")
    with pytest.raises(BadOutcomes, match="halt 'at will', expected never or settled"):
        read_outcomes(tmp_path / "o.npz")


def test_how_hard_puzzles_are_rated_is_kept_with_them_and_is_one_number_each(tmp_path: Path) -> None:
    rated = replace(outcomes(), ratings=np.arange(21, dtype=np.int32))
    write_outcomes(rated, tmp_path / "o.npz")
    found = read_outcomes(tmp_path / "o.npz").ratings
    assert found is not None
    assert found.tolist() == list(range(21))
    for n, dtype in ((20, np.int32), (21, np.float64)):
        write_outcomes(replace(rated, ratings=np.arange(n).astype(dtype)), tmp_path / "o.npz")
        with pytest.raises(BadOutcomes, match="ratings is"):
            read_outcomes(tmp_path / "o.npz")


def test_a_puzzle_weighs_a_bit_and_a_byte_each(tmp_path: Path) -> None:
    small, large = outcomes(1000), outcomes(101_000)
    sizes = []
    for found in (small, large):
        write_outcomes(found, tmp_path / "o.npz")
        sizes.append((tmp_path / "o.npz").stat().st_size)
    assert sizes[1] - sizes[0] <= 100_000 * (2 + 2 / 8)


def test_another_test_set_is_refused_in_one_line(tmp_path: Path) -> None:
    write_outcomes(outcomes(), tmp_path / "o.npz")
    with pytest.raises(
        BadOutcomes, match=r"o\.npz: of test set aaaaaaaaaaaa…, expected cccccccccccc…; compare"
    ) as told:
        read_outcomes(tmp_path / "o.npz", test_set="c" * 64)
    assert "\n" not in str(told.value)


def test_a_test_set_is_known_by_its_puzzles_alone() -> None:
    asked: dict[str, Any] = {"validation": 4, "test": 6, "clues": 7}
    a, b = (generate(2, 2, train=train, seed=0, **asked) for train in (8, 9))
    other = generate(2, 2, train=8, seed=1, **asked)
    alike = replace(b, splits={**b.splits, "test": a.test})
    rebuilt = type(b).build(
        alike.splits, **b.manifest.model_dump(exclude={"counts", "arrays", "content_hash", "format"})
    )
    assert rebuilt.content_hash != a.content_hash
    assert hash_of_test_set(rebuilt.manifest) == hash_of_test_set(a.manifest)
    assert hash_of_test_set(other.manifest) != hash_of_test_set(a.manifest)


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _whole() -> dict[str, Any]:
    about = b'{"format": 1, "test_set": "a", "data_hash": "b", "step": 1, "N_sup": 4, "puzzles": 3}'
    bits, steps = np.zeros(1, np.uint8), np.ones(3, np.uint8)
    return {
        "about": np.frombuffer(about, np.uint8),
        "solved": bits,
        "settled_at": steps,
        "halted_at": steps,
        "solved_when_halted": bits,
        "reliability": np.zeros((10, 3)),
    }


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04 torn", "cannot be read"),
        (_npz(a=np.zeros(3)), "cannot be read"),
        (_npz(**_whole() | {"solved": np.array([{}], dtype=object)}), "allow_pickle=False"),
        (_npz(**_whole() | {"settled_at": np.ones(4, np.uint8)}), r"settled_at is uint8 \[4\], expected \[3\]"),
        (_npz(**_whole() | {"halted_at": np.full(3, 5, np.uint8)}), "a step beyond the last, 4"),
        (_npz(**_whole() | {"about": np.frombuffer(b'{"format": 2}', np.uint8)}), "cannot be read"),
        (_npz(**_whole() | {"about": np.frombuffer(b"[]", np.uint8)}), "cannot be read"),
        (_npz(**_whole() | {"reliability": np.full((10, 3), np.nan)}), "reliability is not finite"),
    ],
)
def test_what_is_torn_or_foreign_is_refused_in_one_line(tmp_path: Path, file: bytes, told: str) -> None:
    (tmp_path / "o.npz").write_bytes(file)
    with pytest.raises(BadOutcomes, match=told) as refused:
        read_outcomes(tmp_path / "o.npz")
    assert "\n" not in str(refused.value)
    assert "evaluate again" in str(refused.value)


def test_the_whole_file_of_those_tests_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "o.npz").write_bytes(_npz(**_whole()))
    assert len(read_outcomes(tmp_path / "o.npz")) == 3


def test_a_file_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "o.npz", "w", zipfile.ZIP_DEFLATED) as file, file.open("about.npy", "w") as member:
        for _ in range(1100):
            member.write(bytes(1 << 20))
    with pytest.raises(BadOutcomes, match="more than 1024 MB"):
        read_outcomes(tmp_path / "o.npz")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadOutcomes, match="not there.*--outcomes"):
        read_outcomes(tmp_path / "o.npz")


def test_a_place_that_takes_no_file_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "o.npz").mkdir()
    with pytest.raises(CannotWriteOutcomes, match="not written"):
        write_outcomes(outcomes(), tmp_path / "o.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["o.npz"]


def test_no_puzzle_no_score() -> None:
    assert halting_scores(outcomes(0)) == {}
