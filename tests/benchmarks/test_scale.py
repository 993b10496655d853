"""What the figures of many runs on many places are worked out from."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.scale import Counted, worked_out


def test_the_time_between_two_runs_is_that_of_one_place(tmp_path: Path) -> None:
    spans = [(1, 0.0, 10.0), (2, 5.0, 15.0), (1, 11.0, 20.0), (2, 18.0, 25.0)]  # process, begin, end
    for number, span in enumerate(spans):
        folder = tmp_path / "results" / "runs" / str(number)
        folder.mkdir(parents=True)
        (folder / "place.json").write_text(json.dumps(span))
    (tmp_path / "driver.json").write_text("{}")
    found = worked_out(tmp_path, {"runs": 4}, began=-5.0, took=40.0, load=0.0)
    assert (found["finished"], found["places"], found["first_run_s"]) == (4, 2, 15.0)
    assert found["between_runs_s"]["median"] == 2.0
    assert found["between_runs_s"]["at most"] == 3.0
    assert found["runs_a_minute"] == 60 * 3 / 15


def test_a_call_within_a_call_belongs_to_that() -> None:
    class Client:
        def log(self) -> None:
            self.send()

        def send(self) -> None:
            pass

        def get(self) -> None:
            pass

    counted = Counted()
    counted.watch(Client, lambda name: not name.startswith(("_", "get")))
    client = Client()
    client.log()
    client.send()
    client.get()
    assert {name: calls for name, (calls, _) in counted.table().items()} == {"log": 1, "send": 1}
