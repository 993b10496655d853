"""The command: python sweeps/run.py --study recursion_depth. What was asked for, and which verb answers it.

What a study takes is in conduct.py. This file is the one exception to "imports point left": when the runs have ended it
calls reports. Torch, Ray and MLflow are imported where they are needed, so `--list` and a typo are answered at once.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in (None, ""):  # run as a script, from wherever: the repository's root is what imports start from
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    if lacking := [
        name for name in ("mlflow", "numpy", "pydantic", "ray", "torch") if not importlib.util.find_spec(name)
    ]:
        print(
            f"error: {sys.executable} has no {', '.join(lacking)}; run `make install` in {sys.path[0]},"
            " then .venv/bin/python sweeps/run.py",
            file=sys.stderr,
        )
        sys.exit(2)

from sweeps import explain
from sweeps.asking import read_asked, read_sought, read_study, read_tuning
from sweeps.campaign import Campaign
from sweeps.changes import read_changes
from sweeps.conduct import Ended, conduct, plan_only
from sweeps.ending import (
    DONE,
    FAILED,
    from_here,
    say_ended,
    say_what_failed,
    this_python,
    where_the_runs_are,
    where_the_trials_are,
)
from sweeps.guard import termination_as_interrupt
from sweeps.options import command_parser, status_parser
from sweeps.profiles import find_profile
from sweeps.scratch import refuse_scratch
from sweeps.screen import paragraph, print_files, print_plan, to_copy
from sweeps.seek import check, plan_search, seek
from sweeps.sought import record_of
from sweeps.tune import Tuned, plan_tuning, tune
from sweeps.tuning import check as check_tuning
from trm_core.command_line import USER_ERROR, BadCommand, answered, seldom_collecting

if TYPE_CHECKING:
    from reports.report import Report
    from sweeps.seek import Found as FoundTrials

INTERRUPTED = 130  # an exit code, beside DONE, FAILED and USER_ERROR


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0; 1 if runs failed; 2 after what a user can mend, one line; 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with termination_as_interrupt(), seldom_collecting():
            return answered(lambda: _main(arguments))
    except KeyboardInterrupt:
        again = [this_python(), from_here(Path(__file__)), *arguments]
        print(to_copy("stopped; the same command continues from the last checkpoints", again), file=sys.stderr)
        return INTERRUPTED


def _main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["status"]:
        return _status(arguments[1:])
    options = command_parser().parse_args(arguments)
    if options.submit is not None or options.attach is not None:
        from sweeps.submit.command import on_a_cluster

        return on_a_cluster(options, arguments, [this_python(), from_here(Path(__file__))])
    if options.bring is not None:
        raise BadCommand("--bring is for --submit and --attach; say --out for runs made here")
    if options.list:
        explain.print_list()
    elif options.settings:
        explain.print_settings()
    elif options.explain:
        explain.print_explanation(*options.explain)
    elif options.print_config or options.diff:
        _print_rows(options)
    elif options.tune:
        return _tune(options, arguments)
    elif options.pruning_report:
        _print_pruning_report(options, arguments)
    elif options.search:
        return _search(options, arguments)
    elif options.check:
        return _check_machines(options)
    elif options.plan:
        _print_plan(options, arguments)
    else:
        return _run(options, arguments)
    return DONE


# --- the verbs -------------------------------------------------------------------------------------------------------


def _status(arguments: Sequence[str]) -> int:
    from sweeps.status import print_status

    options = status_parser().parse_args(arguments)
    return print_status(options.study, options.profile, options.out)


def _print_rows(options: argparse.Namespace) -> None:
    study = read_study(options)
    profile = find_profile(options.profile).name if options.profile else "mini"
    changes = read_changes(options.set)
    if options.print_config:
        explain.print_config(study, options.print_config, profile, changes)
    if options.diff:
        first, second = options.diff
        explain.print_diff(study, first, second, profile, changes)


def _check_machines(options: argparse.Namespace) -> int:
    from sweeps.preflight import look_at_all

    refuse_scratch(options.out, {})
    nodes = look_at_all(options.out, shipped=options.ship_code)
    for node in nodes:
        print(paragraph(f"{'bad ' if node.problems else 'good'}  {node.line}"))
    return USER_ERROR if all(node.problems for node in nodes) else DONE


def _print_plan(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    asked = read_asked(options, arguments, plan=True)
    _settle_address(asked.out)
    print_plan(*plan_only(asked))
    _say_what_is_lost(asked.campaigns[0].study.name)


def _run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    from sweeps.records.address import TrackingUnavailable

    asked = read_asked(options, arguments)
    _settle_address(asked.out)
    reports: list[Report] = []

    def report(campaign: Campaign) -> Path:
        from reports.report import write_report

        reports.append(write_report(campaign, asked.out))
        return reports[-1].folder

    ended = conduct(asked, report)
    if len(asked.campaigns) > 1:
        for one in reports:
            print_files(one.folder, ["page.html"])
        try:
            _compare(ended, asked.out)
        except TrackingUnavailable as error:
            ended = replace(ended, problems=(*ended.problems, f"no comparison was made: {error}"))
    else:
        for one in reports:
            print(f"\n{one.text}\n")
            print_files(one.folder, one.files)
    return say_ended(asked, ended)


# --- a search --------------------------------------------------------------------------------------------------------


def _print_pruning_report(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    from reports.pruning_report import write_pruning_report

    options.search = options.pruning_report
    sought = read_sought(options, arguments)
    _settle_address(sought.out, sought.storage, searches=True)
    print(write_pruning_report(sought))


def _search(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    from sweeps.records.read import read_runs

    sought = read_sought(options, arguments)
    _settle_address(sought.out, sought.storage, searches=True)
    if options.plan:
        check(sought, may_lack_files=True)
        n_runs = sought.trials * sought.search.seeds
        print_plan(plan_search(sought, n_runs, read_runs(sought.study.name, sought.profile)))
        _say_what_is_lost(sought.study.name)
        return DONE

    def report(found: FoundTrials) -> Path:
        from reports.search_report import write_search_report

        record = record_of(sought, found.trials, found.confirmed)
        written = write_search_report(record, found.campaign.folder(sought.out))
        print(f"\n{written.text}\n")
        print_files(written.folder, written.files)
        return written.folder

    found = seek(sought, report)
    print(where_the_runs_are([found.campaign]))
    print(where_the_trials_are(found.storage))
    say_what_failed(found.failed, sought.out)
    if found.n_left:
        print(f"{found.n_left} trials are left; the same command goes on")
    return FAILED if found.failed else DONE


# --- a study with every row tuned alike ------------------------------------------------------------------------------


def _tune(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    tuning = read_tuning(options, arguments)
    _settle_address(tuning.asked.out, tuning.storage, searches=True)
    if options.plan:
        check_tuning(tuning, may_lack_files=True)
        print_plan(plan_tuning(tuning))
        _say_what_is_lost(tuning.asked.campaigns[0].study.name)
        return DONE

    def report_published(campaign: Campaign) -> Path:
        from reports.report import write_report

        return write_report(campaign, tuning.asked.out).folder

    def report(tuned: Tuned) -> Path:
        from reports.tune_report import write_tune_report

        written = write_tune_report(tuned.record, tuning.folder)
        print(f"\n{written.text}\n")
        print_files(written.folder, written.files)
        return written.folder

    tuned = tune(tuning, report_published, report)
    code = say_ended(tuning.asked, tuned.published)
    print(where_the_trials_are(tuned.storage))
    say_what_failed(tuned.failed, tuning.asked.out)
    if tuned.n_left:
        print(f"{tuned.n_left} runs are left; the same command goes on")
    return FAILED if tuned.failed else code


def _settle_address(out: Path, storage: str | None = None, *, searches: bool = False) -> None:
    """Where the runs are recorded, said once; that nothing lasting lies in Ray's scratch. Raises InScratch."""
    from sweeps.records import address

    if said := address.locate(out):
        print(paragraph(said))
    files = {address.VARIABLE: address.sqlite_path(address.address())}
    if searches:
        from sweeps.search_storage import default_storage

        files["--optuna-storage"] = address.sqlite_path(storage or default_storage())
    refuse_scratch(out, files)


def _say_what_is_lost(study: str) -> None:
    """Of an experiment that lies deleted or was renamed: its finished runs are planned once more."""
    from sweeps.records.read import lost

    for line in lost([study]):
        print(paragraph(line), file=sys.stderr)


def _compare(ended: Ended, out: Path) -> None:
    """The settings of a grid side by side."""
    from reports.compare import write_comparison

    comparison = write_comparison(ended.campaigns, out)
    print(f"\n{comparison.text}\n")
    print_files(comparison.folder, comparison.files)


if __name__ == "__main__":
    sys.exit(main())
