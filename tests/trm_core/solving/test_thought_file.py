"""thought.npz: what is written is read, anything else is refused in a line."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trm_core.solving.conftest import by_hand
from trm_core.solving.picture import png, strip
from trm_core.solving.thought_file import BadThought, CannotWriteThought, read_thought, write_thought


@pytest.mark.parametrize("answer", [True, False])
def test_what_is_written_is_read_and_drawn_alike(tmp_path: Path, answer: bool) -> None:
    thought = by_hand() if answer else replace(by_hand(), answer=None)
    for name in ("a.npz", "b.npz"):
        write_thought(thought, tmp_path / name)
    found = read_thought(tmp_path / "a.npz")
    for name, value in vars(thought).items():
        if name == "moved":
            assert found.moved == pytest.approx(thought.moved, abs=1e-3)
        elif name != "counts":
            assert np.array_equal(getattr(found, name), value), name
    assert png(strip(found)) == png(strip(thought))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def _with(thought: dict[str, Any], **arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{**thought, **arrays})
    return file.getvalue()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"boards": np.zeros((3, 1, 9), np.uint8)}, "shapes"),
        ({"boards": np.full((3, 1, 16), 200, np.uint8)}, "tokens that this puzzle has not"),
        ({"halting": np.full(3, np.nan, np.float32)}, "not finite"),
        ({"about": np.frombuffer(b'{"format": 9}', np.uint8)}, "format 9, this version reads 1"),
        ({"about": np.frombuffer(b"{", np.uint8)}, "cannot be read"),
        ({"question": np.array([None] * 16, dtype=object)}, "allow_pickle=False"),
    ],
    ids=str,
)
def test_what_is_torn_or_foreign_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = tmp_path / "t.npz"
    write_thought(by_hand(), path)
    with np.load(path) as file:
        arrays = dict(file)
    path.write_bytes(_with(arrays))
    read_thought(path)
    path.write_bytes(_with(arrays, **change))
    with pytest.raises(BadThought, match=told) as refused:
        read_thought(path)
    assert "\n" not in str(refused.value)


def test_a_name_that_would_write_to_the_terminal_is_shown_as_question_marks(tmp_path: Path) -> None:
    write_thought(replace(by_hand(), name="\x1b[2Ja\nb"), tmp_path / "t.npz")
    assert read_thought(tmp_path / "t.npz").name == "?[2Ja?b"


def test_files_that_are_not_there_or_not_taken_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadThought, match="not there"):
        read_thought(tmp_path / "t.npz")
    (tmp_path / "t.npz").mkdir()
    with pytest.raises(CannotWriteThought, match="not written"):
        write_thought(by_hand(), tmp_path / "t.npz")
