"""Machines are looked at before runs go there, and runs follow them as they come and go."""

from __future__ import annotations

import copy
import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeps import probe
from sweeps.machines import Machines, Wanted
from sweeps.packing import NotEnoughMachines
from sweeps.preflight import SHIP, Company, Node, problems
from tests.sweeps.nodes import Launch, Nodes, wait_until

OUT = Path("/shared/results")
HERE: dict[str, Any] = {
    "host": "head",
    "python": "3.11.7",
    "code": "a" * 16,
    "memory": 64 * 10**9,
    "free": 500 * 10**9,
    "out": "",
    "places": [],
    "packages": {"torch": "2.13.0+cpu", "ray": "2.60.0", "numpy": "2.3.0"},
    "cuda": "",
}


def found(**changed: Any) -> dict[str, Any]:
    facts = copy.deepcopy(HERE) | {"host": "gpu-3", "cuda": "CUDA 12.8, NCCL 2.27.5"}
    facts["packages"]["torch"] = "2.13.0+cu128"
    packages = changed.pop("packages", {})
    facts["packages"] |= packages
    return facts | changed


def test_a_machine_like_the_drivers_is_good_whatever_its_build_of_torch() -> None:
    assert problems(found(), HERE, OUT, shipped=False) == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"out": "is not the driver's folder"}, f"{OUT} is not the driver's folder; mount it there"),
        ({"out": "locks no files (Function not implemented)"}, "where all may write and lock"),
        ({"places": ["/shared/puzzles"]}, "/shared/puzzles is not there; keep the puzzles"),
        ({"code": "b" * 16}, f"has other code (bbbbbbbb, here aaaaaaaa); copy this checkout there, or let Ray bring it with {SHIP}"),  # noqa: E501
        ({"code": ""}, "has no code of this project's"),
        ({"code": "error: Permission denied"}, "has no code of this project's"),
        ({"python": "3.12.1"}, "its Python is 3.12.1, the driver's 3.11.7"),
        ({"packages": {"torch": "2.11.0+cu128"}}, "its torch is 2.11.0+cu128, the driver's 2.13.0+cpu"),
        ({"packages": {"ray": ""}}, "its ray is missing"),
        ({"cuda": "error: torch 2.13.0 sees no GPU"}, "torch 2.13.0 sees no GPU; see `nvidia-smi` there"),
        ({"free": 10**8}, "has 0.1 GB left there; make room"),
        ({"memory": 10**8}, "0.1 GB of memory are free there"),
        ({"cuda": "error: \x1b[2Jdriver\ntoo old"}, " [2Jdriver too old"),
    ],
    ids=range(13),
)  # fmt: skip
def test_what_a_machine_lacks_is_said_with_what_to_do(changed: dict[str, Any], said: str) -> None:
    (problem,) = problems(found(**changed), HERE, OUT, shipped=False)
    assert said in problem


def test_code_that_ray_brings_may_differ_there() -> None:
    assert problems(found(code="b" * 16), HERE, OUT, shipped=True) == ()


def test_a_machine_is_named_with_its_address_and_what_is_wrong_or_what_it_has() -> None:
    good = Node("id", "gpu-3", "10.0.0.3", 8, 2, found(), ())
    assert good.line == "gpu-3 (10.0.0.3): 8 CPUs, 2 GPUs, CUDA 12.8, NCCL 2.27.5, 64 GB memory, 500 GB of disk free"
    assert Node("id", "", "10.0.0.3", 8, 0, {}, ("silent", "slow")).line == "10.0.0.3: silent; slow"


# --- the look --------------------------------------------------------------------------------------------------------


def test_a_machine_sees_its_own_folder_its_code_and_its_room(tmp_path: Path) -> None:
    (tmp_path / "nonce").write_text("nonce")
    facts = probe.look(str(tmp_path), "nonce", [str(tmp_path), str(tmp_path / "puzzles")], 0)
    assert (facts["out"], facts["places"], facts["cuda"]) == ("", [str(tmp_path / "puzzles")], "")
    assert facts["code"] == probe.source_hash()
    assert len(facts["code"]) == 16
    assert facts["free"] > 0
    assert problems(facts | {"places": []}, facts, tmp_path, shipped=False) == ()


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSYS, ""), (errno.EACCES, "locks no files (Permission denied)")])
def test_a_folder_whose_file_system_has_no_flock_is_good_since_locks_are_leases(
    number: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    (tmp_path / "nonce").write_text("nonce")
    assert probe.look(str(tmp_path), "nonce", [], 0)["out"] == said


@pytest.mark.parametrize("what", ["not there", "another's", "a file"])
def test_a_folder_that_is_not_the_drivers_is_told_apart(what: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if what == "another's":
        out.mkdir()
        (out / "nonce").write_text("another")
    elif what == "a file":
        out.write_text("")
    facts = probe.look(str(out), "nonce", [], 0)
    expected = {"not there": "is not the driver's folder", "another's": "holds another file than the driver's"}
    assert facts["out"] == expected.get(what, "cannot be used (Not a directory)")


def test_a_change_of_one_byte_of_the_code_is_another_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in probe.OURS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("x = 1\n")
    for name in list(sys.modules):
        if name.partition(".")[0] in probe.OURS:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = probe.source_hash()
    (tmp_path / "sweeps" / "__init__.py").write_text("x = 2\n")
    assert probe.source_hash() not in ("", before)


# --- a real cluster --------------------------------------------------------------------------------------------------


def can_hide(folder: Path) -> bool:
    """Whether a process here may have mounts of its own: root, and no container that forbids it."""
    try:
        tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True)
    except OSError:
        return False
    return tried.returncode == 0


@pytest.mark.kills
@pytest.mark.timeout(1800)
def test_runs_follow_machines_as_they_come_and_go_and_one_that_does_not_see_the_results_is_left_out(
    tmp_path: Path,
) -> None:
    out = tmp_path / "results"
    out.mkdir()
    nodes = Nodes(1)
    hides = can_hide(out)
    try:
        if hides:
            nodes.tell(f"hide 3 {out}")
        launch = Launch(nodes, tmp_path, "--only", "TRM k=1*", "--seeds", "6")
        launch.wait_for("1 run(s) at once")
        wait_until(lambda: any((out / "runs").glob("*/metrics.jsonl")))
        nodes.tell("add 2")
        launch.wait_for("joined: ")
        wait_until(lambda: len(list((out / "runs").glob("*/metrics.jsonl"))) >= 3)
        nodes.tell("remove")
        assert launch.process.wait() == 0, launch.text
    finally:
        nodes.end()
    text = launch.text
    assert "left out: " in text or not hides
    assert "is not the driver's folder; mount it there" in text or not hides
    assert len(list((out / "runs").glob("*/outcomes.npz"))) == 6
    assert not list(out.glob(".preflight*"))
    assert "failed" not in text.partition("report:")[0].lower(), text


def test_a_cluster_that_brings_no_gpu_in_time_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    company = Company(tmp_path, [], lambda _: None, "the cluster", Wanted(gpus=4, wait_s=0.0))
    monkeypatch.setattr(company, "machines", lambda: Machines(2, 0, "the cluster"))
    monkeypatch.setattr("ray.autoscaler.sdk.request_resources", lambda **_: None)
    with pytest.raises(NotEnoughMachines, match="--gpus 4: the cluster has none, after 0 min; see what `ray status`"):
        company.wait(lambda: None)
