"""MLflow's tables as columns, many runs at a time: the one place that knows how its database is laid out.

MLflow's own ways make an object, or three, of every tag, parameter, metric and point: six times as long, and so not
within what a report of 2,000 runs may take. Where the store is no database, or has other tables, it is asked its way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Points = dict[tuple[str, str], dict[int, float]]  # by run id and metric, the last that was said of each step

RUNS_PER_QUERY = 500


class NoColumns(Exception):
    """This store is no database, or its tables are not those that are known here."""


def runs(client: MlflowClient, experiment_id: str, profile: str, key: str) -> list[Run]:
    """The active runs of an experiment in a profile that have the tag `key`, newest first: all that a record is made
    of. Raises NoColumns."""
    from sqlalchemy import select

    try:
        from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlParam, SqlRun, SqlTag

        about: Any = select(SqlRun.run_uuid, SqlRun.status, SqlRun.start_time, SqlRun.end_time)
        there = about.where(SqlRun.experiment_id == int(experiment_id), SqlRun.lifecycle_stage == "active")
        there = there.order_by(SqlRun.start_time.desc(), SqlRun.run_uuid)
        tags_of: Any = select(SqlTag.run_uuid, SqlTag.key, SqlTag.value)
        params_of: Any = select(SqlParam.run_uuid, SqlParam.key, SqlParam.value)
        last = (SqlLatestMetric.run_uuid, SqlLatestMetric.key, SqlLatestMetric.value, SqlLatestMetric.is_nan)
        metrics_of: Any = select(*last)
        run_of = (SqlTag.run_uuid, SqlParam.run_uuid, SqlLatestMetric.run_uuid)
        session_of = client._tracking_client.store.ManagedSessionMaker
    except (ImportError, AttributeError, ValueError):
        raise NoColumns from None
    found = []
    with session_of() as session:
        for some in _so_many(session.execute(there).all(), RUNS_PER_QUERY):
            tags, params, metrics = ({one.run_uuid: {} for one in some} for _ in range(3))
            for run_id, name, value in session.execute(tags_of.where(run_of[0].in_(list(tags)))):
                tags[run_id][name] = value
            wanted = [one for one in some if tags[one.run_uuid].get("profile") == profile and key in tags[one.run_uuid]]
            ids = [one.run_uuid for one in wanted]
            for run_id, name, value in session.execute(params_of.where(run_of[1].in_(ids))):
                params[run_id][name] = value
            for run_id, name, value, is_nan in session.execute(metrics_of.where(run_of[2].in_(ids))):
                metrics[run_id][name] = math.nan if is_nan else value
            for run_id, status, began, ended in wanted:
                info = SimpleNamespace(
                    run_id=run_id, status=status, start_time=began, end_time=ended, experiment_id=experiment_id
                )
                data = SimpleNamespace(tags=tags[run_id], params=params[run_id], metrics=metrics[run_id])
                found.append(cast("Run", SimpleNamespace(info=info, data=data)))
    return found


def points(client: MlflowClient, run_ids: Sequence[str], metrics: Sequence[str]) -> Points:
    """Every point of these metrics of these runs. Raises NoColumns."""
    from sqlalchemy import false, select

    try:
        from mlflow.store.tracking.dbmodels.models import SqlMetric as Metric

        in_time = (Metric.timestamp, Metric.step, Metric.value)
        columns: Any = select(Metric.run_uuid, Metric.key, Metric.step, Metric.value)
        query = columns.where(Metric.key.in_(metrics), Metric.is_nan == false()).order_by(*in_time)
        session_of = client._tracking_client.store.ManagedSessionMaker
    except (ImportError, AttributeError):
        raise NoColumns from None
    found: Points = {}
    with session_of() as session:
        for some in _so_many(run_ids, RUNS_PER_QUERY):
            for run_id, metric, step, value in session.execute(query.where(Metric.run_uuid.in_(some))):
                found.setdefault((run_id, metric), {})[step] = value
    return found


def _so_many(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
