"""A thought in a file, thought.npz: numpy alone, so that a report can draw what a run thought and needs no torch.

about      JSON: format, and what of a Thought is text or a number
question, answer, boards, halting    as in Thought; no answer where it is not known
moved      as in Thought, in half precision
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.files import HEADER_ERRORS, check_regular, write_arrays
from trm_core.solving.thought import Thought, printable

NAME = "thought.npz"  # in a run's folder, and among its artefacts
FORMAT = 1
LARGEST_FILE = 1 << 28  # bytes, unpacked
TEXTS = ("name", "puzzle", "model")
VOCABULARY = {"sudoku": 14, "maze": 6, "arc": 12}


class BadThought(ValueError):
    """A thought that is missing, torn or foreign."""


class CannotWriteThought(ValueError):
    """The disk refused it."""


def write_thought(thought: Thought, path: Path) -> None:
    """Write a file whole or not at all; equal thoughts, equal bytes. Raises CannotWriteThought."""
    about = {name: getattr(thought, name) for name in (*TEXTS, "box", "halted_at")}
    about |= {"format": FORMAT, "renewed": "".join(thought.renewed)}
    arrays: dict[str, NDArray[Any]] = {
        "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
        "question": thought.question,
        "boards": thought.boards,
        "halting": thought.halting,
        "moved": thought.moved.astype(np.float16),
    }
    if thought.answer is not None:
        arrays["answer"] = thought.answer
    try:
        write_arrays(path, arrays)
    except OSError as error:
        raise CannotWriteThought(
            f"{path}: not written ({error.strerror or error}); make room or fix the disk, then give the same command"
            " again"
        ) from error


def read_thought(path: Path) -> Thought:
    """The thought in a file. Raises BadThought, one line."""
    try:
        with zipfile.ZipFile(check_regular(path)) as members:
            if sum(member.file_size for member in members.infolist()) > LARGEST_FILE:
                raise ValueError(f"more than {LARGEST_FILE >> 20} MB")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _checked(json.loads(arrays["about"].tobytes()), arrays)
    except FileNotFoundError:
        raise BadThought(f"{path}: not there; runs that ended before thoughts were kept have none") from None
    except (OSError, KeyError, EOFError, zipfile.BadZipFile, *HEADER_ERRORS) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadThought(f"{path}: cannot be read ({reason}); it is torn or foreign, delete it") from None


def _checked(about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Thought:
    """A file's arrays as a thought. Raises ValueError, KeyError or TypeError where they are none."""
    if about["format"] != FORMAT:
        raise ValueError(f"format {about['format']!r:.20}, this version reads {FORMAT}")
    texts = {name: printable(str(about[name]))[:200] for name in TEXTS}
    box, renewed, question = about["box"], str(about["renewed"]), arrays["question"]
    S, T, L = arrays["boards"].shape
    side = math.isqrt(L)
    box = None if box is None else (int(box[0]), int(box[1]))
    shapes = {"question": (L,), "boards": (S, T, L), "halting": (S,), "moved": (S, len(renewed), L)}
    shapes |= {"answer": (L,)} if "answer" in arrays else {}
    if any(arrays[name].shape != shape for name, shape in shapes.items()) or 0 in (S, T, L) or side * side != L:
        raise ValueError(f"shapes { {name: array.shape for name, array in arrays.items()} }")
    if texts["puzzle"] not in VOCABULARY or (texts["puzzle"] == "sudoku") != (box is not None):
        raise ValueError(f"puzzle {texts['puzzle']!r:.20} with box {box}")
    if (box is not None and box[0] * box[1] != side) or not renewed or len(renewed) % T or set(renewed) - set("yz"):
        raise ValueError(f"box {box}, {len(renewed)} recursions, {T} boards a step")
    tokens = [arrays[name] for name in ("question", "boards", "answer") if name in arrays]
    if any(array.dtype != np.uint8 or array.max() >= VOCABULARY[texts["puzzle"]] for array in tokens):
        raise ValueError("tokens that this puzzle has not")
    halting, moved = arrays["halting"].astype(np.float32), arrays["moved"].astype(np.float32)
    if not (np.isfinite(halting).all() and np.isfinite(moved).all() and 0 <= int(about["halted_at"]) <= S):
        raise ValueError("numbers that are not finite, or a halt beyond the last step")
    return Thought(
        **texts,
        box=box,
        question=question,
        answer=arrays.get("answer"),
        boards=arrays["boards"],
        halting=halting,
        halted_at=int(about["halted_at"]),
        moved=moved,
        renewed=tuple(renewed),
    )
