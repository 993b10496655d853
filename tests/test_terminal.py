"""Every command, on a terminal that knows no letter beyond ASCII: question marks, never a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from trm_core.command_line import settle_output

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = [
    ("data_prep", "--help"),
    ("data_prep", "verify", "no/λ ² …"),
    ("trm_core", "--help"),
    ("trm_core", "evaluate", "no/λ ² …", "data"),
    ("trm_core.official", "import", "no/λ ² …", "out"),
    ("trm_core.parity", "no/λ ² …"),
    ("reports", "recursion_depth", "--tracking", "no/λ ² …"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_a_terminal_cannot_encode_is_replaced(command: tuple[str, ...], tmp_path: Path) -> None:
    poor = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    answer = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=poor, capture_output=True)
    said = (answer.stdout + answer.stderr).decode("ascii")
    assert answer.returncode == (0 if "--help" in command else 2)
    assert "Traceback" not in said
    assert ("?" in said) == ("--help" not in command)


class Window:
    """A stand-in for a stream, as a notebook or a logger puts one there: no TextIOWrapper, and poor in letters."""

    encoding = "cp1252"

    def __init__(self) -> None:
        self.shown = ""

    def write(self, text: str) -> int:
        self.shown += text.encode(self.encoding).decode(self.encoding)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_a_stream_that_is_no_file_replaces_too(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window()
    monkeypatch.setattr(sys, "stdout", window)
    monkeypatch.setattr(sys, "stderr", window)
    settle_output()
    print("λ … ±")
    print("λ", file=sys.stderr, flush=True)
    sys.stdout.writelines(["→", "\n"])
    assert window.shown == "? … ±\n?\n?\n"
    assert sys.stdout.isatty()


@pytest.mark.parametrize("stream", [None, io.StringIO(), "closed"], ids=["none", "text", "closed"])
def test_a_stream_that_takes_all_text_or_none_is_left(monkeypatch: pytest.MonkeyPatch, stream: object) -> None:
    if stream == "closed":
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    settle_output()
    assert getattr(sys.stdout, "_stream", None) is stream


def test_a_command_whose_reader_has_gone_ends_well_and_without_a_word(tmp_path: Path) -> None:
    command = f"{sys.executable} {ROOT / 'sweeps' / 'run.py'} --settings | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == 0


WITHOUT_A_HOME = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))  # as on a disk that is full by then
from data_prep.terminal import settle_output

settle_output()
import matplotlib.pyplot
from data_prep.sudoku import generate

puzzles = generate(2, 2, train=1, validation=0, test=1, clues=8, seed=0)
print(len(puzzles.train))
"""


@pytest.mark.parametrize(
    ("where", "bytes_at_most"),
    [({"HOME": "/dev/null", "NUMBA_CACHE_LOCATOR_CLASSES": "UserWideCacheLocator"}, -1), ({}, 1000)],
    ids=["code that can only be read and no home", "a full disk"],
)
def test_where_nothing_can_be_kept_it_is_compiled_each_time_and_nothing_is_said_of_it(
    where: dict[str, str], bytes_at_most: int, tmp_path: Path
) -> None:
    poor = {name: text for name, text in os.environ.items() if name not in ("MPLCONFIGDIR", "XDG_CACHE_HOME")}
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_HOME, str(bytes_at_most)],
        env=poor
        | {"HOME": "/dev/null", "NUMBA_CACHE_LOCATOR_CLASSES": "UserWideCacheLocator", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "1\n", "")
    assert not list(tmp_path.rglob("*.nb*"))


COLOURED = """
import ray  # which brings colorama along
import data_prep.sudoku_kernels
from numba.core import errors

errors.termcolor().errmsg("as numba writes what it cannot compile")
print("done")
"""


def test_a_program_that_compiles_beside_ray_ends_on_a_terminal_without_an_escape() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen([sys.executable, "-c", COLOURED], env=environment, stdout=theirs, stderr=theirs):
            os.close(theirs)
            said = b""
            with contextlib.suppress(OSError):  # Linux says so that nobody writes there any more
                while text := terminal.read(1000):
                    said += text
    assert said.split() == [b"done"]
