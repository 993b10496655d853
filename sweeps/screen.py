"""What a person sees of a plan before anything starts, in as many columns as the terminal has.

Nothing else in sweeps/ asks how wide that is. Where there is not room for all, columns go in the order of LEAST_WANTED,
then names are shortened in their middle; a seed and a number never are.
"""

from __future__ import annotations

import math
import shlex
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.budget import Budget, within
from sweeps.plan import Plan, PlannedRun
from sweeps.words import shorten
from trm_core.memory import gigabytes

NARROWEST = 40  # columns; below that lines run over
LINE_PER_RUN = 20  # runs; where there are more, a row's equal runs share a line
LEAST_WANTED = ("parameters", "NFP", "FLOPs", "depth", "memory", "done")  # the first goes first
LEAST_NAME = 28  # characters of a name that are kept as long as there is a column to drop
GAP = "  "


def width() -> int:
    """The terminal's columns; 80 where there is none. COLUMNS, where it is set, is believed."""
    return max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def duration_words(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 2.4 min, 12 min, 3.5 h, 4.2 days."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 10 * 60:
        return f"{seconds / 60:.1f} min"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else _days(seconds / 86400)


def _days(days: float) -> str:
    return f"{days:.1f} days" if days < 1000 else f"{days:,.0f} days"


def hours_words(hours: float) -> str:
    """GPU-hours with two digits that count: 0.02, 1.4, 37, 1,204."""
    return f"{hours:.2f}" if hours < 1 else f"{hours:.1f}" if hours < 10 else f"{hours:,.0f}"


def dollars_words(dollars: float) -> str:
    """$0.31, $4.20, $1,204; <$0.01."""
    if 0 < dollars < 0.005:
        return "<$0.01"
    return f"${dollars:.2f}" if dollars < 100 else f"${dollars:,.0f}"


def paragraph(text: str) -> str:
    """A sentence, broken between words alone."""
    return textwrap.fill(text, width(), break_long_words=False, break_on_hyphens=False)


def to_copy(label: str, words: Sequence[str]) -> str:
    """A shell command behind its label; where that is too long, below it, cut between words, to be pasted whole.

    A word that is longer than a line, a path, stays whole.
    """
    line = f"{label}: {shlex.join(words)}"
    if len(line) <= width():
        return line
    lines = [f"{label}:"]
    for word in map(shlex.quote, words):
        longer = f"{lines[-1]} {word}"
        if len(lines) == 1:
            lines.append(f"  {word}")
        elif len(longer) <= width() - len(" \\"):
            lines[-1] = longer
        else:
            lines[-1] += " \\"
            lines.append(f"    {word}")
    return "\n".join(lines)


# --- the plan --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """A line of the plan: a run, or a row's runs that cost the same."""

    row: str
    seeds: str
    runs: tuple[PlannedRun, ...]

    @property
    def done(self) -> str:
        n = sum(run.done for run in self.runs)
        if len(self.runs) == 1:
            return "yes" if n else ""
        return f"{n} of {len(self.runs)}" if n else ""


def print_plan(plan: Plan, seeds: str = "", say: Callable[[str], None] = print) -> None:
    """The plan as a table, what is left in all, and where the numbers come from.

    seeds: the sentence on what the seeds separate (power.in_words), where there is one.
    """
    for line in plan_lines(plan, seeds, width()):
        say(line)


def plan_lines(plan: Plan, seeds: str, room: int) -> list[str]:
    """What print_plan prints, in so many columns."""
    lines = _lines(plan)
    columns = {
        "done": [line.done for line in lines],
        "depth": [str(line.runs[0].job.run.model.depth) for line in lines],
        "NFP": [str(line.runs[0].job.run.model.nfp) for line in lines],
        "parameters": [f"{line.runs[0].job.run.parameters():,}" for line in lines],
        "memory": [gigabytes(line.runs[0].memory) for line in lines],
        "FLOPs": [f"{line.runs[0].work.flops:.1e}" for line in lines],
    }
    each = "time" if len(lines) == len(plan.runs) else "time each"
    columns[each] = [duration_words(line.runs[0].seconds) for line in lines]
    totals = {"FLOPs": f"{plan.flops:.1e}", each: duration_words(plan.seconds)}
    if plan.unit == "GPU" or plan.price:
        columns[f"{plan.unit}-h"] = [hours_words(sum(run.hours for run in line.runs)) for line in lines]
        totals[f"{plan.unit}-h"] = hours_words(plan.hours)
    if plan.price is not None and plan.dollars is not None:
        rate = plan.price.dollars_per_hour
        columns["cost"] = [dollars_words(rate * sum(run.hours for run in line.runs)) for line in lines]
        totals["cost"] = dollars_words(plan.dollars)
    if not any(columns["done"]):
        del columns["done"]
    names = [(line.row, line.seeds) for line in lines]
    left = f"left: {len(plan.todo)} of {len(plan.runs)}"
    return [*_table(names, columns, left, totals, room), "", *_sentences(plan, seeds, room)]


def _lines(plan: Plan) -> list[_Line]:
    """In the order in which the rows were asked for."""
    if len(plan.runs) <= LINE_PER_RUN:
        return [_Line(run.job.title, run.job.seeds, (run,)) for run in plan.runs]
    groups: dict[tuple[object, ...], list[PlannedRun]] = {}
    for run in plan.runs:
        alike = (run.job.title, run.job.data_seed, run.work, run.rate.flops_per_s, run.memory)
        groups.setdefault(alike, []).append(run)
    rows = list(dict.fromkeys(run.job.title for run in plan.runs))
    return [
        _Line(runs[0].job.title, _seeds(runs), tuple(runs))
        for runs in sorted(groups.values(), key=lambda runs: rows.index(runs[0].job.title))
    ]


def _seeds(runs: Sequence[PlannedRun]) -> str:
    """ "seed 0", "seeds 0-2", "seeds 0-1,5", with the data seed behind it where there is one."""
    if len(runs) == 1:
        return runs[0].job.seeds
    seeds = sorted(run.job.seed for run in runs)
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    said = ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
    data_seed = runs[0].job.data_seed
    return f"seeds {said}" + (f", data seed {data_seed}" if data_seed else "")


def _table(
    names: Sequence[tuple[str, str]],
    columns: dict[str, list[str]],
    left: str,
    totals: dict[str, str],
    room: int,
) -> list[str]:
    """The columns that fit, names to the left, numbers to the right; the last line is what is left."""
    longest = max(len(f"{row} · {seeds}") for row, seeds in names)
    for column in ("", *LEAST_WANTED):
        columns.pop(column, None)
        widths = {name: max(map(len, (name, totals.get(name, ""), *cells))) for name, cells in columns.items()}
        for_names = room - sum(len(GAP) + each for each in widths.values())
        if for_names >= min(longest, LEAST_NAME):
            break
    for_names = max(min(for_names, max(longest, len(left))), len(left))

    def line(name: str, cells: Iterable[str]) -> str:
        numbers = (GAP + cell.rjust(widths[column]) for column, cell in zip(columns, cells, strict=True))
        return (name.ljust(for_names) + "".join(numbers)).rstrip()

    short = [shorten(row, f"· {seeds}", for_names) for row, seeds in names]
    told_apart = len(set(short)) == len(set(names))
    rows = []
    for at, (row, seeds) in enumerate(names):
        rows += [] if told_apart else _filled(row, room)  # what was cut out is what differs
        rows.append(line(short[at] if told_apart else f"  {seeds}", [cells[at] for cells in columns.values()]))
    rule = "-" * (for_names + sum(len(GAP) + each for each in widths.values()))
    total = line(left, [totals.get(column, "") for column in columns])
    return [line("run", columns), rule, *rows, rule, total]


def _sentences(plan: Plan, seeds: str, room: int) -> list[str]:
    said = []
    if plan.todo:
        said.append(
            f"About {duration_words(plan.seconds)} until all is done, {plan.at_once} run(s) at once, with"
            f" {plan.start_s:.0f} s for Ray's start; evaluations are in it."
        )
        if plan.price is not None and plan.dollars is not None and plan.rented_dollars is not None:
            hours = f"{hours_words(plan.hours)} {plan.unit}-hours"
            idle = (
                f" ({dollars_words(plan.rented_dollars)} for all places from start to end)"
                if plan.rented_dollars > 1.1 * plan.dollars
                else ""
            )
            said.append(
                f"{hours} at ${plan.price.dollars_per_hour:g}: {dollars_words(plan.dollars)}{idle}. Price:"
                f" {plan.price.source}."
            )
    if plan.too_large and plan.memory is not None:
        less = "" if plan.too_large[0].recomputes else "train.activation_checkpointing=true, "
        said.append(
            f"{len(plan.too_large)} run(s) do not fit into the {gigabytes(plan.memory)} there are, as"
            f" {plan.too_large[0].job.name}, and would be refused: {less}a smaller train.batch_size, or more workers."
        )
    if plan.recomputing and plan.memory is not None:
        said.append(
            f"{len(plan.recomputing)} run(s) fit into the {gigabytes(plan.memory)} there are by recomputing in the"
            f" backward, as {plan.recomputing[0].job.name}: train.activation_checkpointing=auto; it moves no number."
        )
    said += [f"Times are estimates from {source}." for source in plan.sources]
    said += [*plan.notes, seeds, "Memory is the peak of one worker, by formula (trm_core/memory.py)."]
    return [line for text in said if text for line in _filled(text, room)]


def _filled(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


# --- before and after the runs ---------------------------------------------------------------------------------------


def say_what_is_left(
    plan: Plan, what: str, budget: Budget | None = None, *, n_failed: int = 0, say: Callable[[str], None] = print
) -> None:
    """What is done already, what is to do and how long that takes, and what of it a budget is enough for.

    what: the campaign, for a person: "recursion_depth in mini". n_failed: of the done ones, that failed earlier.
    """
    todo = plan.todo
    if plan.n_done > n_failed:
        say(paragraph(f"{what}: {plan.n_done - n_failed} of {len(plan.runs)} runs are done already"))
    if n_failed:
        say(paragraph(f"{what}: {n_failed} failed earlier and stay so; --retry-failed tries them again"))
    if todo:
        about = f"about {duration_words(plan.seconds)} (from {'; '.join(plan.sources)})"
        say(paragraph(f"{what}: {len(todo)} to do, {about}"))
        if budget is not None and (n := len(within(budget, plan))) < len(todo):
            say(paragraph(f"--budget {budget.text} is enough for {n} of them; the rest is left for another command"))


def print_files(folder: Path, names: Sequence[str], say: Callable[[str], None] = print) -> None:
    """Where a report lies: its folder, and below that its files; the forms of one share its name."""
    say(f"{folder}/")
    forms: dict[str, list[str]] = {}
    for name in names:
        stem, _, ending = name.rpartition(".")
        forms.setdefault(stem, []).append(ending)
    shown = [f"{stem}.{of[0]}" if len(of) == 1 else f"{stem}.{{{','.join(of)}}}" for stem, of in forms.items()]
    for line in textwrap.wrap("  ".join(shown), width() - 2, break_long_words=False, break_on_hyphens=False):
        say(f"  {line}")


def say_what_was_not_begun(
    plan: Plan, not_begun: Sequence[str], budget: Budget, say: Callable[[str], None] = print
) -> None:
    """What a budget has left undone. not_begun: keys."""
    left = [run for run in plan.runs if run.job.key in set(not_begun)]
    if not left:
        return
    names = "; ".join(run.job.name for run in left[:3]) + ("; …" if len(left) > 3 else "")
    hours = sum(run.hours for run in left)
    say(
        paragraph(
            f"--budget {budget.text}: {len(left)} run(s) were not begun, about {hours_words(hours)} {plan.unit}-hours"
            f" ({names}); the same command with more of it goes on"
        )
    )
