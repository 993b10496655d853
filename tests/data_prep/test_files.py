"""Whatever a byte in a file can do: an OSError or a ValueError of one line, at once."""

from __future__ import annotations

import io
import json
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from data_prep.__main__ import main
from data_prep.files import check_regular, load_array, read_json, whole
from data_prep.puzzle_set import BadManifest, PuzzleSet, content_hash_of


def header(shape: object, descr: str = "|u1", version: tuple[int, int] = (1, 0), data: bytes = b"") -> bytes:
    """An .npy file with this header, whatever it says, and these bytes."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return npy.magic(*version) + len(text).to_bytes(2, "little") + text + data


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.json", "a" * 240])
def test_a_file_is_written_whole_or_what_was_there_stays(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for text in ("first", "second"):
        with whole(path) as partial:
            partial.write_text(text)
        assert path.read_text() == text

    def half_way() -> None:
        with whole(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_way()
    assert path.read_text() == "second"
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(IsADirectoryError), whole(path) as partial:
        partial.write_text("third")
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("array", [np.arange(12, dtype="<i4").reshape(3, 4), np.zeros((0, 4), np.uint8), np.uint8(3)])
def test_an_array_comes_back_read_only(array: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    again = load_array(tmp_path / "a.npy")
    assert np.array_equal(again, array)
    assert again.dtype == np.asarray(array).dtype
    assert not again.flags.writeable


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty file"),
        (b"question,answer\n", r"no \.npy file by its first bytes"),
        (npz(a=np.ones(3)), r"a zip file \(\.npz\)"),
        (header("(-1, 81)", data=b"a" * 81), r"shape \[-1, 81\]"),
        (header("(1000000000000, 81)"), r"bytes, expected 81,000,000,000,\d+ by its header"),
        (header("(10000000000000000000000, 0)", data=b"a"), "1 by its header|bytes, expected"),
        (header("(3,)", data=b"ab"), "bytes, expected"),
        (header("(3,)", data=b"abcd"), "bytes, expected"),
        (header(f"({'(' * 3000}1{',)' * 3000},)"), "its header cannot be read"),
        (header("(" + "9" * 5000 + ",)"), "its header cannot be read"),
        (header("__import__('os').getpid()"), "its header cannot be read"),
        (header("(1,)", descr="|O", data=b"a" * 8), "holds Python objects"),
        (header("(1,)", version=(9, 9)), r"version 9\.9 of the format|cannot be read"),
        (npy.magic(1, 0) + b"\xff\xff{", "its header cannot be read"),
    ],
)
def test_a_file_that_is_no_array_says_what_it_is(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=told) as caught:
        load_array(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("[Infinity]", "Infinity is no number of JSON's"),
        ("[-Infinity, NaN]", "-Infinity is no number"),
        ("9" * 5000, "Exceeds the limit"),
        ("{", "Expecting"),
        ("", "Expecting"),
        ("[1, 2, 3]", "9 bytes, expected at most 8"),
    ],
)
def test_json_that_nobody_should_read_is_a_value_error_of_a_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=told) as caught:
        read_json(tmp_path / "a.json", *([8] if "at most" in told else []))
    assert "\n" not in str(caught.value)
    (tmp_path / "a.json").write_bytes(b'"\xff"')
    with pytest.raises(ValueError, match="byte 1 is not UTF-8"):
        read_json(tmp_path / "a.json")


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(tmp_path, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/socket" if Path("/proc/self/fd").exists() else str(tmp_path / "socket"))
        os.close(here)
    for path, told in (
        (tmp_path / "pipe", "a pipe, not a file"),
        (tmp_path / "socket", "a socket, not a file"),
        (Path("/dev/zero"), "a device, not a file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file"),
        (tmp_path / ("n" * 300), "File name too long"),
        (Path("a\0b"), "no path can have a NUL in it"),
    ):
        with pytest.raises(OSError, match=told):
            check_regular(path)


def manifest_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def rewritten(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """A set whose manifest says something else, and has the hash that goes with it: nobody's slip."""

    def harm(folder: Path) -> None:
        manifest = PuzzleSet.open(folder).manifest.model_dump(mode="json")
        change(manifest)
        entries = PuzzleSet.open(folder).manifest.arrays
        (folder / "manifest.json").write_text(
            json.dumps(manifest | {"content_hash": content_hash_of(manifest, entries)})
        )

    return harm


def replaced(name: str, content: bytes) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return harm


def a_pipe(name: str) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return harm


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (replaced("test_inputs.npy", npz(a=np.ones(3))), r"test_inputs\.npy: cannot be read as .*\(a zip file"),
        (replaced("test_inputs.npy", header("(-12, 36)", data=b"a" * 432)), r"shape \[-12, 36\]"),
        (replaced("manifest.json", b"[" * 200_000), r"manifest\.json: .*recursion limit"),
        (replaced("manifest.json", b'{"cells": ' + b"9" * 5000 + b"}"), r"manifest\.json: "),
        (replaced("manifest.json", b'{"cells": Infinity}'), r"manifest\.json: "),
        (replaced("manifest.json", b"\xff"), r"manifest\.json: byte 0 is not UTF-8"),
        (a_pipe("manifest.json"), r"manifest\.json: cannot be read \(a pipe, not a file\)"),
        (a_pipe("train_labels.npy"), r"train_labels\.npy: cannot be read as .*\(a pipe, not a file\)"),
        (
            rewritten(lambda manifest: manifest.update(vocab=3)),
            r"tokens 1 to 7 in \w+, expected 0 to 2 by the manifest",
        ),
        (rewritten(lambda manifest: manifest.update(n_puzzle_ids=0)), "identifiers 0 to 0 in train, expected 0 to -1"),
    ],
)
def test_a_set_that_somebody_spoilt_is_told_in_one_line_at_once(
    harm: Callable[[Path], None], told: str, small_set: PuzzleSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_set.save(tmp_path / "set")
    harm(tmp_path / "set")
    with pytest.raises(BadManifest, match=told):
        PuzzleSet.open(tmp_path / "set")
    for command in (["verify"], ["show"]):
        assert main([*command, str(tmp_path / "set"), *(["0"] if command == ["show"] else [])]) == 2
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)


def test_groups_that_point_beyond_the_identifiers_are_refused(tasks: PuzzleSet, tmp_path: Path) -> None:
    assert tasks.groups is not None
    starts = tasks.groups.starts[::-1].copy()
    spoilt = type(tasks.groups)(tasks.groups.names, starts, tasks.groups.variants)
    facts = tasks.manifest.model_dump(exclude={"counts", "arrays", "content_hash"})
    PuzzleSet.build(dict(tasks.splits), groups=spoilt, **facts).save(tmp_path / "set")
    with pytest.raises(BadManifest, match="groups_starts runs from"):
        PuzzleSet.open(tmp_path / "set")


def test_a_zip_bomb_called_npy_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npy", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("a.npy", header("(100000000,)", data=bytes(1 << 20)))
    with pytest.raises(ValueError, match="a zip file"):
        load_array(tmp_path / "a.npy")


@pytest.mark.parametrize("path", ["n" * 300, "a\0b"])
def test_a_path_that_cannot_be_is_told_in_one_line_by_every_command(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["verify", path],
        ["show", path, "0"],
        ["sudoku", "--source", path, "--out", str(tmp_path / "set")],
        ["maze", "--source", path, "--out", str(tmp_path / "set")],
        ["arc", "--source", path, "--out", str(tmp_path / "set")],
        ["sudoku", "--source", "generate", "--train", "1", "--validation", "0", "--test", "1", "--out", path],
    ):
        try:
            code = main(command)
        except SystemExit as ended:  # argparse
            code = int(str(ended.code))
        assert code == 2, command
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1), command
