"""The words and the rounding that every form of a table shares: numbers as text, captions, footnotes."""

from __future__ import annotations

from reports import paper, stats, verdicts
from reports.facts import kind, measured
from reports.plain import one_line
from reports.runs import EXACT, LOSS, accuracy_metric, loss_metric, passes
from reports.stats import Interval
from reports.table import NOTHING, Cell
from reports.types import Table, TableRow

DAGGER = "†"
QUOTED = "Quoted from the paper, not run here"
CLAIMS_TITLE = "The paper's claims"
CHECKPOINTS_TITLE = "Which checkpoint"
VOTES_TITLE = "Accuracy against the number of votes"
ONE_CHECKPOINT = (
    "Of a run's last checkpoint alone, mean over seeds; votes pooled over checkpoints are never in these numbers."
)
VOTES_CAPTION = (
    "pass@2 in % where only the first so many variants of each task vote; the last column is all of them."
    f" {ONE_CHECKPOINT}"
)
CHECKPOINTS_CAPTION = (
    "Exact accuracy on test in %, mean over seeds: of the last checkpoint, which all tables are of; of the one that"
    " is best on validation; and of the one that is best on test, which nobody could have picked (peeking). Evaluations"
    f" before the last may use fewer puzzles. Late decline: the last is more than {100 * verdicts.DECLINE:.0f} points"
    f" below the best on validation or, without validation, more than {200 * verdicts.DECLINE:.0f} below the best on"
    " test."
)

# --- numbers ----------------------------------------------------------------------------------------------------------


def percent(fraction: float) -> str:
    """0.8741 → "87.4"."""
    return f"{100 * fraction:.1f}"


def bracket(interval: Interval | None) -> str:
    """An interval in per cent, "[85.2, 89.3]"."""
    return NOTHING if interval is None else f"[{percent(interval.low)}, {percent(interval.high)}]"


def spread(row: TableRow) -> str:
    """The half-width over seeds in points, "± 1.2"."""
    return NOTHING if row.seed_interval is None else f"± {percent(row.seed_interval.half_width)}"


def signed(points: float) -> str:
    """A difference in points, "−3.2"."""
    return f"{points:+.1f}".replace("-", "−")


def number(count: int | None) -> str:
    """A count, 5,028,866; a dash where the row has none, since it is not possible."""
    return NOTHING if count is None else f"{count:,}"


def size(parameters: int | None) -> str:
    """A number of parameters as the paper prints it, "27M"; small models in thousands."""
    if parameters is None:
        return NOTHING
    if parameters >= 1_000_000:
        return f"{parameters / 1e6:.0f}M"
    return f"{parameters / 1e3:.0f}k" if parameters >= 1_000 else str(parameters)


def short(text: str, length: int) -> str:
    """The text in one line, cut with an ellipsis."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


# --- cells ------------------------------------------------------------------------------------------------------------


def ours(row: TableRow, seeds: int | None) -> Cell:
    """Our cell: mean ± interval, the number of seeds unless all rows share it, the verdict's mark; or why no number."""
    if row.mean is None:
        return Cell(short(row.status.partition(":")[0], 28), row=row.name)
    text = percent(row.mean) + ("" if row.seed_interval is None else f" {spread(row)}")
    text = text if seeds == len(row.values) else f"{text} ({len(row.values)})"
    return Cell(text, row.verdict.mark, row.is_best, row.name)


def papers(row: TableRow) -> str:
    """The paper's cell, as printed there."""
    if row.paper is None:
        return NOTHING
    return one_line(row.paper) if isinstance(row.paper, str) else f"{row.paper:.1f}"


def difference(row: TableRow) -> str:
    """Ours minus the paper's, in points."""
    return NOTHING if row.difference is None else signed(row.difference)


def to_baseline(row: TableRow) -> str:
    """Ours minus our baseline's, in points, and how likely chance alone would make as much."""
    return NOTHING if row.against is None else f"{signed(100 * row.against.mean)} (p {probability(row.against.p)})"


def probability(p: float) -> str:
    """ "0.03"; "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.0995 else f"{p:.2f}"


def depth(row: TableRow) -> str:
    """The formula's depth, marked where the paper prints another."""
    return f"{row.depth}{DAGGER}" if flagged(row) else number(row.depth)


def flagged(row: TableRow) -> bool:
    """Whether the paper prints another depth than its formula."""
    return None not in (row.depth, row.paper_depth) and row.paper_depth != row.depth


def common_seeds(table: Table) -> int | None:
    """The number of seeds behind every number, where it is the same."""
    counts = {len(row.values) for row in table.rows if row.values}
    return counts.pop() if len(counts) == 1 else None


# --- captions and notes -----------------------------------------------------------------------------------------------


def caption(table: Table) -> str:
    """What the numbers are: metric, evaluation depth, seeds, the interval, and the rule behind each mark."""
    seeds = common_seeds(table)
    if seeds is None:
        over = "the number of seeds in parentheses"
    else:
        over = f"mean over {seeds} seeds" if table.over == "seeds" else f"mean over {seeds} runs"
        over = "one seed per row" if seeds == 1 else over
    steps = " or ".join(str(count) for count in table.eval_steps)
    sentences = [
        f"{metric_on(table)} in %, {over}, evaluated with {steps} supervision step{'' if steps == '1' else 's'}."
    ]
    if (k := passes(table.study.metric)) is not None:
        voters = f" (at most {' or '.join(f'{count:,}' for count in table.voters)})" if table.voters else ""
        answers = "attempt is the answer" if k == 1 else f"attempts are the {k} answers"
        sentences.append(
            f"A task's {answers} with the most votes among its variants{voters}, cast by the run's last"
            " checkpoint alone. A task with several test inputs scores the share of them that is solved;"
            " it is not just solved or not, so there is no Wilson interval of the test set."
        )
    if any(row.seed_interval for row in table.rows):
        sentences.append(
            f"± is the 95 % interval of the mean over {table.over} (Student t{_pooled(table)}){_draws(table)}."
        )
    elif any(row.values for row in table.rows):
        sentences.append("With one seed there is no interval over seeds.")
    if any(row.verdict.mark for row in table.rows) and table.study.layout != "losses":
        sentences.append(f"{verdicts.RULE[0].upper()}{verdicts.RULE[1:]}")
    if any(row.is_best for row in table.rows):
        sentences.append(verdicts.BEST_RULE)
    if any(row.against for row in table.rows):
        by = " and ".join(dict.fromkeys(row.against.by for row in table.rows if row.against is not None))
        sentences.append(f"Against the baseline, {' and '.join(_baselines(table))}: {by}, two sides, 5 % in all.")
    return " ".join(sentences)


def _baselines(table: Table) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.against.other for row in table.rows if row.against is not None))


def _pooled(table: Table) -> str:
    scales = dict.fromkeys(stats.SCALES[pool.scale] for pool in table.pools if pool.df and len(pool.rows) > 1)
    return f"; the seeds' spread {' or '.join(scales)}" if scales else ""


def _draws(table: Table) -> str:
    """How runs count that share their puzzles."""
    return ", where the mean of a draw's runs counts once" if " and " in table.over else ""


def metric_name(table: Table) -> str:
    """The study's metric as a figure's axis says it."""
    k = passes(table.study.metric)
    if k is not None:
        return f"pass@{k}, test"
    metric = accuracy_metric(table.study)
    return "Exact accuracy, test" if metric == EXACT else metric


def metric_on(table: Table) -> str:
    """The study's metric and what it is measured on."""
    if (k := passes(table.study.metric)) is not None:
        return f"Test tasks solved in {_attempts(k)} (pass@{k})"
    metric = accuracy_metric(table.study)
    of = measured(table.rows, " or ")
    on = f"the {of} test {_kind(table)}" if of else f"the test {_kind(table)}"
    return f"Exact accuracy on {on}" if metric == EXACT else metric


def _attempts(k: int) -> str:
    return {1: "one attempt", 2: "two attempts"}.get(k, f"{k} attempts")


def _kind(table: Table) -> str:
    return kind(row.puzzle for row in table.rows)


def other_depths(table: Table) -> tuple[str, ...]:
    """The footnote of the flagged depths, where there are any."""
    printed = dict.fromkeys(row.paper_depth for row in table.rows if row.paper_depth is not None and flagged(row))
    return (f"{DAGGER} {paper.other_depths(printed)}",) if printed else ()


def footnotes(table: Table) -> tuple[str, ...]:
    """What stands under the table: the flagged depths, then the notes."""
    return other_depths(table) + table.notes


def heading(table: Table) -> str:
    """One line: title, source, profile."""
    return f"{table.study.title}: {table.study.source}, profile {table.profile}"


def sentence(text: str) -> str:
    """A warning as a sentence."""
    return f"{text[0].upper()}{text[1:]}."


def claims_caption(table: Table) -> str:
    """By what rule a claim is judged, and at what scale."""
    at = "" if table.comparable else f" At this scale, which is not the paper's: {table.warning}."
    return f"{verdicts.CLAIM_RULE}{at}"


LOSS_WORDS = {
    LOSS: "the mean over a puzzle's cells, and the halting loss",
    "train/lm_loss": "the mean over a puzzle's cells, without the halting loss",
}


def losses_caption(table: Table) -> str:
    """What the four numbers are, and over how many steps each is averaged."""
    counted = {run.log_every for row in table.rows if row.losses for run in row.runs if run.log_every is not None}
    every = " or ".join(str(count) for count in sorted(counted)) or "train.log_every"
    counts = {len(row.losses) for row in table.rows if row.losses}
    over = (
        "one seed per row"
        if counts == {1}
        else f"the mean over {table.over}, with its 95 % interval (Student t, each row's own spread)"
    )
    steps = "after every training step" if every == "1" else f"each a mean over {every} training steps"
    loss = loss_metric(table.study)
    rule = f" Final: {verdicts.LOSS_RULE}" if any(row.verdict.mark for row in table.rows) else ""
    return (
        f"Training loss in nats ({LOSS_WORDS.get(loss, loss)}), as a run reports it ({steps}):"
        " the first, the last and the least; improvement is (initial − final) / initial."
        " It is the loss of the weights in training, not of their EMA."
        f" Ours: {over}.{rule}"
    )


def speed_caption(table: Table) -> str:
    """What it is to come to an accuracy, and what is counted on the way there."""
    assert table.study.reach is not None
    every = " or ".join(
        dict.fromkeys(f"{row.settings.train.eval_every:,}" for row in table.rows if row.settings is not None)
    )
    return (
        f"Training until {100 * table.study.reach:g} % of the validation puzzles that a run is looked at by are"
        f" solved, looked at every {every} steps: steps, floating-point operations by formula, and seconds on the run's"
        " device, evaluations in neither; means over the seeds, and no mean where one of them never came there. Times"
        f" fewer: than {one_line(table.rows[0].name)}."
    )


def about(table: Table) -> str:
    """The caption of the paper's layout."""
    if table.study.layout == "losses":
        return losses_caption(table)
    return caption(table) if table.study.reach is None else f"{speed_caption(table)} {caption(table)}"


# --- figures ----------------------------------------------------------------------------------------------------------


NOT_DRAWN_TITLE = "Figures not drawn"


def bars(table: Table) -> str:
    """What a figure's bars are, as a sentence after another; empty where it has none."""
    has_some = any(row.seed_interval for row in table.rows)
    return f" Bars: 95 % interval of the mean over {table.over}." if has_some else ""
