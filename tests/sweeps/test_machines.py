"""What there is to run on."""

from __future__ import annotations

import errno
import re

import pytest

from sweeps.machines import (
    Found,
    Gpu,
    Machines,
    NoCluster,
    NotEnoughGpus,
    RayNotStarted,
    Wanted,
    as_wanted,
    cluster,
    least_free,
    read_gpus,
)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:10001"])
def test_a_cluster_that_does_not_answer_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # another test's may be up
    with pytest.raises(NoCluster, match=re.escape(address)), cluster():
        pass


def test_a_gpu_says_its_name_and_what_it_has_free() -> None:
    said = "NVIDIA H100 80GB HBM3, 81079\nNVIDIA A100, 40 GB, [N/A]\n"
    assert read_gpus(said) == (Gpu("NVIDIA H100 80GB HBM3", 81079 * 1024**2), Gpu("NVIDIA A100, 40 GB", None))


def test_what_is_free_is_that_of_the_fullest_gpu_and_not_known_where_one_is_silent() -> None:
    assert least_free([Gpu("a", 3), Gpu("b", 2)]) == 2
    assert least_free([Gpu("a", 3), Gpu("b", None)]) is None
    assert least_free([]) is None


def test_gpus_that_ray_only_counts_are_held_and_not_computed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Machines(8, 2, "here").device == "cuda"
    assert Machines(8, 0, "here").device == "cpu"
    monkeypatch.setenv("TRM_LOGICAL_GPUS", "1")
    assert Machines(8, 2, "here").device == "cpu"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("The current node timed out during startup. This could …"), "within 30 s .load"),
        (RuntimeError("some\nthing else"), "on this machine .some thing else.; see that memory and disk have room"),
        (
            OSError(errno.EROFS, "Read-only file system", "/h/.ray"),
            "cannot write /h/.ray .Read-only file system.; set HOME",
        ),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(error: Exception, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise error

    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    with pytest.raises(RayNotStarted, match=told), cluster():
        pass


def test_of_the_gpus_that_are_there_so_many_are_used_and_a_cluster_is_waited_for() -> None:
    here, joined = Found(("A", "A"), None), Machines(16, 2, "the cluster")
    cluster = Found(("", ""), joined)
    assert as_wanted(here, Wanted()) == here
    assert as_wanted(here, Wanted(gpus=1)).gpus == ("A",)
    assert as_wanted(cluster, Wanted(gpus=0)) == Found((), Machines(16, 0, "the cluster"))
    assert as_wanted(cluster, Wanted(gpus=32)) == Found(("",) * 32, Machines(32, 32, "the cluster"))
    empty = Found((), Machines(0, 0, "the cluster"))  # scaled from zero
    assert as_wanted(empty, Wanted(gpus=2)) == Found(("", ""), Machines(2, 2, "the cluster"))
    with pytest.raises(NotEnoughGpus, match=r"--gpus 3: this machine has 2 GPU\(s\); join a cluster"):
        as_wanted(here, Wanted(gpus=3))
