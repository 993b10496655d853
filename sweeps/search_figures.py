"""A second door to Optuna: its own figures of a search, drawn from the record alone, with no storage.

Optuna's figures are drawn for a screen of their own: with pyplot, under a style that they set for the whole process and
at one size for any number of settings. Here each is given its size, and nothing of it stays behind.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import optuna
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as optunas

from sweeps.pruning import Value
from sweeps.search_record import Axis, SearchRecord, Trial

FEWEST = 5  # trials: with fewer, the best tenth is nearly all of them
MOST_OBJECTIVES = 3  # that a Pareto front can be drawn of


@dataclass(frozen=True)
class Drawn:
    """Figures by name, in the page's order, and why some are not there."""

    figures: Mapping[str, Figure] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def draw(record: SearchRecord, kinds: Container[str] | None = None) -> Drawn:
    """Every figure that the trials allow: history, importances, parallel_coordinates, slices, pareto_front, timeline.

    kinds: of these alone. Of several objectives each has a history, "history-flops", importances and slices.
    """
    figures: dict[str, Figure] = {}
    left_out = why_not(record)
    with _optunas_manners():
        study = study_of(record)
        for name, make in _figures(record, study):
            kind = name.partition("-")[0]
            if not {kind, name} & left_out.keys() and (kinds is None or kind in kinds):
                figures[name] = _figure(make())
    return Drawn(figures, left_out)


def why_not(record: SearchRecord) -> dict[str, str]:
    """The figures that these trials do not allow, and what is missing."""
    complete = record.complete
    varied = [name for name in record.names if len({repr(t.params[name]) for t in complete if name in t.params}) > 1]
    values = {trial.values for trial in complete}
    found: dict[str, str] = {}
    if not complete:
        found |= dict.fromkeys(("history", "slices"), "no trial is complete")
    if len(complete) < 2:
        found |= dict.fromkeys(("importances", "parallel_coordinates"), "fewer than two trials are complete")
    elif len(varied) < 2:
        found |= dict.fromkeys(("importances", "parallel_coordinates"), "fewer than two settings were varied")
    elif len(complete) < FEWEST:
        found["importances"] = f"fewer than {FEWEST} trials are complete"
    elif len(values) < 2:
        found["importances"] = "all values are equal"
    if "importances" not in found:  # of several objectives, those that tell no trial from another
        ends = zip(_ends(record), zip(*values, strict=True), strict=True)
        found |= {f"importances-{end}": "all values are equal" for end, of_one in ends if len(set(of_one)) < 2}
    if not varied:
        found["slices"] = "no setting was varied"
    if len(record.objectives) == 1:
        found["pareto_front"] = "there is one objective"
    elif len(record.objectives) > MOST_OBJECTIVES:
        found["pareto_front"] = f"there are {len(record.objectives)} objectives; two or three can be drawn"
    elif not complete:
        found["pareto_front"] = "no trial is complete"
    if not any(trial.started and trial.ended for trial in record.trials):
        found["timeline"] = "no trial has ended"
    return found


def _ends(record: SearchRecord) -> list[str]:
    """Of the names of an objective's own figures."""
    return [name.replace("/", "_") for name in record.metrics]


def _figures(record: SearchRecord, study: optuna.Study) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each figure's name and how Optuna draws it."""
    names = list(record.metrics)
    if len(names) == 1:
        name = names[0]
        yield "history", lambda: optunas.plot_optimization_history(study, target_name=name)
        yield "importances", lambda: optunas.plot_param_importances(study, target_name=name)
        yield "parallel_coordinates", lambda: optunas.plot_parallel_coordinate(study, target_name=name)
        yield "slices", lambda: optunas.plot_slice(study, target_name=name)
    else:
        yield "pareto_front", lambda: optunas.plot_pareto_front(study, target_names=names)
        yield "parallel_coordinates", lambda: optunas.plot_parallel_coordinate(study)
        of_each = zip(names, _ends(record), record.objectives, strict=True)
        for at, (name, end, objective) in enumerate(of_each):
            of: dict[str, Any] = {"target": partial(_value, at=at), "target_name": name}
            low = {**of, "target": partial(_value, at=at, sign=objective.sign)}  # PED-ANOVA asks what makes it low
            yield f"history-{end}", partial(optunas.plot_optimization_history, study, **of)
            yield f"importances-{end}", partial(optunas.plot_param_importances, study, **low)
            yield f"slices-{end}", partial(optunas.plot_slice, study, **of)
    yield "timeline", lambda: optunas.plot_timeline(study)


def _value(trial: FrozenTrial, *, at: int, sign: int = 1) -> float:
    return sign * float(trial.values[at])


@contextmanager
def _optunas_manners() -> Iterator[None]:
    """Optuna draws with pyplot, sets a style and speaks of its experiments: none of it is left behind."""
    verbosity, before = optuna.logging.get_verbosity(), set(plt.get_fignums())
    plt.switch_backend("agg")  # a window would need a screen
    try:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings(), plt.rc_context():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", UserWarning)  # of a target that should be low, of an axis with one value
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def _figure(axes: Any) -> Figure:
    """The figure of Optuna's axes, or of the first of several."""
    first: Axes = np.ravel(axes)[0]
    figure = first.get_figure(root=True)
    assert figure is not None
    return figure


# --- the record as Optuna has it -------------------------------------------------------------------------------------


def study_of(record: SearchRecord) -> optuna.Study:
    """The search as a study in memory: its names short, its times in UTC. Trials under way are left out."""
    study = optuna.create_study(directions=[one.direction for one in record.objectives], study_name=record.name)
    study.set_metric_names(list(record.metrics))
    axes = {axis.name: axis for axis in record.space}
    for trial in record.trials:
        if trial.state != "RUNNING":  # a figure would draw it up to now, another at each look
            study.add_trial(_frozen(record, trial, axes))
    return study


def _frozen(record: SearchRecord, trial: Trial, axes: Mapping[str, Axis]) -> FrozenTrial:
    started = trial.started or trial.ended or datetime.fromtimestamp(0, UTC)
    return FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=TrialState[trial.state],
        value=None,
        values=list(trial.values) if trial.state == "COMPLETE" else None,
        datetime_start=_utc(started),
        datetime_complete=_utc(trial.ended or started),
        params={record.labels[name]: value for name, value in trial.params.items()},
        distributions={record.labels[name]: _distribution(record, name, axes.get(name)) for name in trial.params},
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(trial.curve) if len(record.objectives) == 1 else {},
    )


def _distribution(record: SearchRecord, name: str, axis: Axis | None) -> BaseDistribution:
    """Of a setting that the space does not have: a choice of all that was seen."""
    if axis is None or axis.choices:
        choices = axis.choices if axis else _seen(record, name)
        return CategoricalDistribution(choices)
    if axis.step:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=axis.step)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _seen(record: SearchRecord, name: str) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(trial.params[name] for trial in record.trials if name in trial.params))


def _utc(moment: datetime) -> datetime:
    """Without a zone, as Optuna keeps it."""
    return moment.astimezone(UTC).replace(tzinfo=None)
