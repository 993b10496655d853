"""The command: python sweeps/run.py --study recursion_depth. What was asked for, and which verb answers it.

What a study takes is in conduct.py. This file is the one exception to "imports point left": when the runs have ended it
calls reports. Torch, Ray and MLflow are imported where they are needed, so `--list` and a typo are answered at once.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
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

from data_prep.places import local_path
from data_prep.redaction import GONE, redacted
from sweeps import explain
from sweeps.budget import read_budget
from sweeps.campaign import Campaign, declare, read_seeds
from sweeps.changes import read_assignment, read_grid
from sweeps.conduct import Asked, Ended, conduct, plan_only
from sweeps.guard import termination_as_interrupt
from sweeps.machines import Found, Wanted, as_wanted, find_machines
from sweeps.means import Means
from sweeps.names import check_names
from sweeps.packing import AUTO, read_gpus_per_run
from sweeps.plan import read_shard, select_rows
from sweeps.prices import find_card, read_price
from sweeps.profiles import PROFILES, configure, find_profile
from sweeps.puzzles import find_sources, source_overrides
from sweeps.scratch import refuse_scratch
from sweeps.screen import paragraph, print_files, print_plan, to_copy
from sweeps.seek import check, plan_search, seek
from sweeps.sought import Sought, record_of, study_of
from sweeps.study import EVERY_PUZZLE, ProfileName, Row, Study, find_study
from sweeps.tune import Tuned, Tuning, plan_tuning, tune
from sweeps.tune import check as check_tuning
from trm_core.command_line import USER_ERROR, BadCommand, Parser, answered

if TYPE_CHECKING:
    from reports.report import Report
    from sweeps.seek import Found as FoundTrials

DONE, FAILED, INTERRUPTED = 0, 1, 130  # and command_line.USER_ERROR
MLFLOW_UI = "http://127.0.0.1:5000"  # where `mlflow ui` answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0; 1 if runs failed; 2 after what a user can mend, one line; 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with termination_as_interrupt():
            return answered(lambda: _main(arguments))
    except KeyboardInterrupt:
        again = [_python(), _from_here(Path(__file__)), *arguments]
        print(to_copy("stopped; the same command continues from the last checkpoints", again), file=sys.stderr)
        return INTERRUPTED


def _main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["status"]:
        return _status(arguments[1:])
    options = _parser().parse_args(arguments)
    if options.submit is not None or options.attach is not None:
        from sweeps.submit.command import on_a_cluster

        return on_a_cluster(options, arguments, [_python(), _from_here(Path(__file__))])
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


# --- what was asked --------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python sweeps/run.py",
        description="Run a study: every row of one of the paper's tables, and the table at the end.",
        epilog="The same command again continues where it stopped; finished runs are not run again."
        " What became of the runs: python sweeps/run.py status [STUDY]",
        allow_abbrev=False,
    )
    study = parser.add_argument_group("what to run")
    study.add_argument("--study", metavar="NAME", help="which table; --list shows them; or a file of your own, my.py")
    study.add_argument(
        "--search", metavar="NAME", help="or a search for settings: lr_wd, mini, optimiser, recursion; or your own file"
    )
    study.add_argument(
        "--tune", metavar="NAME", help="with --study: every row also at its own best settings, found by this search"
    )
    study.add_argument(
        "--trials", type=int, metavar="N", help="of a search, of each row with --tune (default: as it says itself)"
    )
    study.add_argument(
        "--profile", metavar="NAME", help="mini, official, paper or fast (default: official with a GPU, else mini)"
    )
    _add_list(study, "--only", "PATTERN", "only rows with this in their name: 'k=3*'")
    study.add_argument(
        "--seeds", default="1", metavar="N", help="3 is seeds 0, 1, 2 of every row; or 0-4; or 2,5 (default: 1)"
    )
    study.add_argument(
        "--data-seeds", default="1", metavar="N", help="as many draws of the training puzzles, crossed with the seeds"
    )
    _add_list(
        study,
        "--set",
        "NAME=VALUE",
        "change a setting of all rows: model.D=96; of some: maze:model.D=96, hrm:optim.lr=1e-4",
    )
    _add_list(study, "--grid", "NAME=A,B", "the study at each of these values; several: at all combinations")
    study.add_argument("--set-anyway", action="store_true", help="even what contradicts a row's name")
    study.add_argument("--retry-failed", action="store_true", help="try failed runs again; else they stay failed")
    where = parser.add_argument_group("where, and on what")
    where.add_argument(
        "--out",
        type=local_path,
        default=Path("results"),
        metavar="FOLDER",
        help="results, checkpoints, puzzles (default: results)",
    )
    _add_list(
        where,
        "--data",
        "FOLDER",
        "the published puzzles: their folder, or hub to fetch them; where a study has several: sudoku=FOLDER"
        " maze=FOLDER arc=FOLDER, or a folder that holds sudoku-extreme/, maze-30x30-hard-1k/ and arc/",
    )
    where.add_argument("--optuna-storage", metavar="URL", help="of searches (default: optuna.db beside MLflow's file)")
    where.add_argument(
        "--launcher",
        choices=("train", "inline"),
        help="Ray Train workers, or straight in a Tune trial (default: by size)",
    )
    where.add_argument(
        "--workers", type=int, default=1, metavar="N", help="of each run, where there are GPUs one on each (default: 1)"
    )
    where.add_argument(
        "--gpus-per-run",
        default="1",
        metavar="SHARE",
        help="0.25: four runs share a GPU; auto: as many as its free memory is enough for (default: 1)",
    )
    where.add_argument(
        "--gpus", type=int, metavar="N", help="use so many, of those that a cluster has or brings; 0: CPUs alone"
    )
    where.add_argument(
        "--wait", type=float, metavar="MINUTES", help="with --gpus: for the first of them to come (default: 0)"
    )
    where.add_argument(
        "--ship-code", action="store_true", help="let Ray bring this code to machines of a cluster that have other"
    )
    where.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the runs, for job arrays: 2/8")
    where.add_argument(
        "--budget", metavar="2h", help="begin no run that would not end within it: 90m, 2h, or $50 with a --price"
    )
    where.add_argument("--yes", action="store_true", help="start more than one GPU-hour of work without being asked")
    where.add_argument(
        "--submit",
        nargs="?",
        const="cluster.yaml",
        metavar="CLUSTER",
        help="there, as a job: a cluster's file (default: cluster.yaml) or user@host; --out and --data are paths there",
    )
    where.add_argument(
        "--attach", nargs="?", const="", metavar="JOB", help="follow a submitted job (default: the newest)"
    )
    where.add_argument(
        "--bring", type=local_path, metavar="FOLDER", help="a submitted job's report comes here (default: results)"
    )
    look = parser.add_argument_group("look, and start nothing")
    look.add_argument("--plan", action="store_true", help="print the runs and what they cost")
    look.add_argument("--check", action="store_true", help="look at every machine that would make runs")
    look.add_argument("--on", metavar="CARD", help="plan for another device: h100, a100, l40s, rtx4090 or cpu")
    look.add_argument("--price", metavar="DOLLARS", help="per hour of a GPU, or of a core (default: --on's, dated)")
    look.add_argument(
        "--pruning-report", metavar="SEARCH", help="print what a search's curves say of its end, and what pruning saves"
    )
    look.add_argument("--list", action="store_true", help="print the studies there are")
    look.add_argument("--settings", action="store_true", help="print every setting: range, default, meaning")
    look.add_argument("--print-config", metavar="ROW", help="print all settings of a row of the study")
    look.add_argument("--diff", nargs=2, metavar="ROW", help="print what differs between two rows of the study")
    look.add_argument(
        "--explain",
        nargs=2,
        metavar="PROFILE",
        help="print what differs between two profiles, and why: --explain official paper",
    )
    return parser


def _add_list(group: argparse._ArgumentGroup, name: str, metavar: str, help: str) -> None:  # noqa: A002
    group.add_argument(name, action="append", nargs="+", default=[], metavar=metavar, help=help)


def _joined(groups: Sequence[Sequence[str]]) -> list[str]:
    return [text for group in groups for text in group]


def _study(options: argparse.Namespace) -> Study:
    if options.study is None:
        raise BadCommand("no study; say --study recursion_depth, or --list to see them all")
    return find_study(options.study)


def _asked(options: argparse.Namespace, arguments: Sequence[str], *, plan: bool = False) -> Asked:
    """Options → what was asked for. Raises the named errors of everything that they can get wrong."""
    study = _study(options)
    seeds, data_seeds = read_seeds(options.seeds), read_seeds(options.data_seeds, "--data-seeds")
    if not options.tune and (options.trials is not None or options.optuna_storage):
        raise BadCommand("--trials and --optuna-storage are for --search and --tune; leave them out")
    changes, grid = _joined(options.set), read_grid(_joined(options.grid))
    gridded = {str(read_assignment(one)).partition("=")[0] for combination in grid for one in combination}
    if both := [one for one in changes if str(read_assignment(one)).partition("=")[0] in gridded]:
        raise BadCommand(f"--set {both[0]}: --grid has values for that too; leave one of them out")
    means = _means(options, arguments)
    profile = _profile(options.profile, means.found)
    rows = select_rows(study, profile, _joined(options.only))
    there = {study.puzzle_of(row): configure(study, row, profile, seed=0).data for row in reversed(rows)}
    puzzles = tuple(puzzle for puzzle in EVERY_PUZZLE if puzzle in there)
    sources = find_sources(_joined(options.data), puzzles)
    of_data = source_overrides(there, sources, scoped=len(puzzles) > 1)
    campaigns = tuple(
        _campaign(study, rows, profile, [*of_data, *changes, *combination], anyway=options.set_anyway)
        for combination in grid or ((),)
    )
    if means.on is not None and not plan:
        raise BadCommand(f"--on {options.on}: runs are made on what is here; --on is for --plan, --price for --budget")
    return Asked(**{**vars(means), "data": sources}, campaigns=campaigns, rows=rows, seeds=seeds, data_seeds=data_seeds)


def _means(options: argparse.Namespace, arguments: Sequence[str]) -> Means:
    """Options → what a study and a search are given alike, but for their puzzles. Looks at what there is to run on."""
    workers = _workers(options)
    card = find_card(options.on) if options.on else None
    price = read_price(options.price) if options.price else card.price if card else None
    wanted = _wanted(options)
    found = as_wanted(find_machines(ask_nodes=options.gpus_per_run == AUTO), wanted)
    means = Means(
        out=options.out,
        data={},
        launcher=options.launcher,
        workers=workers,
        gpus_per_run=read_gpus_per_run(options.gpus_per_run, workers=workers, gpus=len(found.gpus)),
        yes=options.yes,
        retry_failed=options.retry_failed,
        on=card,
        price=price,
        budget=None,
        found=found,
        command=redacted(shlex.join(["python", "sweeps/run.py", *arguments])),
        only_plan=options.plan,
        wanted=wanted,
        shard=read_shard(options.shard),
    )
    return replace(means, budget=read_budget(options.budget, price, means.places)) if options.budget else means


def _wanted(options: argparse.Namespace) -> Wanted:
    if options.gpus is not None and options.gpus < 0:
        raise BadCommand(f"--gpus {options.gpus}: expected 0 or more")
    if options.wait is not None and not options.gpus:
        raise BadCommand("--wait is for the GPUs of --gpus N; say how many, or leave it out")
    if options.wait is not None and not 0 <= options.wait < 10**6:
        raise BadCommand(f"--wait {options.wait:g}: expected minutes, 0 or more")
    return Wanted(options.gpus, 60 * (options.wait or 0.0), options.ship_code)


def _workers(options: argparse.Namespace) -> int:
    workers: int = options.workers
    if workers < 1:
        raise BadCommand(f"--workers {workers}: expected 1 or more")
    if options.launcher == "inline" and workers > 1:
        raise BadCommand(f"--launcher inline with --workers {workers}: inline runs have one; use --launcher train")
    return workers


def _campaign(
    study: Study, rows: Sequence[Row], profile: ProfileName, changes: Sequence[str], *, anyway: bool
) -> Campaign:
    if not anyway:
        check_names(study, rows, profile, changes)
    return declare(study, profile, changes)


def _profile(name: str | None, found: Found) -> ProfileName:
    """The profile asked for; without one, official where there is a GPU, and it is said."""
    if name is not None:
        return find_profile(name).name
    profile: ProfileName = "official" if found.gpus else "mini"
    there = f"{len(found.gpus)} GPU(s) found" if found.gpus else "no GPU found"
    print(paragraph(f"{there}: profile {profile}. {PROFILES[profile].description} Another one: --profile NAME"))
    return profile


# --- the verbs -------------------------------------------------------------------------------------------------------


def _status(arguments: Sequence[str]) -> int:
    from sweeps.status import print_status

    parser = Parser(prog="python sweeps/run.py status", description="What became of the runs.", allow_abbrev=False)
    parser.add_argument(
        "study", nargs="?", metavar="STUDY", help="its runs, row by row (default: all studies, in short)"
    )
    parser.add_argument("--profile", metavar="NAME", help="mini, official or paper (default: all)")
    parser.add_argument("--out", type=local_path, default=Path("results"), metavar="FOLDER", help="default: results")
    options = parser.parse_args(arguments)
    return print_status(options.study, options.profile, options.out)


def _print_rows(options: argparse.Namespace) -> None:
    study = _study(options)
    profile = find_profile(options.profile).name if options.profile else "mini"
    changes = _joined(options.set)
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
    from sweeps.screen import print_plan

    asked = _asked(options, arguments, plan=True)
    _settle_address(asked.out)
    print_plan(*plan_only(asked))


def _run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    from sweeps.records.address import TrackingUnavailable

    asked = _asked(options, arguments)
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
    return _last_words(asked, ended)


# --- a search --------------------------------------------------------------------------------------------------------


def _sought(options: argparse.Namespace, arguments: Sequence[str]) -> Sought:
    """Options → the search that was asked for. Raises the named errors of everything that they can get wrong."""
    from sweeps.search_spec import find_search

    for name, given in (("--study", options.study), ("--grid", options.grid), ("--only", options.only)):
        if given:
            raise BadCommand(f"{name} with --search: a search has its own row and space; leave one of them out")
    if options.shard:
        raise BadCommand("--shard with --search: a search is one, its trials follow each other; leave it out")
    if options.seeds != "1" or options.data_seeds != "1":
        raise BadCommand("--seeds with --search: the search says how many seeds a trial has; leave it out")
    search = find_search(options.search)
    means = _means(options, arguments)
    profile = _profile(options.profile, means.found)
    of_row = configure(study_of(search), search.row, profile, seed=0).data
    sources = find_sources(_joined(options.data), (search.on,))
    return Sought(
        **{**vars(means), "data": sources},
        search=search,
        profile=profile,
        changes=(*source_overrides({search.on: of_row}, sources, scoped=False), *_joined(options.set)),
        trials=search.trials if options.trials is None else options.trials,
        storage=options.optuna_storage,
    )


def _print_pruning_report(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    from reports.pruning_report import write_pruning_report

    options.search = options.pruning_report
    sought = _sought(options, arguments)
    _settle_address(sought.out, sought.storage, searches=True)
    print(write_pruning_report(sought))


def _search(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    from sweeps.records.read import read_runs

    sought = _sought(options, arguments)
    _settle_address(sought.out, sought.storage, searches=True)
    if options.plan:
        check(sought, may_lack_files=True)
        n_runs = sought.trials * sought.search.seeds
        print_plan(plan_search(sought, n_runs, read_runs(sought.study.name, sought.profile)))
        return DONE

    def report(found: FoundTrials) -> Path:
        from reports.search_report import write_search_report

        record = record_of(sought, found.trials, found.confirmed)
        written = write_search_report(record, found.campaign.folder(sought.out))
        print(f"\n{written.text}\n")
        print_files(written.folder, written.files)
        return written.folder

    found = seek(sought, report)
    print(_where_the_runs_are([found.campaign]))
    print(_where_the_trials_are(found.storage))
    _say_what_failed(found.failed, sought.out)
    if found.n_left:
        print(f"{found.n_left} trials are left; the same command goes on")
    return FAILED if found.failed else DONE


# --- a study with every row tuned alike ------------------------------------------------------------------------------


def _tuning(options: argparse.Namespace, arguments: Sequence[str]) -> Tuning:
    """Options → the study to be tuned. Raises the named errors of everything that they can get wrong."""
    from sweeps.search_spec import find_search

    if options.search:
        raise BadCommand("--search with --tune: a search has its own row, --tune takes those of --study; leave one out")
    if options.shard:
        raise BadCommand("--shard with --tune: a row's trials follow each other; leave it out")
    search = find_search(options.tune)
    return Tuning(
        asked=_asked(options, arguments, plan=options.plan),
        search=search,
        trials=search.trials if options.trials is None else options.trials,
        storage=options.optuna_storage,
        anyway=options.set_anyway,
    )


def _tune(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    tuning = _tuning(options, arguments)
    _settle_address(tuning.asked.out, tuning.storage, searches=True)
    if options.plan:
        check_tuning(tuning, may_lack_files=True)
        print_plan(plan_tuning(tuning))
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
    code = _last_words(tuning.asked, tuned.published)
    print(_where_the_trials_are(tuned.storage))
    _say_what_failed(tuned.failed, tuning.asked.out)
    if tuned.n_left:
        print(f"{tuned.n_left} runs are left; the same command goes on")
    return FAILED if tuned.failed else code


def _where_the_trials_are(storage: str) -> str:
    """What opens them: Optuna's dashboard, a program of its own that this one does without."""
    beside = Path(sys.executable).with_name("optuna-dashboard")
    there = shutil.which("optuna-dashboard")
    program = _from_here(beside) if beside.exists() and there is None else "optuna-dashboard"
    label = "the trials" if beside.exists() or there else "the trials (pip install optuna-dashboard)"
    return to_copy(label, [program, redacted(storage)])


def _say_what_failed(failed: Mapping[str, str], out: Path) -> None:
    """Of a search: each run that has failed, and where all of it stands."""
    for key, reason in failed.items():
        print(paragraph(f"failed: {reason} (all of it: {out / 'runs' / key / 'failure.txt'})"), file=sys.stderr)


def _settle_address(out: Path, storage: str | None = None, *, searches: bool = False) -> None:
    """Where the runs are recorded, said once; that nothing lasting lies in Ray's scratch. Raises InScratch."""
    from sweeps.records import address

    if said := address.locate(out):
        print(paragraph(said))
    files = {address.VARIABLE: address.sqlite_path(address.address())}
    if searches:
        from sweeps.search import default_storage

        files["--optuna-storage"] = address.sqlite_path(storage or default_storage())
    refuse_scratch(out, files)


def _compare(ended: Ended, out: Path) -> None:
    """The settings of a grid side by side."""
    from reports.compare import write_comparison

    comparison = write_comparison(ended.campaigns, out)
    print(f"\n{comparison.text}\n")
    print_files(comparison.folder, comparison.files)


def _last_words(asked: Asked, ended: Ended) -> int:
    """Where the runs are, what failed, what is left. Returns the exit code."""
    print(_where_the_runs_are(ended.campaigns))
    several = len(ended.campaigns) > 1
    failed = {
        job.key: replace(job, label=campaign.label if several else "")
        for campaign in ended.campaigns
        for job in campaign.jobs(ended.failed)
    }
    for job in failed.values():
        log = asked.out / "runs" / job.key / "failure.txt"
        print(paragraph(f"failed: {job.name}: {ended.failed[job.key]} (all of it: {log})"), file=sys.stderr)
    if ended.failed.keys() - ended.full_disk:
        print("failed runs are tried again with --retry-failed", file=sys.stderr)
    for problem in ended.problems:
        print(paragraph(problem), file=sys.stderr)
    if ended.problems:
        again = "what is missing is made up for by the same command, which trains nothing again"
        print(to_copy(again, shlex.split(asked.command)), file=sys.stderr)
    if ended.failed and ended.failed.keys() <= ended.full_disk:  # a person's to mend
        return USER_ERROR
    return FAILED if ended.failed or ended.problems else DONE


def _where_the_runs_are(campaigns: Sequence[Campaign]) -> str:
    """What opens MLflow's pages, and the address that opens them on the table."""
    from sweeps.records.address import address
    from sweeps.records.shown import page_of

    uri, page = address(), page_of(campaigns)
    if uri.startswith("http"):
        home = redacted(uri).replace(f"{GONE}@", "").rstrip("/")
        return f"the runs: {home}{page}"
    if not uri.startswith("sqlite"):
        return f"the runs: {redacted(uri)}"
    command = to_copy("the runs", [_python(), "-m", "mlflow", "ui", "--backend-store-uri", uri])
    return command + (f"\n  then open {MLFLOW_UI}{page}" if page else "")


def _python() -> str:
    """What to type, in the shell of whoever gave this command, for the Python that runs it."""
    on_path = shutil.which("python")
    if on_path is not None:
        there, here = Path(on_path), Path(sys.executable)
        if there.samefile(here) and there.parent.samefile(here.parent):  # a .venv's is a link to another's
            return "python"
    return _from_here(Path(sys.executable))


def _from_here(path: Path) -> str:
    """A path, relative where it lies below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


if __name__ == "__main__":
    sys.exit(main())
