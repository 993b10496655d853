"""What comes in at the door: a record that is whole, or one line on why it is none; whatever stands there."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag

from sweeps.records.door import LONGEST, LONGEST_LIST, CampaignRecord, NotOurs, campaign_record, run_record
from sweeps.records.types import RunRecord

TAGS = {"key": "0" * 16, "launch": "a" * 32, "row": "TRM k=1, T=1", "profile": "mini", "seed": "0", "data": "hash"}
CAMPAIGN = {"role": "campaign", "campaign": "0" * 16, "study": "a_study", "profile": "mini", "label": "lr=0.1"}
BOOK = "9" * 5000
AGES = 10**15  # ms: the year 33658


def run(
    tags: dict[str, str],
    metrics: dict[str, float] | None = None,
    params: dict[str, str] | None = None,
    *,
    status: Any = "FINISHED",
    started: Any = 1_700_000_000_000,
    ended: Any = 1_700_000_001_000,
) -> Run:
    info = RunInfo("0" * 32, "1", "somebody", status, started, ended, "active")
    data = RunData(
        [Metric(name, value, 0, 1) for name, value in (metrics or {}).items()],
        [Param(name, value) for name, value in (params or {}).items()],
        [RunTag(name, value) for name, value in tags.items()],
    )
    return Run(info, data)


def test_a_record_of_a_launch_is_read_whole() -> None:
    found = run_record(run(TAGS, {"test/exact_accuracy": 0.5, "train/loss": 3.0}, {"model.D": "96"}), "a_study")
    assert (found.key, found.row, found.seed, found.state) == ("0" * 16, "TRM k=1, T=1", 0, "finished")
    assert found.metrics == {"test/exact_accuracy": 0.5, "train/loss": 3.0}
    assert found.params == {"model.D": "96"}
    assert campaign_record(run(CAMPAIGN), "a_study").label == "lr=0.1"


@pytest.mark.parametrize("odd", ["x", "²", "٣", "-1", "1e5", "", " 1", BOOK, "9999999999", "1\n2"])
@pytest.mark.parametrize("name", ["seed", "data_seed"])
def test_a_seed_that_is_no_number_makes_no_record(name: str, odd: str) -> None:
    with pytest.raises(NotOurs, match=f"its {name} .* is no number"):
        run_record(run({**TAGS, name: odd}), "a_study")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1, 1.1, 1e308])
def test_a_finished_run_whose_accuracy_is_none_makes_no_record_and_one_under_way_loses_what_is_no_measurement(
    value: float,
) -> None:
    for name in ("test/exact_accuracy", "validation/cell_accuracy", "test/pass_at_2"):
        with pytest.raises(NotOurs, match="expected a share in 0 to 1"):
            run_record(run(TAGS, {name: value}), "a_study")
    under_way = run_record(run(TAGS, {"train/loss": value, "train/lr": 0.5}, status="RUNNING"), "a_study")
    assert under_way.metrics == ({"train/lr": 0.5} | ({"train/loss": value} if abs(value) < 2 else {}))


@pytest.mark.parametrize("gone", ["key", "launch", "row", "profile", "seed"])
def test_a_record_without_what_every_launch_writes_is_none(gone: str) -> None:
    with pytest.raises(NotOurs, match=gone):
        run_record(run({name: text for name, text in TAGS.items() if name != gone}), "a_study")


@pytest.mark.parametrize("ms", [-1, AGES, 2**62])
def test_a_time_of_another_age_makes_no_record(ms: int) -> None:
    for one in (run(TAGS, started=ms), run(TAGS, ended=ms)):
        with pytest.raises(NotOurs, match=f"its time {ms}"):
            run_record(one, "a_study")
    with pytest.raises(NotOurs, match="its time"):
        campaign_record(run({**CAMPAIGN, "updated_ms": str(AGES - 1)}), "a_study")


@pytest.mark.parametrize(
    "extra", [{"reused_from": "../../../etc/passwd"}, {"key": "../../x"}, {"key": "' OR '1'='1"}, {"key": "a" * 4000}]
)
def test_no_id_in_a_record_is_a_path_or_a_query(extra: dict[str, str]) -> None:
    with pytest.raises(NotOurs):
        run_record(run(TAGS | extra), "a_study")


@pytest.mark.parametrize(
    "extra", [{"campaign": "x"}, {"profile": "huge"}, {"label": ".."}, {"label": "a/b"}, {"label": "a\x1b[2J"}]
)
def test_a_campaign_that_names_no_folder_and_no_profile_is_none(extra: dict[str, str]) -> None:
    with pytest.raises(NotOurs) as error:
        campaign_record(run(CAMPAIGN | extra), "a_study")
    assert str(error.value).isprintable()


def test_texts_are_short_and_a_list_of_tasks_may_be_long() -> None:
    found = run_record(run({**TAGS, "device": "x" * 8000, "leaks": "y" * 9000}, params={"a": "z" * 6000}), "a_study")
    assert len(found.tags["device"]) == len(found.params["a"]) == LONGEST
    assert len(found.tags["leaks"]) == LONGEST_LIST


ANY = st.text('a0²\x1b\n\r\t./{"=\u202e\ud800λ ', max_size=12) | st.sampled_from(
    ["²", BOOK, "\x1b[2J", "a\nb", "../x", "{", "mini", "0" * 16, "0" * 32]
)
NAMES = st.sampled_from([*TAGS, *CAMPAIGN, "data_seed", "reused_from", "updated_ms", "owner." + "a" * 32, "leaks"])


@given(
    tags=st.dictionaries(NAMES, ANY),
    whole=st.booleans(),
    metrics=st.dictionaries(st.sampled_from(["test/exact_accuracy", "test/puzzles", "train/loss"]), st.floats()),
    status=st.sampled_from(["FINISHED", "FAILED", "RUNNING", "SCHEDULED", "x"]),
    times=st.tuples(st.integers(), st.none() | st.integers()),
)
def test_whatever_stands_there_is_a_clean_record_or_one_line(
    tags: dict[str, str], whole: bool, metrics: dict[str, float], status: str, times: tuple[Any, Any]
) -> None:
    kept = ({**TAGS, **CAMPAIGN} if whole else {}) | tags
    for read in (run_record, campaign_record):
        found: object
        try:
            found = read(run(kept, metrics, tags, status=status, started=times[0], ended=times[1]), "a_study")
            texts = [text for value in vars(found).values() for text in _texts(value)]
        except NotOurs as error:
            found, texts = None, [str(error)[:200] if len(str(error)) < 200 else "\n"]
        assert all(text.isprintable() for text in texts)
        if isinstance(found, RunRecord):
            assert all(math.isfinite(value) for value in found.metrics.values())
            assert found.started.timestamp() < time.time() + 90_000
        elif found is not None:
            assert isinstance(found, CampaignRecord)


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in _texts(one)]
    return [value] if isinstance(value, str) else []
