"""The command line.

python -m trm_core evaluate CHECKPOINT DATA [--steps 16,32,64,128]    accuracy at each depth; with ARC also the vote
       … --halt both                                                  the same, faster: where answers have settled
python -m trm_core vote FOLDER... --data DATA                         the vote of predictions that are there
python -m trm_core solve CHECKPOINT PUZZLE|FILE|SET:17                what it answers, step after step
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from scipy import stats

from data_prep.places import local_path
from data_prep.puzzle_set import SPLITS, PuzzleSet
from trm_core import checkpoint as checkpoints_of
from trm_core.checkpoint import Checkpoint
from trm_core.command_line import BadCommand, Parser, answered
from trm_core.config import RunConfig
from trm_core.devices import device_named
from trm_core.diagnostics import diagnose
from trm_core.evaluate import evaluate_at
from trm_core.evaluate_outcomes import Watch
from trm_core.model import Model
from trm_core.opening import OtherPuzzles, check_puzzles, check_tasks, open_model, open_puzzles
from trm_core.outcomes import Place, write_outcomes
from trm_core.settling import Halt
from trm_core.solving.command import add_options, solve_command

if TYPE_CHECKING:
    from trm_core.arc_vote import Vote

CONFIDENCE = 0.95
PER_CENT = {"exact_accuracy": "exact %", "cell_accuracy": "cells %"}  # as the table of scores has them


class CannotWrite(ValueError):
    """A file of numbers that cannot be written."""


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} found, expected a number of 1 or more")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part) for part in text.split(",")}))


def parser() -> Parser:
    """Every option of the command line."""
    top = Parser(prog="python -m trm_core", description="Puzzles and checkpoints to numbers.", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="evaluate|vote|solve")
    evaluate = commands.add_parser("evaluate", help="accuracy of a checkpoint at each depth", allow_abbrev=False)
    add = evaluate.add_argument
    add(
        "checkpoint",
        type=local_path,
        metavar="CHECKPOINT",
        help="a step_… folder, a folder of them (newest), or a run's",
    )
    add(
        "data",
        type=local_path,
        metavar="DATA",
        help="a puzzle set of ours, one of the released code, or a folder of files",
    )
    add("--split", choices=SPLITS, default="test", help="default: test")
    add("--steps", type=_counts, metavar="16,32,…", help="supervision steps to score at (default: as it was trained)")
    add(
        "--halt",
        choices=("never", "settled", "both"),
        default="never",
        help="settled: a puzzle stops once its answer stays and the halting head asks to halt; both: one beside the"
        " other (default: never, the paper's; a vote always takes all steps)",
    )
    add(
        "--unchanged",
        type=_count,
        metavar="K",
        help="settled: the answer has stayed for K steps (default: 1; choose it on --split validation)",
    )
    add("--limit", type=_count, metavar="N", help="the first N puzzles (default: all)")
    add("--batch-size", type=_count, metavar="B", help="puzzles at once (default: the training's)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto, a GPU where there is one")
    add("--diagnostics", action="store_true", help="also how the recursion behaves: accuracy and residuals by step")
    add("--json", type=local_path, metavar="FILE", help="write the numbers there too")
    add(
        "--outcomes",
        type=local_path,
        metavar="FILE.npz",
        help="write there which of all test puzzles are solved, and when",
    )
    add(
        "--blank-identifiers",
        action="store_true",
        help="no puzzle by its identifier: does the model know it only by that?",
    )
    add(
        "--allow-leak", action="store_true", help="ARC: even if the model has learnt from tasks it is asked; it is said"
    )
    add("--votes", type=_count, metavar="N", help="ARC: the first N variants of a task vote (default: the training's)")
    add(
        "--out",
        type=local_path,
        metavar="FOLDER",
        help="ARC: predictions, votes.csv and submission.json go there (default: predictions/step_…, or …_blank)",
    )
    evaluate.set_defaults(carry_out=evaluate_command)
    vote = commands.add_parser(
        "vote", help="ARC: pass@k of predictions, of each and of all together", allow_abbrev=False
    )
    add = vote.add_argument
    add("folders", type=local_path, nargs="+", metavar="FOLDER", help="predictions of a checkpoint, or a run's folder")
    add("--data", type=local_path, required=True, metavar="DATA", help="the puzzle set that was predicted")
    add("--out", type=local_path, metavar="FOLDER", help="write votes.csv and submission.json there, of all together")
    add("--json", type=local_path, metavar="FILE", help="write the numbers there too")
    vote.set_defaults(carry_out=vote_command)
    solve = commands.add_parser("solve", help="watch a checkpoint solve puzzles", allow_abbrev=False)
    add_options(solve, _count)
    solve.set_defaults(carry_out=solve_command)
    return top


def exact_interval(scores: Mapping[str, float]) -> tuple[float, float]:
    """Wilson 95 % interval of exact accuracy, both ends as fractions: what another draw of puzzles may give.

    Of whole answers alone: the cells of one puzzle are right or wrong together, so they are no sample of their own.
    """
    puzzles = round(scores["puzzles"])
    solved = round(scores["exact_accuracy"] * puzzles)
    low, high = stats.binomtest(solved, puzzles).proportion_ci(CONFIDENCE, method="wilson")
    return float(low), float(high)


def table(*evaluations: Mapping[int, Mapping[str, float]], halts: Sequence[str] = ()) -> str:
    """Scores by supervision steps, aligned, in per cent; with mazes also the share of shortest paths, whichever.

    Several evaluations stand below one another, step by step; halts names each. Steps used: where one let puzzles stop.
    """
    rows = [(step, scores[step]) for step in evaluations[0] for scores in evaluations]
    used, path = ("used", "shortest %") if halts else ("steps used", "a shortest path %")  # 80 columns hold all
    columns = {"steps": [str(step) for step, _ in rows]}
    if halts:
        columns["halt"] = [*halts] * len(evaluations[0])
    if any("steps_used" in at for _, at in rows):
        columns[used] = [f"{at.get('steps_used', step):.2f}" for step, at in rows]
    columns["exact %"] = [f"{100 * at['exact_accuracy']:.2f}" for _, at in rows]
    ends = [exact_interval(at) for _, at in rows]
    columns["95 % interval"] = [f"{100 * low:.2f} to {100 * high:.2f}" for low, high in ends]
    columns["cells %"] = [f"{100 * at['cell_accuracy']:.2f}" for _, at in rows]
    if any("shortest_path_accuracy" in at for _, at in rows):
        columns[path] = [f"{100 * at['shortest_path_accuracy']:.2f}" for _, at in rows]
    columns["puzzles"] = [f"{round(at['puzzles']):,}" for _, at in rows]
    widths = [max(map(len, (head, *cells))) for head, cells in columns.items()]
    lines = [columns, *zip(*columns.values(), strict=True)]
    return "\n".join("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)


def what_stopping_does(
    never: Mapping[int, Mapping[str, float]], settled: Mapping[int, Mapping[str, float]], seconds: Mapping[Halt, float]
) -> str:
    """Of the deepest of both evaluations: points lost, steps and time saved, if any."""
    step = max(never)
    points, used = 100 * (settled[step]["exact_accuracy"] - never[step]["exact_accuracy"]), settled[step]["steps_used"]
    lost = f"where answers have settled: {points:+.2f} points at {step} steps, {used:.2f} steps used a puzzle"
    if used == step:
        return f"{lost};\nnone stopped before the last, so no time is saved"
    times = seconds["never"] / seconds["settled"]
    return f"{lost};\n{seconds['settled']:.1f} s instead of {seconds['never']:.1f}, {times:.1f} times as fast"


def by_step(behaviour: Mapping[str, float]) -> str:
    """Diagnostics, a line per supervision step and one per recursion of the last of them; "" where not measured.

    Accuracies in per cent, as in the table above them.
    """
    columns = list(dict.fromkeys(name.split("/")[0] for name in behaviour))
    rows = list(dict.fromkeys(name.split("/")[1] for name in behaviour))
    heads = (PER_CENT.get(column, column.replace("_", " ")) for column in columns)
    lines = [f"{'':>14}" + "".join(f"{head:>16}" for head in heads)]
    for row in sorted(rows, key=lambda row: (row.startswith("recursion"), row)):
        found = ((column, behaviour.get(f"{column}/{row}")) for column in columns)
        cells = ("" if value is None else _cell(column, value) for column, value in found)
        lines.append(f"{row.replace('_', ' '):>14}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)


def _cell(column: str, value: float) -> str:
    return f"{100 * value:.2f}" if column in PER_CENT else f"{value:.4g}"


def vote_table(votes: Mapping[str, Vote]) -> str:
    """pass@k by what voted, aligned, in per cent."""
    width = max(map(len, votes))
    ks = list(next(iter(votes.values())).pass_at)
    lines = [
        f"{'':<{width}}  {'tasks':>5}  {'inputs':>6}  {'variants':>8}" + "".join(f"{f'pass@{k} %':>12}" for k in ks)
    ]
    for name, found in votes.items():
        counts = f"{found.n_tasks:>5,}  {found.n_inputs:>6,}  {found.votes:>8,}"
        lines.append(f"{name:<{width}}  {counts}" + "".join(f"{100 * found.pass_at[k]:>12.2f}" for k in ks))
    return "\n".join(lines)


def evaluate_command(options: argparse.Namespace) -> None:
    """Score a checkpoint on puzzles at each depth asked for, in one pass, and let ARC's vote; print, write if asked."""
    device = torch.device(device_named(options.device))
    saved = checkpoints_of.open_at(options.checkpoint)
    run, model = open_model(saved)
    with open_puzzles(options.data, run.data) as data:
        _evaluate(options, device, saved, run, model, data)


def _evaluate(
    options: argparse.Namespace, device: torch.device, saved: Checkpoint, run: RunConfig, model: Model, data: PuzzleSet
) -> None:
    check_puzzles(run, model, data, options.split, blank_identifiers=options.blank_identifiers)
    leaks = check_tasks(
        saved,
        run,
        data,
        options.split,
        blank_identifiers=options.blank_identifiers,
        allow_leak=options.allow_leak,
    )
    votes = data.groups is not None
    if not votes and (options.votes or options.out):
        raise BadCommand(f"--votes, --out: {options.data} has no groups of variants that could vote; leave them out")
    out = options.out or Path("predictions") / f"step_{saved.step:08d}{'_blank' * options.blank_identifiers}"
    if votes and any(out.glob("part-*")):
        raise CannotWrite(f"{out}: holds predictions; give another folder by --out, or delete it")
    if votes:
        from trm_core.arc_vote import make_room, predict, vote, write_outcome

        make_room(out)  # told before the work, not after it
    steps = options.steps or (run.evaluation_steps,)
    watch = None
    if options.unchanged and options.halt == "never":
        raise BadCommand("--unchanged: says when an answer has settled; give --halt settled or both, or leave it out")
    if options.outcomes is not None and options.halt == "both":
        raise BadCommand("--outcomes: of one evaluation, and --halt both makes two; give --halt never or settled")
    if options.outcomes is not None:
        if options.split != "test" or options.limit is not None:
            raise BadCommand("--outcomes: of the whole test split alone; leave out --split and --limit")
        watch = Watch(len(data.test), max(steps), run.model, device)
    batch_size = options.batch_size or run.train.batch_size
    halts: tuple[Halt, ...] = ("never", "settled") if options.halt == "both" else (options.halt,)
    ask = partial(
        evaluate_at,
        model.to(device),
        data.splits[options.split],
        batch_size=batch_size,
        device=device,
        unchanged=options.unchanged or 1,
        shortest_paths=run.data.puzzle == "maze",
        blank_identifiers=options.blank_identifiers,
        watch=watch,
    )
    if len(halts) > 1:  # a batch that nobody times: what a process pays once is no rule's to pay
        for halt in halts:
            ask(limit=min(batch_size, options.limit or batch_size), steps=(min(2, *steps),), halt=halt)
    by_halt, seconds = {}, {}
    for halt in halts:
        began = time.perf_counter()
        by_halt[halt] = ask(limit=options.limit, steps=steps, halt=halt)
        seconds[halt] = time.perf_counter() - began
    scores = by_halt[halts[0]]
    blank = ", blank identifiers" if options.blank_identifiers else ""
    print(f"step {saved.step} on {run.data.puzzle}, {options.split}, {run.train.precision} on {device.type}{blank}")
    if leaks:
        print(f"LEAK: the model has learnt from {len(leaks)} of these tasks, their scores mean nothing")
    print(table(*by_halt.values(), halts=halts if len(halts) > 1 else ()))
    if len(halts) > 1:
        print(what_stopping_does(by_halt["never"], by_halt["settled"], seconds))
    behaviour: dict[str, float] = {}
    if options.diagnostics:
        behaviour = diagnose(
            model,
            data.splits[options.split],
            limit=options.limit,
            batch_size=batch_size,
            N_sup=run.evaluation_steps,
            device=device,
        )
        print(f"\n{by_step(behaviour)}")
    facts: dict[str, Any] = {
        "checkpoint_step": saved.step,
        "data_hash": data.content_hash,
        "split": options.split,
        "device": device.type,
        "precision": run.train.precision,
        "diagnostics": behaviour,
        "steps": _by_step(scores),
    }
    if halts[-1] == "settled":
        facts |= {"halt": options.halt, "unchanged": options.unchanged or 1}
    if len(halts) > 1:
        facts |= {"settled": _by_step(by_halt["settled"]), "seconds": seconds}
    if leaks:
        facts["leaks"] = list(leaks)
    if options.blank_identifiers:
        facts["blank_identifiers"] = True
    places: tuple[Place, ...] = ()
    if votes:
        predict(
            model,
            data,
            out,
            step=saved.step,
            split=options.split,
            limit=options.limit,
            votes=options.votes or run.train.votes,
            batch_size=batch_size,
            N_sup=max(steps),
            device=device,
            blank_identifiers=options.blank_identifiers,
        )
        found = vote([out], data, split=options.split, limit=options.limit)
        write_outcome(found, out)
        print_votes({f"vote after {max(steps)} steps": found})
        print(f"predictions, votes.csv and submission.json are in {out}")
        facts["vote"] = found.metrics()
        places = found.places
    elif data.manifest.puzzle == "arc":
        print("no vote: a dataset of the released code keeps no groups of variants; build the set with data_prep arc")
    if watch is not None:
        write_outcomes(watch.outcomes(data, saved.step, places, halt=halts[0]), options.outcomes)
        print(f"which puzzles are solved, and when, is in {options.outcomes}")
    write_facts(options.json, facts)


def _by_step(scores: Mapping[int, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    return {str(step): {**at, "exact_interval_95": exact_interval(at)} for step, at in scores.items()}


def vote_command(options: argparse.Namespace) -> None:
    """The vote of each folder of predictions, and of all together where there are several; print, write if asked."""
    with open_puzzles(options.data, None) as data:
        _vote(options, data)


def _vote(options: argparse.Namespace, data: PuzzleSet) -> None:
    from trm_core.arc_vote import BadPredictions, about, vote, write_outcome

    if data.groups is None:
        raise OtherPuzzles(f"{options.data}: no groups of variants that could vote, expected a set of `data_prep arc`")
    if len({folder.resolve() for folder in options.folders}) < len(options.folders):
        raise BadPredictions("a folder is given twice: its votes would count twice; give each once")
    abouts = [about(folder) for folder in options.folders]
    split = abouts[0].split
    votes = {}
    for folder, of in zip(options.folders, abouts, strict=True):
        blank = ", blank identifiers" if of.blank_identifiers else ""
        votes[f"{folder} (step {of.step}{blank})"] = vote([folder], data, split=split)
    if len(options.folders) > 1:
        votes[f"pooled: an ensemble of {len(votes)} checkpoints"] = vote(options.folders, data, split=split)
    print_votes(votes)
    if options.out is not None:
        write_outcome(list(votes.values())[-1], options.out)
    rows = {name: {**found.metrics(), "curve": found.curve} for name, found in votes.items()}
    write_facts(options.json, {"data_hash": data.content_hash, "split": split, "votes": rows})


def print_votes(votes: Mapping[str, Vote]) -> None:
    """The table, and under it what a reader of it has to know."""
    print(vote_table(votes))
    for name, found in votes.items():
        for warning in found.warnings():
            print(f"{name}: {warning}")


def write_facts(path: Path | None, facts: Mapping[str, Any]) -> None:
    """Numbers as JSON, where asked. Raises CannotWrite."""
    if path is None:
        return
    try:
        path.write_text(json.dumps(facts, indent=1) + "\n")
    except OSError as error:
        raise CannotWrite(f"{path}: not written ({error.strerror}); the numbers are those above") from None
    print(f"the numbers are in {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a user's mistake, told in one line on stderr."""

    def carry_out() -> int:
        options = parser().parse_args(arguments)
        options.carry_out(options)
        return 0

    return answered(carry_out)


if __name__ == "__main__":
    sys.exit(main())
