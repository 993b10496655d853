"""What can become of a file: torn, damaged, filled with what nobody expects, or no file any more. Seeded."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**63, 10**400, 1e308, float("inf"), float("nan"), "", "²", "1e999", "nan", "\0", "\n"),
    *(
        "\x1b[31mred",
        "=1+1",
        "\\input{x}",
        "../../../etc/passwd",
        "/dev/zero",
        "x" * 5000,
        [],
        {},
        [[]],
        [1, "a", None],
    ),
)
DEEP = "[" * 20_000 + "]" * 20_000


def mutate(path: Path, draw: random.Random) -> str:
    """Do one thing to a file that is there; what, in words."""
    if path.suffix == ".db" and draw.random() < 0.6:
        return _in_a_table(path, draw)
    kinds = [*ANY, *(JSON if path.suffix in (".json", ".jsonl") else ())]
    if path.suffix in (".csv", ".py", ".jsonl", ".json"):
        kinds += TEXT
    kind = draw.choice(kinds)
    kind(path, draw)
    return str(kind.__name__).strip("_").replace("_", " ")


# --- any file --------------------------------------------------------------------------------------------------------


def _truncated(path: Path, draw: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: draw.randrange(len(data) + 1)])


def _emptied(path: Path, draw: random.Random) -> None:
    path.write_bytes(b"")


def _bytes_changed(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 8, 200))):
        if data:
            data[draw.randrange(len(data))] = draw.randrange(256)
    path.write_bytes(data)


def _first_bytes_changed(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for at in range(min(draw.choice((1, 8, 64)), len(data))):
        data[at] = draw.randrange(256)
    path.write_bytes(data)


def _grown(path: Path, draw: random.Random) -> None:
    with path.open("ab") as file:
        file.write(draw.choice((b"\0" * 4096, b"x" * 100_000, b"\n\n\n", draw.randbytes(500))))


def _no_file_any_more(path: Path, draw: random.Random) -> None:
    path.unlink()


def _a_folder(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _a_pipe(path: Path, draw: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_link_to_nowhere(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.symlink_to(draw.choice(("/no/such/file", path.name, "/dev/full")))


def _another_file(path: Path, draw: random.Random) -> None:
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)
    if others:
        shutil.copyfile(draw.choice(others), path)
    else:
        path.write_bytes(b"PK\x03\x04" + draw.randbytes(200))


ANY = (
    *(_truncated, _emptied, _bytes_changed, _first_bytes_changed, _grown, _no_file_any_more, _a_folder, _a_pipe),
    *(_a_link_to_nowhere, _another_file),
)


# --- text ------------------------------------------------------------------------------------------------------------


def _line_dropped(path: Path, draw: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    if lines:
        del lines[draw.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def _line_doubled(path: Path, draw: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    if lines:
        at = draw.randrange(len(lines))
        lines.insert(draw.randrange(len(lines) + 1), lines[at])
    path.write_bytes(b"".join(lines))


def _with_a_mark_and_crlf(path: Path, draw: random.Random) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))


def _as_utf16(path: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes().decode("utf-8", "replace").encode("utf-16"))


def _a_word_changed(path: Path, draw: random.Random) -> None:
    words = path.read_bytes().split(b" ")
    words[draw.randrange(len(words))] = draw.choice((b"\xff\xfe", b"\0", b"1" * 5000, b"\xc2\xb2", b"nan", b"-1", b"'"))
    path.write_bytes(b" ".join(words))


TEXT = (_line_dropped, _line_doubled, _with_a_mark_and_crlf, _as_utf16, _a_word_changed)


# --- JSON, whole or line by line -------------------------------------------------------------------------------------


def _value_changed(path: Path, draw: random.Random) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    at = draw.randrange(len(lines))
    document = json.loads(lines[at])
    for _ in range(draw.choice((1, 1, 3))):
        places = list(_places(document))
        if places:
            container, name = draw.choice(places)
            if draw.random() < 0.2 and isinstance(container, dict):
                del container[name]
            else:
                container[name] = draw.choice(HOSTILE_VALUES)
    lines[at] = json.dumps(document)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _very_deep(path: Path, draw: random.Random) -> None:
    if path.suffix == ".jsonl":
        with path.open("a") as file:
            file.write(DEEP + "\n")
    else:
        path.write_text(DEEP)


def _another_document(path: Path, draw: random.Random) -> None:
    path.write_text(json.dumps(draw.choice(HOSTILE_VALUES)))


JSON = (_value_changed, _value_changed, _value_changed, _value_changed, _very_deep, _another_document)


def _places(document: Any) -> Any:
    """(container, key) of every value in it."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, value in items:
        yield document, name
        yield from _places(value)


# --- a database ------------------------------------------------------------------------------------------------------


def _in_a_table(path: Path, draw: random.Random) -> str:
    """A value somewhere in MLflow's or Optuna's tables."""
    with sqlite3.connect(path) as database:
        database.text_factory = lambda data: data.decode("utf-8", "replace")
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        filled = [name for name in tables if database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]]
        table = draw.choice(filled)
        columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
        column = draw.choice(columns)
        rows = [row for (row,) in database.execute(f'SELECT rowid FROM "{table}"')]
        row = draw.choice(rows)
        try:
            if draw.random() < 0.15:
                database.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (row,))
                return f"row deleted in {table}"
            value = draw.choice(
                [one for one in HOSTILE_VALUES if isinstance(one, (str, float, type(None))) or one == -1]
            )
            database.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (value, row))
        except sqlite3.Error as error:
            return f"nothing ({error})"
    return f"{table}.{column} = {str(value)[:20]!r}"
