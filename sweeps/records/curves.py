"""MLflow → curves, those of many runs at once; what finished runs have is kept (kept.py) and not asked for again.

MLflow's client hands out one curve of one run at a time, which for a report of 2,000 runs takes minutes. So they are
asked for in bulk: of a database by the columns of its table (columns.py), of a server by the route that its page uses
(_of_a_server). Where neither is there, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.records import columns
from sweeps.records.address import address, connected, explained
from sweeps.records.columns import Points
from sweeps.records.door import MOST, is_measurement
from sweeps.records.kept import Curve, Kept
from sweeps.records.types import REUSED_FROM, RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

Curves = dict[tuple[str, str], Curve]  # by run id and metric

RUNS_PER_REQUEST = 100  # the server takes no more
POINTS_PER_ANSWER = 25_000  # and sends no more
BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # what MLflow says of a run that is gone, or none


class _NoBulk(Exception):
    """This server hands nothing out in bulk, or not in the way that is known here."""


def read_curves(
    wanted: Iterable[tuple[RunRecord, Sequence[str]]], kept: Path | None = None, *, keeps: bool = True
) -> Curves:
    """These metrics of these runs; of a reused run, its origin's. A curve that is not there is empty.

    kept: the file in which curves of finished runs are found again and, if it `keeps`, left. Raises
    TrackingUnavailable.
    """
    asked = [(run, metric) for run, metrics in wanted for metric in metrics]
    there = Kept.load(kept)
    found = {(run.run_id, metric): there.curve(run, metric) for run, metric in asked}
    lacking = [(run, metric) for run, metric in asked if found[run.run_id, metric] is None]
    read = _read(lacking) if lacking else {}
    if keeps:
        there.keep([(run, metric, read[run.run_id, metric]) for run, metric in lacking])
    return {place: curve for place, curve in found.items() if curve is not None} | read


def _read(wanted: Sequence[tuple[RunRecord, str]]) -> Curves:
    """From MLflow."""
    client = connected(address())
    origins = {run.run_id: run.tags[REUSED_FROM] for run, _ in wanted if REUSED_FROM in run.tags}
    run_ids = sorted({*(run.run_id for run, _ in wanted), *origins.values()})
    with explained(f"read the curves of {len(run_ids):,} runs"):
        points = _points(client, run_ids, sorted({metric for _, metric in wanted}))
    found: Curves = {}
    for run, metric in wanted:
        curve = points.get((run.run_id, metric), {})
        if len(curve) <= 1 and run.run_id in origins:
            curve = points.get((origins[run.run_id], metric), {}) or curve
        measured = ((step, value) for step, value in curve.items() if 0 <= step <= MOST and is_measurement(value))
        found[run.run_id, metric] = sorted(measured)
    return found


def _points(client: MlflowClient, run_ids: Sequence[str], metrics: Sequence[str]) -> Points:
    for ask in (columns.points, _of_a_server):
        try:
            return ask(client, run_ids, metrics)
        except (columns.NoColumns, _NoBulk):
            continue
    return {(run_id, metric): _one(client, run_id, metric) for run_id in run_ids for metric in metrics}


def _of_a_server(client: MlflowClient, run_ids: Sequence[str], metrics: Sequence[str]) -> Points:
    """One request for RUNS_PER_REQUEST runs and a metric. Raises _NoBulk where there is no server, or no such route."""
    try:
        from mlflow.utils.rest_utils import http_request, verify_rest_response

        credentials_of = client._tracking_client.store.get_host_creds
    except (ImportError, AttributeError):
        raise _NoBulk from None
    found: Points = {}

    def ask(some: Sequence[str], metric: str) -> None:
        wanted = {"run_id": list(some), "metric_key": metric, "max_results": POINTS_PER_ANSWER}
        answer = http_request(  # type: ignore[no-untyped-call]
            credentials_of(), BULK, "GET", params=wanted, raise_on_status=False
        )
        if answer.status_code in (404, 405, 501):
            raise _NoBulk
        points = verify_rest_response(answer, BULK).json().get("metrics", [])
        if len(points) < POINTS_PER_ANSWER:
            _take(points, metric, found)
        elif len(some) > 1:  # cut
            ask(some[: len(some) // 2], metric)
            ask(some[len(some) // 2 :], metric)
        else:
            found[some[0], metric] = _one(client, some[0], metric)

    for metric in metrics:
        for some in _so_many(run_ids, RUNS_PER_REQUEST):
            ask(some, metric)
    return found


def _take(points: Iterable[Mapping[str, Any]], metric: str, found: Points) -> None:
    for one in points:
        run_id, step, value = one.get("run_id"), one.get("step", 0), one.get("value")
        if isinstance(run_id, str) and isinstance(step, int) and isinstance(value, int | float):
            found.setdefault((run_id, metric), {})[step] = float(value)


def _one(client: MlflowClient, run_id: str, metric: str) -> dict[int, float]:
    """A metric of a run by MLflow's client; nothing of a run that is not there."""
    from mlflow.exceptions import MlflowException

    try:
        return {one.step: one.value for one in client.get_metric_history(run_id, metric)}
    except MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
        return {}


def _so_many(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
