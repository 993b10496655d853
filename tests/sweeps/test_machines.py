"""What there is to run on."""

from __future__ import annotations

import re

import pytest

from sweeps.machines import NoCluster, cluster


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:10001"])
def test_a_cluster_that_does_not_answer_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # another test's may be up
    with pytest.raises(NoCluster, match=re.escape(address)), cluster():
        pass
