"""What a killed writer left goes when the same is written again; what another still writes stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.files import whole
from data_prep.unfinished import FOREIGN_S, partial_of, process_lives, remove_unfinished, this_machine

KILLED = """
import os, signal, sys
from pathlib import Path
from data_prep.files import whole
with whole(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        return ended.pid


def test_what_a_killed_writer_left_of_a_file_goes_when_the_file_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "thought.npz"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=root, check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.read_text() == "half"
    with whole(path) as partial:
        partial.write_text("whole")
    assert [one.name for one in tmp_path.iterdir()] == ["thought.npz"]


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_what_is_under_way_or_anothers_stays(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "set"
    dead, alive = partial_of(path, gone()), partial_of(path, os.getppid())
    foreign, old = tmp_path / ".set.partial-elsewhere-7", tmp_path / ".set.partial-elsewhere-8"
    others = tmp_path / f".settle.partial-{dead.name.partition('partial-')[2]}"
    for each in (dead, alive, foreign, old, others):
        make(each)
    long_ago = time.time() - FOREIGN_S - 60
    os.utime(old, (long_ago, long_ago))
    remove_unfinished(path)
    assert set(tmp_path.iterdir()) == {alive, foreign, others}


@pytest.mark.parametrize("path", [".", "/"])
def test_a_path_without_a_name_is_looked_at_beside_the_place_that_it_means(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    meant = Path(path).absolute()
    assert partial_of(Path(path)).parent == meant.parent
    if path == ".":
        left = partial_of(Path(path), gone())
        assert left == partial_of(meant, int(left.name.rpartition("-")[2]))
        left.mkdir()
        remove_unfinished(Path(path))
        assert not left.exists()


def test_where_there_is_no_folder_there_is_nothing_to_remove(tmp_path: Path) -> None:
    remove_unfinished(tmp_path / "nowhere" / "set")


def test_a_process_lives_until_it_has_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not process_lives(ended.pid)
    assert process_lives(os.getpid())
    assert process_lives(1)  # another's
    assert not process_lives(2**40)


def test_this_machine_has_one_name_in_all_its_processes_of_one_container() -> None:
    text = subprocess.run(
        [sys.executable, "-c", "from data_prep.unfinished import this_machine; print(this_machine())"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert text.strip() == this_machine()
