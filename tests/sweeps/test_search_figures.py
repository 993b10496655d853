"""Optuna's figures are drawn from the record alone, leave nothing behind, and say why one is not there."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from dataclasses import replace

import matplotlib as mpl
import optuna
import pytest
from matplotlib import pyplot as plt

from sweeps.search_figures import draw, study_of, why_not
from sweeps.search_record import Objective
from tests.sweeps.searches import EXACT, FLOPS, search, small, trial


def test_one_objective_has_every_figure_but_the_front() -> None:
    drawn = draw(search())
    assert list(drawn.figures) == ["history", "importances", "parallel_coordinates", "slices", "timeline"]
    assert drawn.left_out == {"pareto_front": "there is one objective"}


def test_two_objectives_have_the_front_and_the_rest_for_each() -> None:
    drawn = draw(search(objectives=(EXACT, FLOPS)))
    assert list(drawn.figures) == [
        "pareto_front",
        "parallel_coordinates",
        *(f"{kind}-{name}" for name in ("exact_accuracy", "flops") for kind in ("history", "importances", "slices")),
        "timeline",
    ]
    assert drawn.left_out == {}


def test_two_objectives_that_end_alike_do_not_take_each_others_figures() -> None:
    drawn = draw(search(objectives=(EXACT, Objective("train/exact_accuracy", "maximize"))))
    assert {"history-validation_exact_accuracy", "history-train_exact_accuracy"} <= set(drawn.figures)


def test_what_cannot_be_drawn_is_left_out_by_name() -> None:
    assert set(draw(small(trial(0, state="RUNNING"))).left_out) == {
        "history", "importances", "parallel_coordinates", "slices", "pareto_front", "timeline"
    }  # fmt: skip
    one = draw(small(trial(0, 0.5)))
    assert list(one.figures) == ["history"]
    assert one.left_out["slices"] == "no setting was varied"
    two = draw(small(trial(0, 0.5), trial(1, 0.6, lr=0.002)))
    assert list(two.figures) == ["history", "slices"]
    assert two.left_out["importances"] == "fewer than two settings were varied"
    equal = search()
    equal = replace(equal, trials=tuple(replace(one, values=one.values and (0.5,)) for one in equal.trials))
    assert why_not(equal)["importances"] == "all values are equal"
    assert "parallel_coordinates" in draw(equal).figures


def test_few_trials_say_nothing_of_what_is_important() -> None:
    record = search()
    few = replace(record, trials=record.trials[:4])
    assert draw(few).left_out["importances"] == "fewer than 5 trials are complete"


def test_drawing_leaves_neither_style_nor_open_figures_nor_loud_voices_behind() -> None:
    before, verbosity = dict(mpl.rcParams), optuna.logging.get_verbosity()
    draw(search())
    after = dict(mpl.rcParams)
    assert {name for name in before if before[name] != after[name]} <= {"backend"}
    assert plt.get_fignums() == []
    assert optuna.logging.get_verbosity() == verbosity


def test_the_study_in_memory_is_the_record_without_what_is_under_way() -> None:
    record = search()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `draw` does the same
        study = study_of(record)
    assert [one.state.name for one in study.trials] == [one.state for one in record.trials if one.state != "RUNNING"]
    assert record.front[0].number == study.best_trial.number
    first = study.trials[0]
    assert first.params["lr"] == record.trials[0].params["optim.lr"]
    assert first.distributions["lr"] == optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)
    assert first.intermediate_values == record.trials[0].curve


def test_times_are_in_utc_wherever_the_figures_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            first = study_of(search()).trials[0]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert first.datetime_start is not None
    assert first.datetime_start.hour == 9


def test_what_makes_an_accuracy_high_is_important_among_several_objectives_too() -> None:
    """PED-ANOVA asks what makes a target low; an accuracy has to be turned round for it."""
    one, two = draw(search()), draw(search(objectives=(EXACT, FLOPS)))

    def bars(figure: mpl.figure.Figure) -> list[float]:
        return [bar.get_width() for bar in figure.axes[0].patches]  # type: ignore[attr-defined]

    assert bars(one.figures["importances"]) == bars(two.figures["importances-exact_accuracy"])


def test_optunas_figures_load_neither_torch_nor_ray() -> None:
    asked = "import sys, sweeps.search_figures; print(*sorted({'torch', 'ray', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout == "\n"


def test_an_objective_that_tells_no_trial_from_another_has_no_importances() -> None:
    both = search(objectives=(EXACT, FLOPS))
    flat = replace(both, trials=tuple(replace(t, values=t.values and (0.0, t.values[1])) for t in both.trials))
    drawn = draw(flat)
    assert drawn.left_out["importances-exact_accuracy"] == "all values are equal"
    assert {"importances-flops", "history-exact_accuracy"} <= drawn.figures.keys()
    assert "importances-exact_accuracy" not in drawn.figures
