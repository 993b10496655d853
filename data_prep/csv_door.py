"""The one door for puzzles in CSV files: whatever people's programs make of `source,question,answer,rating`.

The published files go through as they are. Only a file that a reader stumbles over, since a spreadsheet, pandas or
another publisher has written it, is brought into their form: a byte-order mark and quotes go, columns are found by
their names in any order, empty lines and columns of no use here are passed over, a rating may be `3.0` or missing.
What was understood is told, a sentence each. Spaces are cells of mazes: no board is stripped.
"""

import codecs
import csv
import io
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data_prep.building import HEADER, BadPuzzleFile, read_bytes
from data_prep.files import check_regular
from data_prep.puzzle_set import sha256_of

QUESTIONS = ("question", "quizzes", "puzzle", "quiz")  # the names that a column goes by, lower case
ANSWERS = ("answer", "solutions", "solution")
RATING = "rating"
NO_RATING = ("", "nan", "none", "null")
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
NAMES = "question and answer, quizzes and solutions, or puzzle and solution"


Read = TypeVar("Read")
NO_COMMAS = str.maketrans(dict.fromkeys(",\r\n", "?"))  # in a board, where they are foreign in any case


@dataclass(frozen=True)
class PuzzleLines:
    """A puzzle file in the published form, header included. data: uint8 [bytes]."""

    path: Path
    data: NDArray[np.uint8]
    sha256: str  # of the file as it lies
    lines: NDArray[np.int64] | None = None  # of the file, of each row; None: row i is line i + 2
    notes: tuple[str, ...] = ()  # what was understood; empty for a file in that form

    def line(self, row: int) -> int:
        """The line of the file that a row is from, counted from 1."""
        return row + 2 if self.lines is None else int(self.lines[row])


def read_puzzles(path: Path, read: Callable[[PuzzleLines], Read], *, unrated: str = "") -> Read:
    """What `read` makes of a file, as it lies or, where it raises BadPuzzleFile, brought into the published form.

    unrated: what stands there for a rating that the file does not have.
    """
    data = read_bytes(path)
    file = PuzzleLines(path, data, sha256_of(data))
    header, _, _ = bytes(data[:200]).partition(b"\n")
    if header.rstrip(b"\r") == HEADER:
        try:
            return read(file)
        except BadPuzzleFile:  # told with what is wrong with it in any form
            pass
    return read(_understood(file, unrated))


def first_board(path: Path, most_bytes: int = 1 << 16) -> int | None:
    """How many characters the first question of a file has; None where none is to be read."""
    try:
        with check_regular(path).open("rb") as file:
            head = file.read(most_bytes)
        table = _Table(path, head.rpartition(b"\n")[0] or head)
        return next((len(row[table.question]) for _, row in table.rows() if any(row)), None)
    except (OSError, BadPuzzleFile):
        return None


def _understood(file: PuzzleLines, unrated: str) -> PuzzleLines:
    """The file in the published form, what has no name there left out. Raises BadPuzzleFile."""
    table = _Table(file.path, file.data.tobytes())
    lines, out, n_unrated, n_blank = [], bytearray(HEADER + b"\n"), 0, 0
    for line, row in table.rows():
        if not any(row):
            n_blank += 1
            continue
        rating = "" if table.rating is None else _whole(row[table.rating])
        n_unrated += not rating
        question, answer = (row[column].translate(NO_COMMAS) for column in (table.question, table.answer))
        out += f",{question},{answer},{rating or unrated}\n".encode("latin-1")
        lines.append(line)
    name, notes = file.path.name, list(table.notes)
    if n_blank:
        notes.append(f"{n_blank} empty {'line' if n_blank == 1 else 'lines'} passed over")
    if n_unrated:
        notes.append("no rating" if n_unrated == len(lines) else f"no rating in {n_unrated:,} of {len(lines):,} lines")
    return PuzzleLines(
        file.path,
        np.frombuffer(bytes(out), dtype=np.uint8),
        file.sha256,
        np.array(lines, dtype=np.int64),
        tuple(f"{name}: {note}" for note in notes),
    )


class _Table:
    """A CSV file with the columns that matter found; raises BadPuzzleFile where they are not."""

    def __init__(self, path: Path, raw: bytes) -> None:
        for bom in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            if raw.startswith(bom):
                raise BadPuzzleFile(f"{path}: UTF-16 text, expected UTF-8; save it again as CSV in UTF-8")
        self.path = path
        # One byte is one character, so that a foreign one is named as it stands in the file.
        self.text = raw.removeprefix(codecs.BOM_UTF8).decode("latin-1")
        first = self.text.partition("\n")[0].rstrip("\r")
        self.delimiter = next((one for one in DELIMITERS if len(_known(_fields(first, one))) > 1), ",")
        self.names = [name.strip() for name in _fields(first, self.delimiter)]
        self.question, self.answer, self.rating = _columns(path, first, self.names)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was understood of the header."""
        names, known = self.names, (self.question, self.answer, self.rating)
        notes = []
        if [names[self.question].lower(), names[self.answer].lower()] != ["question", "answer"]:
            notes.append(f"{names[self.question]} taken for the questions, {names[self.answer]} for the answers")
        if self.delimiter != ",":
            notes.append(f"fields parted by {DELIMITERS[self.delimiter]}")
        others = [name or "a column without a name" for i, name in enumerate(names) if i not in known]
        if others := [name for name in others if name.lower() != "source"]:
            notes.append(f"passed over: {', '.join(others)}"[:160])
        return tuple(notes)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """(line of the file, fields) of each row; raises BadPuzzleFile for one of another length than the header."""
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.delimiter)
        ends = 0
        while True:
            begins = ends + 1
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise BadPuzzleFile(
                    f"{self.path}, line {begins}: no CSV ({error}), expected every quote closed; correct the line"
                ) from error
            if row is None:
                return
            ends = reader.line_num
            if any(row) and len(row) != len(self.names):
                raise BadPuzzleFile(
                    f"{self.path}, line {begins}: {len(row)} fields, expected {len(self.names)} "
                    f"({','.join(self.names)[:60]}); correct the line or remove it"
                )
            if begins > 1:
                yield begins, row


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _known(names: list[str]) -> list[str]:
    """Those of the names that stand for a board or a rating."""
    return [name for name in names if name.strip().lower() in (*QUESTIONS, *ANSWERS, RATING)]


def _columns(path: Path, first: str, names: list[str]) -> tuple[int, int, int | None]:
    """Where the question, the answer and the rating stand."""
    lower = [name.lower() for name in names]
    for name in (*QUESTIONS, *ANSWERS, RATING):
        if lower.count(name) > 1:
            raise BadPuzzleFile(f"{path}, line 1: {lower.count(name)} columns {name!r}, expected one; rename the rest")
    question, answer = (
        next((lower.index(name) for name in known if name in lower), None) for known in (QUESTIONS, ANSWERS)
    )
    if question is not None and answer is not None:
        return question, answer, lower.index(RATING) if RATING in lower else None
    shown = first[:60].encode("ascii", "backslashreplace").decode()
    if any(len(name) >= 16 and math.isqrt(len(name)) ** 2 == len(name) for name in _fields(first, ",")):
        raise BadPuzzleFile(
            f"{path}, line 1: a puzzle ({shown!r}), expected the names of the columns; put {HEADER.decode()!r} above it"
        )
    raise BadPuzzleFile(
        f"{path}, line 1: columns {shown!r}, expected {NAMES} among them, as in {HEADER.decode()!r}; give the two "
        "columns of boards these names"
    )


def _whole(rating: str) -> str:
    """A rating as the published files write it: 3 for 3.0, nothing for nan; what is none is left for the reader."""
    rating = rating.strip()
    if rating.lower() in NO_RATING:
        return ""
    found = re.fullmatch(r"(-?[0-9]{1,10})\.0*", rating)
    return found[1] if found else rating.translate(NO_COMMAS)
