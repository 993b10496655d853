"""What there is to run on."""

from __future__ import annotations

import re

import pytest

from sweeps.machines import Gpu, Machines, NoCluster, RayNotStarted, cluster, least_free, read_gpus


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
    ("said", "told"),
    [
        ("The current node timed out during startup. This could …", "within 30 s .load"),
        ("some\nthing else", "on this machine .some thing else.; see that memory and disk have room"),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(said: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    with pytest.raises(RayNotStarted, match=told), cluster():
        pass
