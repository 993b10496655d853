"""What every command does with what a person can mend."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trm_core.command_line import BadCommand, answered, refuse, seldom_collecting

ROOT = Path(__file__).resolve().parents[2]
FEW = ("--train", "1", "--validation", "0", "--test", "1")


def no_temporary_folder() -> FileNotFoundError:
    """As Python says that nothing can be written in any of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", None)
        patch.setattr("tempfile._candidate_tempdir_list", lambda: ["/proc"])
        with pytest.raises(FileNotFoundError) as caught:
            tempfile.gettempdir()
    return caught.value


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BadCommand("no study\n  given"), "error: no study given"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "make room"),
        (OSError(errno.EIO, os.strerror(errno.EIO), "results"), "results: Input/output error; see that the disk"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "ulimit -n 4096"),
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a\x1b[31m"), "a [31m: No such file or directory"),
        (MemoryError(), "not enough memory"),
        (no_temporary_folder(), "No usable temporary directory found in ["),
        (no_temporary_folder(), "make room there, or set TMPDIR to a folder with room"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_code_2(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert answered(fail) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert line.isprintable()


@pytest.mark.parametrize(
    "command",
    [
        ("sweeps.run", "--study", "recursion_depth", "--profile", "mini", "--plan"),
        ("sweeps.run", "status"),
        ("reports", "recursion_depth"),
        ("reports", "all"),
        ("data_prep", "verify", "sets"),
        ("data_prep", "sudoku", "--source", "generate", "--out", "sets", "--box", "2x2", *FEW),
    ],
    ids=" ".join,
)
def test_a_current_folder_that_was_deleted_is_one_line(command: tuple[str, ...], tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    answer = subprocess.run(
        ["sh", "-c", 'mkdir gone; cd gone; rmdir ../gone; exec "$@"', "sh", sys.executable, "-m", *command],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 2, answer.stderr
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [ValueError("ours to mend"), OSError(errno.EINVAL, "no file is named"), KeyError("x")]
)
def test_a_mistake_of_ours_is_shown_whole(error: Exception) -> None:
    def fail() -> int:
        raise error

    with pytest.raises(type(error)):
        answered(fail)


def test_a_folder_in_place_of_a_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(lambda: len(tmp_path.read_text())) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_control_characters_of_what_was_typed_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    refuse("--set \x1b[31mred\x07\x7f: \u202e expected NAME=VALUE")
    assert capsys.readouterr().err.rstrip("\n").isprintable()


def test_while_a_command_works_python_seldom_looks_for_garbage_and_afterwards_as_before() -> None:
    before = gc.get_threshold()
    seen: list[str] = []

    def note(phase: str, _: dict[str, int]) -> None:
        seen.append(phase)

    with seldom_collecting():
        gc.collect(0)  # none of what was made before counts
        gc.callbacks.append(note)
        kept = [[number] for number in range(10_000)]
        gc.callbacks.remove(note)
    assert seen == []
    assert len(kept) == 10_000
    assert gc.get_threshold() == before
