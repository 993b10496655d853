"""The test hosts themselves: a set of them does not meet what is left of the one before."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeps.cluster.hosts import hosts, lacking

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(lacking()), reason=lacking())]


def test_a_namespace_that_outlives_its_host_is_not_in_the_next_ones_way(tmp_path: Path) -> None:
    asked = "import socket, sys; socket.create_connection((sys.argv[1], 9))"
    with contextlib.ExitStack() as held:  # as what dies slowly there holds it, or the kernel for its own time
        with hosts(1, tmp_path / "before") as (before,):
            held.enter_context(Path(f"/var/run/netns/{before.name}").open("rb"))
        with hosts(2, tmp_path / "after") as (one, other):
            answer = subprocess.run(one.command(sys.executable, "-c", asked, other.address), capture_output=True)
    assert "ConnectionRefusedError" in answer.stderr.decode()  # by the other host, which is there


def test_a_host_that_cannot_be_made_is_told_in_ips_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.sweeps.cluster.hosts._sets", iter([99, 99]))
    with hosts(1, tmp_path / "one"):
        with pytest.raises(ChildProcessError, match=r"ip link add .*File exists"), hosts(1, tmp_path / "other"):
            raise AssertionError("two sets of one name")
        monkeypatch.undo()
