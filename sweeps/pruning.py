"""When a trial of a search gives up: successive halving on learning curves, at rungs that were measured to foretell.

Training here has a phase transition: a run stood at 3.8 % at step 500, at 58 % at 4,000 and at 87 % at 7,000, so early
stopping by habit prunes the winners. So a rung decides only where it was measured, on recorded curves, that the order
at the rung is the order at the end (`report_on`), and a curve on its plateau is no evidence until that is nearly sure.

Pure. A curve is what a trial measured: step → value; a value that is not finite is no measurement.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import Field, model_validator

from sweeps.records.summary import CONFIDENCE
from trm_core.settings import Settings

Direction = Literal["minimize", "maximize"]  # Optuna's words
Curve = Mapping[int, float]
Key = TypeVar("Key", bound=Hashable)  # a trial's number or its run's key
Value = str | int | float | bool | None  # of a setting
Share = Annotated[float, Field(gt=0, le=1)]
Correlation = Annotated[float, Field(ge=-1, le=1)]

FEWEST = 5  # pairs: fewer give no interval of a rank correlation


class Rule(Settings):
    """What gives up, where, against how many, and what is spared. The default decides nothing: nothing is measured."""

    metric: str = "validation/cell_accuracy"  # of the curves; never the test set's
    direction: Direction = "maximize"
    rungs: tuple[Annotated[int, Field(ge=1)], ...]  # steps, ascending
    keep: Share = 0.5  # of the trials at a rung
    measured: dict[int, Correlation] = Field(default_factory=dict)  # rung → rank correlation with the end
    trust: Correlation = 0.5  # a rung of a lower one decides nothing
    plateau: float | None = None  # of the metric: a curve no better than this has not left its plateau
    trust_on_plateau: Correlation = 0.8  # what it takes for such a curve to be evidence
    startup: Annotated[int, Field(ge=1)] = 8  # a rung decides once so many others have reached it
    protect: tuple[dict[str, Value], ...] = ()  # ({"mixer": "attention"},): a trial with all of one's values goes on

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.metric.startswith("test/"):
            raise ValueError(
                f"metric: {self.metric}, expected one of validation or train: the test set selects nothing"
            )
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs: {self.rungs}, expected steps that ascend, each once")
        if unknown := sorted(set(self.measured) - set(self.rungs)):
            raise ValueError(f"measured: {unknown} are no rungs; expected some of {self.rungs}")
        return self

    @property
    def deciding(self) -> tuple[int, ...]:
        """The rungs that may prune: measured, and trusted."""
        return tuple(rung for rung in self.rungs if self.measured.get(rung, -1.0) >= self.trust)

    def protects(self, params: Mapping[str, Value]) -> bool:
        """Whether a trial with these settings goes on whatever its curve."""
        return any(all(name in params and params[name] == one[name] for name in one) for one in self.protect)

    def on_plateau(self, value: float) -> bool:
        """Whether a curve of this value has not left its plateau; never, where the rule names none."""
        return self.plateau is not None and not _better(value, self.plateau, self.direction)


def gives_up(mine: Curve, others: Sequence[Curve], rule: Rule) -> bool:
    """Whether a trial that has measured `mine` so far is to end now.

    others: the curves of the trials it may know, ended or pruned: a pruned one counts at the rungs that it reached.
    At each deciding rung that the trial has passed it must be among the best `keep` of those that have passed it too;
    equals count as ahead of nobody. More measurements never take a decision back, and the best so far always goes on.
    """
    return any(_loses(mine, others, rule, rung) for rung in rule.deciding)


def given_up_at(mine: Curve, others: Sequence[Curve], rule: Rule) -> int | None:
    """The step of the measurement at which a trial was to end, however far it has come since; None: nowhere.

    So a trial ends at the same step whether it was asked at once, late, or again after it was resumed.
    """
    steps = sorted({step for rung in rule.deciding if (step := _passed(mine, rung)) is not None})
    for step in steps:
        if gives_up({other: value for other, value in mine.items() if other <= step}, others, rule):
            return step
    return None


def _loses(mine: Curve, others: Sequence[Curve], rule: Rule, rung: int) -> bool:
    own = at_rung(mine, rung)
    there = [value for other in others if (value := at_rung(other, rung)) is not None]
    if own is None or len(there) < rule.startup:
        return False
    if rule.on_plateau(own) and rule.measured[rung] < rule.trust_on_plateau:
        return False
    ahead = sum(_better(value, own, rule.direction) for value in there)
    return ahead >= math.ceil(rule.keep * (len(there) + 1))


def at_rung(curve: Curve, rung: int) -> float | None:
    """What was measured first at the rung or after it: when the trial is asked. None where it has not come so far."""
    step = _passed(curve, rung)
    return None if step is None else curve[step]


def _passed(curve: Curve, rung: int) -> int | None:
    """The step of the first measurement at the rung or after it."""
    return min((step for step, value in curve.items() if step >= rung and math.isfinite(value)), default=None)


def _better(value: float, other: float, direction: Direction) -> bool:
    return value > other if direction == "maximize" else value < other


# --- what recorded curves say of a rule ------------------------------------------------------------------------------


@dataclass(frozen=True)
class RankCorrelation:
    """How far two orders agree, from −1 to 1, with the 95 % interval where there are pairs enough."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Rung:
    """What the order at a step says of the order at the end."""

    step: int
    trials: int  # with a value at the rung and one at the end
    spearman: RankCorrelation | None  # None: fewer than three trials, or all equal
    kendall: float | None
    on_plateau: int | None  # of the trials; None where no plateau is named

    @property
    def measured(self) -> float | None:
        """What may be counted on: the low end of the interval of Spearman's. None where there is none."""
        return None if self.spearman is None else self.spearman.low


@dataclass(frozen=True)
class Replay(Generic[Key]):
    """What successive halving at these rungs would have done to the recorded trials."""

    keep: float
    rungs: tuple[int, ...]
    pruned: tuple[Key, ...]
    winners: tuple[Key, ...]  # of the pruned: those among the best at the end
    steps_saved: float  # share [0..1] of all steps
    flops_saved: float | None  # share [0..1] of all FLOPs; None where they are not known


@dataclass(frozen=True)
class PruningReport(Generic[Key]):
    """Rungs and thresholds tried on recorded curves."""

    trials: int  # that have an end; the others (pruned, failed) say nothing here
    left_out: int  # of those recorded
    winners: tuple[Key, ...]  # the best at the end, best first
    trust: float
    rungs: tuple[Rung, ...]
    replays: tuple[Replay[Key], ...]  # by keep: each rung alone; then, of several, those trusted together
    ends: Mapping[Key, float] = field(default_factory=dict)

    @property
    def measured(self) -> dict[int, float]:
        """For Rule.measured: of each rung the low end of its interval, so that few trials vouch for little."""
        return {rung.step: rung.measured for rung in self.rungs if rung.measured is not None}

    @property
    def trusted(self) -> tuple[int, ...]:
        """The rungs at which a rule may prune."""
        return tuple(step for step, low in self.measured.items() if low >= self.trust)


def report_on(
    curves: Mapping[Key, Curve],
    finals: Mapping[Key, float],
    rungs: Sequence[int],
    thresholds: Sequence[float],
    *,
    direction: Direction = "maximize",
    finals_direction: Direction = "maximize",
    flops: Mapping[Key, float] | None = None,
    plateau: float | None = None,
    trust: float = 0.5,
    top_k: int = 3,
) -> PruningReport[Key]:
    """What each rung says of the end, and what pruning there would have saved and cost.

    curves: of every trial; finals: its value at the end, absent or not finite where it has none. thresholds: shares of
    the trials at a rung that go on. flops: of each whole run. top_k: so many of the best at the end are the winners.
    A replay holds every trial against all others that came so far, in whichever order they ran; it spares nobody, and
    ends none at its last measurement, where there is nothing left to save. Raises ValueError for rungs or thresholds
    that no rule can have.
    """
    ended = {key: curves[key] for key, end in finals.items() if math.isfinite(end) and curves.get(key)}
    ends = {key: finals[key] for key in ended}
    sign = -1 if finals_direction == "maximize" else 1
    winners = tuple(sorted(ends, key=lambda key: sign * ends[key])[:top_k])
    rule = Rule(direction=direction, rungs=tuple(rungs), plateau=plateau, trust=trust)
    found = tuple(_rung(rung, ended, ends, rule, finals_direction) for rung in rule.rungs)
    trusted = tuple(one.step for one in found if one.measured is not None and one.measured >= trust)
    tried = [*((rung,) for rung in rule.rungs), *([trusted] if len(trusted) > 1 else [])]
    replays = tuple(
        _replay(ended, _as_if_measured(rule, keep, steps), winners, flops) for keep in thresholds for steps in tried
    )
    left_out = len({*curves, *finals}) - len(ended)
    return PruningReport(len(ended), left_out, winners, trust, found, replays, ends)


def _rung(
    step: int, curves: Mapping[Key, Curve], ends: Mapping[Key, float], rule: Rule, finals_direction: Direction
) -> Rung:
    at = {key: value for key, curve in curves.items() if (value := at_rung(curve, step)) is not None}
    sign = 1 if rule.direction == finals_direction else -1
    pairs = [(value, sign * ends[key]) for key, value in at.items()]
    plateau = None if rule.plateau is None else sum(map(rule.on_plateau, at.values()))
    return Rung(step, len(pairs), spearman(pairs), _kendall(pairs), plateau)


def _as_if_measured(rule: Rule, keep: float, rungs: tuple[int, ...]) -> Rule:
    """The rule that believes in these rungs, plateau or not, and spares nobody."""
    update = {"keep": keep, "rungs": rungs, "measured": dict.fromkeys(rungs, 1.0), "startup": 1}
    return Rule.model_validate({**rule.model_dump(), **update})


def _replay(
    curves: Mapping[Key, Curve], rule: Rule, winners: Sequence[Key], flops: Mapping[Key, float] | None
) -> Replay[Key]:
    """Rung by rung: each trial against all others that have come so far."""
    ran = {key: max(curve) for key, curve in curves.items()}  # the last step of each
    ends_at = dict(ran)
    for rung in rule.rungs:
        alone = rule.model_copy(update={"rungs": (rung,)})
        so_far = {key: step for key in curves if ends_at[key] == ran[key] and (step := _passed(curves[key], rung))}
        losers = [
            key for key in so_far if gives_up(curves[key], [curves[other] for other in so_far if other != key], alone)
        ]
        ends_at |= {key: so_far[key] for key in losers}
    pruned = tuple(key for key in curves if ends_at[key] < ran[key])
    saved = {key: 1 - ends_at[key] / ran[key] for key in curves}  # share of its own steps
    known = flops is not None and all(key in flops for key in curves)
    return Replay(
        keep=rule.keep,
        rungs=rule.rungs,
        pruned=pruned,
        winners=tuple(key for key in winners if key in pruned),
        steps_saved=_weighted(saved, ran),
        flops_saved=_weighted(saved, flops) if known and flops else None,
    )


def _weighted(shares: Mapping[Key, float], weights: Mapping[Key, float]) -> float:
    """The mean of the shares; 0 where nothing weighs."""
    whole = math.fsum(weights[key] for key in shares)
    return math.fsum(shares[key] * weights[key] for key in shares) / whole if whole else 0.0


def spearman(pairs: Sequence[tuple[float, float]]) -> RankCorrelation | None:
    """Spearman's rank correlation; None for fewer than three pairs, or where one side is all equal.

    Interval: Fisher's z with Bonett and Wright's variance (2000), from 5 pairs on. It knows nothing of an order without
    a fault, whose z is infinite: there it is taken at the next lower value that so many pairs can have.
    """
    if not _can_rank(pairs):
        return None
    from scipy import stats

    one, other = _sides(pairs)
    value = float(stats.spearmanr(one, other).statistic)
    n = len(pairs)
    if n < FEWEST:
        return RankCorrelation(value)
    most = 1 - 12 / (n * (n * n - 1))  # two neighbours changed
    inside = min(max(value, -most), most)
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt((1 + inside * inside / 2) / (n - 3))
    return RankCorrelation(value, math.tanh(math.atanh(inside) - half), math.tanh(math.atanh(inside) + half))


def _kendall(pairs: Sequence[tuple[float, float]]) -> float | None:
    if not _can_rank(pairs):
        return None
    from scipy import stats

    one, other = _sides(pairs)
    return float(stats.kendalltau(one, other).statistic)


def _can_rank(pairs: Sequence[tuple[float, float]]) -> bool:
    return len(pairs) >= 3 and all(len(set(side)) > 1 for side in _sides(pairs))


def _sides(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [one for one, _ in pairs], [other for _, other in pairs]
