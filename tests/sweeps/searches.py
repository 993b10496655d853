"""Searches made up for the tests, as their record has them."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from sweeps.pruning import Value
from sweeps.search_record import Axis, Confirmed, Objective, SearchRecord, State, Trial

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
EXACT = Objective("validation/exact_accuracy", "maximize")
FLOPS = Objective("flops", "minimize")
LOSS = Objective("train/loss", "minimize")
SPACE = (
    Axis("optim.lr", 1e-4, 1e-2, log=True),
    Axis("optim.weight_decay", 1e-2, 2, log=True),
    Axis("model.n_layers", 1, 4, step=1),
    Axis("model.mixer", choices=("mlp", "attention")),
    Axis("model.n_heads", choices=(2, 4, 8)),  # with attention alone
    Axis("optim.ema", choices=(None, 0.99, 0.999)),
)


def trial(number: int, *values: float, state: State = "COMPLETE", lr: float = 0.001, reached: int = 1000) -> Trial:
    """One of a search over the learning rate alone."""
    curve = dict.fromkeys(range(100, reached + 1, 100), 0.1)
    return Trial(number, state, {"optim.lr": lr}, values, curve, (f"{number:016x}",))


def small(
    *trials: Trial, objectives: tuple[Objective, ...] = (EXACT,), confirmed: tuple[Confirmed, ...] = ()
) -> SearchRecord:
    return SearchRecord(
        "lr", "mini", objectives, SPACE[:1], trials, confirmed, "test/exact_accuracy", "validation/cell_accuracy"
    )


def search(n: int = 20, objectives: tuple[Objective, ...] = (EXACT,)) -> SearchRecord:
    """Twenty trials over six settings, one with a condition: some pruned, one failed, the last under way."""
    rng = np.random.default_rng(1)
    trials = []
    for number in range(n):
        params: dict[str, Value] = {
            "optim.lr": float(10 ** rng.uniform(-4, -2)),
            "optim.weight_decay": float(10 ** rng.uniform(-2, 0.3)),
            "model.n_layers": int(rng.integers(1, 5)),
            "model.mixer": ("mlp", "attention")[rng.integers(2)],
            "optim.ema": (None, 0.99, 0.999)[rng.integers(3)],
        }
        heads = (2, 4, 8)[rng.integers(3)]
        if params["model.mixer"] == "attention":
            params["model.n_heads"] = heads
        lr, layers = params["optim.lr"], params["model.n_layers"]
        assert isinstance(lr, float)
        assert isinstance(layers, int)
        value = float(0.7 - 0.15 * (math.log10(lr) + 3) ** 2 + rng.normal(0, 0.03))
        state: State = (
            "RUNNING" if number == n - 1 else "FAIL" if number == 7 else "PRUNED" if number % 5 == 4 else "COMPLETE"
        )
        reached = 1000 if state == "COMPLETE" else 400
        started = START + timedelta(minutes=3 * (number // 2), seconds=20 * (number % 2))
        values = (value, 1e14 * layers * (1 + number / 100), 1 - value + number / 100)[: len(objectives)]
        trials.append(
            Trial(
                number,
                state,
                params,
                values if state == "COMPLETE" else (),
                {step: value * step / 1000 for step in range(100, reached + 1, 100)} if state != "FAIL" else {},
                (f"{number:016x}",),
                started,
                None if state == "RUNNING" else started + timedelta(minutes=1, seconds=reached / 10),
                "out of memory: 12 GB asked for, 8 GB there" if state == "FAIL" else "",
            )
        )
    record = SearchRecord(
        "lr_wd",
        "mini",
        objectives,
        SPACE,
        tuple(trials),
        test_metric="test/exact_accuracy",
        curve_metric="validation/cell_accuracy",
        title="Learning rate and weight decay of TRM",
        facts=(("Base row", "TRM k=3, T=3"),),
        notes=("A note.",),
    )
    confirmed = tuple(
        Confirmed(
            one.number,
            (1, 2, 3),
            tuple(one.values[0] - 0.05 + float(rng.normal(0, 0.02)) for _ in range(3)),
            tuple(one.values[0] - 0.08 + float(rng.normal(0, 0.02)) for _ in range(3)),
        )
        for one in record.ranked[:3]
    )
    return replace(record, confirmed=confirmed)
