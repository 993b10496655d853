from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest
from mlflow import MlflowClient
from pyarrow import parquet

from sweeps.campaign import Campaign
from sweeps.records import columns, curves, kept
from sweeps.records.address import TrackingUnavailable
from sweeps.records.columns import Points
from sweeps.records.curves import read_curves
from sweeps.records.kept import Kept
from sweeps.records.read import read_curve, read_runs
from sweeps.records.types import Measurement, RunRecord
from sweeps.records.write import Tracker
from tests.conftest import campaign
from tests.sweeps.records.stores import Server

METRICS = ("train/loss", "test/exact_accuracy", "nothing/of_this")


def record(of: Campaign) -> None:
    """Seeds 0 and 1 finished, 2 killed on the way."""
    with Tracker.open(of) as tracker:
        for job in of.jobs():
            tracker.begin(job, "hash")
            points = [
                Measurement(step, 1_700_000_000_000 + step, {"train/loss": 1 / step + job.seed}) for step in (2, 4, 6)
            ]
            tracker.log(job.key, points)
            tracker.log(job.key, [Measurement(6, 1_700_000_000_000, {"test/exact_accuracy": 0.5})])
            if job.seed < 2:
                tracker.finish(job.key, "FINISHED")
        tracker.close("FINISHED")


@pytest.fixture(scope="module")
def recorded(empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the three runs, and its artefacts beside it."""
    path = tmp_path_factory.mktemp("recorded") / "mlflow.db"
    shutil.copy(empty_mlflow, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        record(campaign(seeds=(0, 1, 2)))
    return path


@pytest.fixture
def runs(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunRecord]:
    """The runs by seed, in a copy of the store."""
    shutil.copy(recorded, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return sorted(read_runs("a_study", "mini"), key=lambda run: run.seed)


def wanted(runs: list[RunRecord]) -> list[tuple[RunRecord, tuple[str, ...]]]:
    return [(run, METRICS) for run in runs]


def one_by_one(runs: list[RunRecord]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    return {(run.run_id, metric): read_curve(run.run_id, metric) for run in runs for metric in METRICS}


def test_curves_read_in_bulk_are_those_that_mlflow_hands_out_one_by_one(runs: list[RunRecord]) -> None:
    client = MlflowClient()
    odd = [(1, math.nan), (3, math.inf), (5, 0.25), (2**62, 0.5)]
    for step, value in odd:
        client.log_metric(runs[2].run_id, "train/loss", value, timestamp=1, step=step)
    for at, value in enumerate((0.7, 0.8, 0.6)):  # said three times of a step: the last time counts
        client.log_metric(runs[2].run_id, "train/loss", value, timestamp=10 - at, step=7)
    found = read_curves(wanted(runs))
    assert found == one_by_one(runs)
    assert [step for step, _ in found[runs[2].run_id, "train/loss"]] == [2, 4, 5, 6, 7]
    assert found[runs[0].run_id, "nothing/of_this"] == []


def test_a_store_that_hands_nothing_out_in_bulk_is_asked_one_by_one(
    runs: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = read_curves(wanted(runs))

    def none(*_: object) -> Points:
        raise columns.NoColumns

    monkeypatch.setattr(columns, "points", none)
    assert read_curves(wanted(runs)) == there


def test_a_reused_run_has_its_origins_curve_and_its_own_where_that_is_gone(runs: list[RunRecord]) -> None:
    origin, child = runs[0], runs[1]
    client = MlflowClient()
    alone = client.create_run(client.get_run(child.run_id).info.experiment_id).info.run_id
    client.log_metric(alone, "train/loss", 0.125, step=6)
    for of, curve in ((origin.run_id, read_curve(origin.run_id, "train/loss")), ("0" * 32, [(6, 0.125)])):
        reused = replace(child, run_id=alone, tags={**child.tags, "reused_from": of})
        assert read_curves([(reused, ["train/loss"])]) == {(alone, "train/loss"): curve}


# --- kept ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return kept.file_of(tmp_path / "results", "a_study")


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Which runs MLflow was asked for from now on, per request."""
    asked: list[list[str]] = []
    points = curves._points

    def heard(client: MlflowClient, run_ids: list[str], metrics: list[str]) -> Points:
        asked.append(run_ids)
        return points(client, run_ids, metrics)

    monkeypatch.setattr(curves, "_points", heard)
    return asked


def test_of_finished_runs_mlflow_is_asked_once_of_others_each_time(
    runs: list[RunRecord], file: Path, silent: list[list[str]]
) -> None:
    first = read_curves(wanted(runs), file)
    assert read_curves(wanted(runs), file) == first == one_by_one(runs)
    assert silent == [sorted(run.run_id for run in runs), [runs[2].run_id]]


def test_a_curve_of_a_run_that_has_ended_anew_or_with_another_value_is_not_shown(
    runs: list[RunRecord], file: Path, silent: list[list[str]]
) -> None:
    read_curves(wanted(runs), file)
    MlflowClient().log_metric(runs[0].run_id, "train/loss", 0.75, step=8)
    now = sorted(read_runs("a_study", "mini"), key=lambda run: run.seed)
    assert read_curves(wanted(now), file)[now[0].run_id, "train/loss"][-1] == (8, 0.75)
    assert read_curves(wanted(now[:2]), file) == one_by_one(now[:2])
    assert silent == [sorted(run.run_id for run in runs), sorted([runs[0].run_id, runs[2].run_id])]
    ended = now[0].ended
    assert ended is not None
    again = replace(now[0], ended=ended.replace(year=ended.year - 1))
    read_curves([(again, ["train/loss"])], file)
    assert silent[-1] == [again.run_id]


VALUES: dict[str, Callable[[float], float | None]] = {
    "no numbers": lambda _: math.nan,
    "another end": lambda value: value + 0.5,
    "nothing where something is": lambda _: None,
}


def damaged(file: Path, how: str) -> None:
    table = parquet.read_table(file)
    names = table.schema.names
    if how == "empty":
        file.write_bytes(b"")
    elif how == "torn":
        file.write_bytes(file.read_bytes()[:-40])
    elif how == "a bit turned":
        whole = bytearray(file.read_bytes())
        whole[len(whole) // 4] ^= 1
        file.write_bytes(bytes(whole))
    elif how == "another version":
        parquet.write_table(table.replace_schema_metadata({"curves": b"2"}), file)
    elif how == "other columns":
        parquet.write_table(table.drop_columns(["last"]), file)
    elif how == "steps backwards":
        steps = pyarrow.array(
            [list(reversed(one)) for one in table["steps"].to_pylist()], pyarrow.list_(pyarrow.int64())
        )
        parquet.write_table(table.set_column(names.index("steps"), table.schema.field("steps"), steps), file)
    elif how in VALUES:
        values = [[VALUES[how](value) for value in one] for one in table["values"].to_pylist()]
        column = pyarrow.array(values, pyarrow.list_(pyarrow.float64()))
        parquet.write_table(table.set_column(names.index("values"), table.schema.field("values"), column), file)
    elif how == "a folder":
        file.unlink()
        file.mkdir()


@pytest.mark.parametrize(
    "how",
    ["empty", "torn", "a bit turned", "another version", "other columns", "steps backwards", "a folder", *VALUES],
)
def test_a_file_of_curves_that_is_none_is_read_anew_and_never_shown(
    runs: list[RunRecord], file: Path, silent: list[list[str]], how: str
) -> None:
    first = read_curves(wanted(runs), file)
    damaged(file, how)
    assert read_curves(wanted(runs), file) == first
    assert silent[1:] == [sorted(run.run_id for run in runs)]


def test_where_nothing_can_be_kept_curves_are_read_all_the_same(runs: list[RunRecord], tmp_path: Path) -> None:
    (tmp_path / "no folder").write_text("")
    assert read_curves(wanted(runs), tmp_path / "no folder" / "x.parquet") == one_by_one(runs)


def test_what_other_campaigns_have_kept_stays_and_no_temporary_file_does(runs: list[RunRecord], file: Path) -> None:
    read_curves(wanted(runs[:1]), file)
    read_curves(wanted(runs[1:2]), file)
    there = Kept.load(file)
    assert [there.curve(run, "train/loss") for run in runs] == [
        read_curve(runs[0].run_id, "train/loss"), read_curve(runs[1].run_id, "train/loss"), None
    ]  # fmt: skip
    assert [path.name for path in file.parent.iterdir()] == ["a_study.parquet"]


def test_a_folder_may_be_called_as_a_home_is(
    runs: list[RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = kept.file_of(Path("~"), "a_study")
    read_curves(wanted(runs[:1]), file)
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.parquet")] == [file]
    assert Kept.load(file).curve(runs[0], "train/loss") == read_curve(runs[0].run_id, "train/loss")


def test_of_two_that_keep_curves_at_once_the_later_ones_file_stays_whole(runs: list[RunRecord], file: Path) -> None:
    first, second = Kept.load(file), Kept.load(file)
    there = read_curves(wanted(runs))
    loss = {run.seed: there[run.run_id, "train/loss"] for run in runs}
    first.keep([(runs[0], "train/loss", loss[0])])
    second.keep([(runs[1], "train/loss", loss[1])])
    assert [Kept.load(file).curve(run, "train/loss") for run in runs] == [None, loss[1], None]


# --- a server --------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    shutil.copy(recorded, tmp_path / "mlflow.db")
    with Server(tmp_path / "mlflow.db", tmp_path).up(monkeypatch) as server:
        yield server


@pytest.mark.kills
@pytest.mark.slow
def test_a_server_hands_the_same_curves_out_also_where_its_answers_are_cut_and_its_end_is_one_line(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = read_runs("a_study", "mini")
    there = one_by_one(runs)
    assert read_curves(wanted(runs)) == there
    for limit in (2, 4, 7):
        monkeypatch.setattr(curves, "POINTS_PER_ANSWER", limit)
        assert read_curves(wanted(runs)) == there
    monkeypatch.setattr(curves, "BULK", "/ajax-api/2.0/mlflow/metrics/there-is-no-such-route")
    assert read_curves(wanted(runs)) == there
    server.kill()
    with pytest.raises(TrackingUnavailable) as said:
        read_curves(wanted(runs))
    assert "\n" not in str(said.value)
