"""What a launch leaves of Ray's own files: nothing, and of the dead's nothing either."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from sweeps.locks import FLOCKED_S, Holder
from sweeps.ray_folder import LEASE, ray_folder
from tests.sweeps.records.stores import another_process, hear

HOLDS = """
import sys
from pathlib import Path
from sweeps.ray_folder import ray_folder
with ray_folder(Path(sys.argv[1])) as folder:
    (folder / "trials").mkdir()
    print(folder, flush=True)
    input()
"""


def test_a_launch_has_a_folder_while_it_goes_on_and_leaves_none(tmp_path: Path) -> None:
    with ray_folder(tmp_path) as mine:
        (mine / "trials").mkdir()
        assert mine.parent == tmp_path / "ray"
    assert not (tmp_path / "ray").exists()


def test_that_of_a_launch_that_lives_stays_and_that_of_one_that_was_killed_goes(tmp_path: Path) -> None:
    other = another_process(HOLDS, str(tmp_path))
    theirs = Path(hear(other))
    with ray_folder(tmp_path):
        pass
    assert (theirs / "trials").is_dir()
    other.kill()
    other.communicate()
    assert (theirs / "trials").is_dir()
    with ray_folder(tmp_path) as mine:
        assert list(mine.parent.iterdir()) == [mine]
    assert not (tmp_path / "ray").exists()


def test_a_launch_that_just_begins_has_no_lease_yet_and_is_left_alone(tmp_path: Path) -> None:
    begins = tmp_path / "ray" / "elsewhere-1"
    begins.mkdir(parents=True)
    with ray_folder(tmp_path):
        pass
    assert list(begins.iterdir()) == []


@pytest.mark.parametrize("beats", [True, False])
def test_of_another_machines_it_is_seen_at_the_end_whether_its_heart_has_stopped(
    beats: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "ray" / "elsewhere-1"
    foreign.mkdir(parents=True)
    (foreign / LEASE).write_bytes(Holder("a" * 32, "elsewhere", "another machine", 7, "1").text())
    long_ago = time.time() - 2 * FLOCKED_S
    os.utime(foreign / LEASE, (long_ago, long_ago))
    monkeypatch.setattr("sweeps.locks.WATCHED_S", 0.0)
    with ExitStack() as launch:
        launch.enter_context(ray_folder(tmp_path))
        assert foreign.exists()
        if beats:
            os.utime(foreign / LEASE)
    assert foreign.exists() is beats
