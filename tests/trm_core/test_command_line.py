"""What every command does with what a person can mend."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from trm_core.command_line import BadCommand, answered, refuse


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BadCommand("no study\n  given"), "error: no study given"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "make room"),
        (OSError(errno.EIO, os.strerror(errno.EIO), "results"), "results: Input/output error; see that the disk"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "ulimit -n 4096"),
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a\x1b[31m"), "a [31m: No such file or directory"),
        (MemoryError(), "not enough memory"),
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
