"""The command: python sweeps/run.py --study recursion_depth. From settings to a table, top to bottom in `run_study`.

Nothing starts before everything that can be wrong was looked at, in this order: settings, MLflow's address, machines,
puzzles, the plan, a person's consent, Ray. Torch, Ray and MLflow are imported where they are needed, so `--list` and a
typo are answered at once. This file is the one exception to "imports point left": when the runs have ended it calls
reports.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import importlib.util
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

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

from sweeps.plan import (
    Consent,
    Job,
    Plan,
    assumed_gpu,
    make_jobs,
    make_plan,
    measure_cpu,
    needs_consent,
    recorded_rates,
    select_rows,
)
from sweeps.profiles import PROFILES, Difference, configure, differences, find_profile, shared_puzzles
from sweeps.puzzles import (
    PUZZLE_WORDS,
    BuiltSet,
    CannotWrite,
    Sources,
    build_all,
    check_sources,
    find_sources,
    look_up,
    set_of,
    source_overrides,
)
from sweeps.study import (
    EVERY_BASE,
    EVERY_PUZZLE,
    BaseName,
    ProfileName,
    PuzzleName,
    Row,
    Study,
    all_studies,
    find_study,
)
from trm_core.command_line import USER_ERROR, BadCommand, Parser, is_for_the_user, refuse
from trm_core.config import DataSettings
from trm_core.memory import gigabytes

if TYPE_CHECKING:
    from reports.report import Report
    from sweeps.launch import Machines, Outcome
    from sweeps.tracking import RunRecord, Tracker

RECORDED_WITHIN_S = 20.0  # how long the report waits for MLflow to hold what has ended
DONE, FAILED, INTERRUPTED = 0, 1, 130  # and command_line.USER_ERROR
FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk takes no more


class AlreadyRunning(ValueError):
    """Another process runs this study in this profile."""


class NeedsYes(ValueError):
    """More than one GPU-hour of work, and nobody to ask."""


@dataclass(frozen=True)
class Command:
    """What was asked for, checked as far as one option alone can be."""

    study: Study
    profile: ProfileName
    rows: tuple[Row, ...]
    seeds: int
    overrides: tuple[str, ...]  # --data's, then --set's
    out: Path
    data: Sources
    launcher: Literal["train", "inline"] | None
    workers: int
    yes: bool
    gpus: tuple[str, ...]  # names, of this machine or of the Ray cluster
    cluster: Machines | None  # where one is running
    line: str  # as it was typed, for the record


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0; 1 if runs failed; 2 after what a user can mend, one line; 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with _termination_as_interrupt():
            return _main(arguments, shlex.join(["python", "sweeps/run.py", *arguments]))
    except KeyboardInterrupt:
        again = shlex.join([_python(), _from_here(Path(__file__)), *arguments])
        print(f"stopped; the same command continues from the last checkpoints: {again}", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if error.errno not in FULL:
            raise
        return refuse(f"{error}; make room, then give the same command again")
    except ValueError as error:
        if not is_for_the_user(error):
            raise
        return refuse(str(error))


def _main(arguments: Sequence[str], line: str) -> int:
    options = _parser().parse_args(arguments)
    if options.list:
        _print_list()
        return DONE
    if options.explain:
        _print_explanation(*options.explain)
        return DONE
    command = _command(options, line)
    if options.plan:
        return _print_plan_only(command)
    return run_study(command)


def run_study(command: Command) -> int:
    """All that is left of a study, and its table. Returns the exit code."""
    from sweeps.tracking import Tracker, check_address, read_runs

    study, profile = command.study, command.profile
    settings = _settings(command)  # every row's, before anything is written
    check_address()
    _check_machines(command)
    with _alone(command.out, study.name, profile):
        sets = build_all(settings, command.data, command.out)
        records = read_runs(study.name, profile)
        plan = _plan(
            command,
            _jobs(command, lambda data: sets[set_of(data)].content_hash),
            records,
            lambda data: sets[set_of(data)].n_test,
        )
        _say_what_is_left(command, plan)
        _ask(command, plan)
        say: list[Callable[[str], None]] = [lambda text: print(text, file=sys.stderr)]  # the last one is in use
        line = shlex.split(command.line)
        with Tracker.open(
            study.name, profile, out=command.out, command=line, say=lambda text: say[-1](text)
        ) as tracker:
            longest_first = sorted(plan.todo, key=lambda run: -run.seconds)  # so that none is left running alone
            of = {run.job.key: sets[set_of(run.job.run.data)] for run in longest_first}
            todo = _reuse(tracker, [run.job for run in longest_first], of)
            return _end(command, todo, _launch(command, plan, todo, of, tracker, say) if todo else None, tracker)


# --- the command line ------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python sweeps/run.py",
        description="Run a study: every row of one of the paper's tables, and the table at the end.",
        epilog="The same command again continues where it stopped; finished runs are not run again.",
        allow_abbrev=False,
    )
    parser.add_argument("--study", metavar="NAME", help="which table; --list shows them")
    parser.add_argument(
        "--profile", metavar="NAME", help="mini, official or paper (default: official with a GPU, else mini)"
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 0 to N-1 of every row (default: 1)")
    parser.add_argument(
        "--set",
        action="append",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of all rows: model.D=96; of those on one puzzle: maze:model.D=96",
    )
    parser.add_argument(
        "--only",
        action="append",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="only rows with this in their name: 'k=3*'",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="results, checkpoints, puzzles (default: results)",
    )
    parser.add_argument(
        "--data",
        action="append",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="the published puzzles: their folder, or hub to fetch them; where a study has several: sudoku=FOLDER"
        " maze=FOLDER arc=FOLDER, or a folder that holds sudoku-extreme/, maze-30x30-hard-1k/ and arc/",
    )
    parser.add_argument("--plan", action="store_true", help="print the runs and what they cost, and start nothing")
    parser.add_argument("--list", action="store_true", help="print the studies there are")
    parser.add_argument(
        "--explain",
        nargs=2,
        metavar="PROFILE",
        help="print what differs between two profiles, and why: --explain official paper",
    )
    parser.add_argument(
        "--launcher",
        choices=("train", "inline"),
        help="Ray Train workers, or straight in a Tune trial (default: by size)",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="workers per run (default: 1)")
    parser.add_argument("--yes", action="store_true", help="start more than one GPU-hour of work without being asked")
    return parser


def _command(options: argparse.Namespace, line: str) -> Command:
    """Options → Command. Raises the named errors of everything that one option can get wrong."""
    if options.study is None:
        raise BadCommand("no study; say --study recursion_depth, or --list to see them all")
    study = find_study(options.study)
    for name, value in (("--seeds", options.seeds), ("--workers", options.workers)):
        if value < 1:
            raise BadCommand(f"{name} {value}: expected 1 or more")
    if options.launcher == "inline" and options.workers > 1:
        raise BadCommand(
            f"--launcher inline with --workers {options.workers}: inline runs have one; use --launcher train"
        )
    gpus, cluster = find_machines()
    profile = _profile(options.profile, gpus)
    rows = select_rows(study, profile, [pattern for group in options.only for pattern in group])
    assignments = [assignment for group in options.set for assignment in group]
    there = {study.puzzle_of(row): configure(study, row, profile, seed=0).data for row in reversed(rows)}
    puzzles = tuple(puzzle for puzzle in EVERY_PUZZLE if puzzle in there)
    sources = find_sources([text for group in options.data for text in group], puzzles)
    return Command(
        study=study,
        profile=profile,
        rows=rows,
        seeds=options.seeds,
        overrides=(*source_overrides(there, sources, scoped=len(puzzles) > 1), *assignments),
        out=options.out,
        data=sources,
        launcher=options.launcher,
        workers=options.workers,
        yes=options.yes,
        gpus=gpus,
        cluster=cluster,
        line=line,
    )


def _profile(name: str | None, gpus: Sequence[str]) -> ProfileName:
    """The profile asked for; without one, official where there is a GPU, and it is said."""
    if name is not None:
        return find_profile(name).name
    profile: ProfileName = "official" if gpus else "mini"
    found = f"{len(gpus)} GPU(s) found" if gpus else "no GPU found"
    print(f"{found}: profile {profile}. {PROFILES[profile].description} Another one: --profile NAME")
    return profile


def find_machines() -> tuple[tuple[str, ...], Machines | None]:
    """The GPUs' names: of a running Ray cluster ("" each, it does not say), else of this machine; and that cluster.

    Starts no Ray. Raises NoCluster.
    """
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")  # written by `ray start`
    named = os.environ.get("RAY_ADDRESS", "")
    if named != "local" and (named or note.is_file()):
        cluster = _cluster(named)
        if cluster is not None:
            return ("",) * cluster.gpus, cluster
    return _gpus_here(), None


def _gpus_here() -> tuple[str, ...]:
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    names = [name.strip() for name in asked.stdout.splitlines() if name.strip()] if asked.returncode == 0 else []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(names)
    return tuple(names[: len([device for device in visible.split(",") if device.strip() not in ("", "-1")])])


def _cluster(named: str) -> Machines | None:
    """What the running cluster has; None where only a note of one that has ended is left. Raises NoCluster."""
    from sweeps.launch import NoCluster, cluster

    os.environ["RAY_ADDRESS"] = named or "auto"  # join only: without it a Ray of our own would be started
    try:
        with cluster() as machines:
            return machines
    except NoCluster:
        if named:
            raise
        return None
    finally:
        if not named:
            del os.environ["RAY_ADDRESS"]


def _check_machines(command: Command) -> None:
    """Whether a run fits at all, seen before Ray is up. Raises NotEnoughMachines."""
    if command.cluster is None and command.workers == 1:
        return  # it fits anywhere
    from sweeps.launch import arrange, this_machine

    machines = command.cluster or this_machine(len(command.gpus))
    arrange(machines, jobs=1, launcher=command.launcher, workers=command.workers)


# --- the plan --------------------------------------------------------------------------------------------------------


def _jobs(command: Command, data_hash: Callable[[DataSettings], str]) -> tuple[Job, ...]:
    jobs = make_jobs(
        command.study,
        command.rows,
        command.profile,
        seeds=command.seeds,
        overrides=command.overrides,
        data_hash=data_hash,
    )
    for batch in sorted({job.run.train.batch_size for job in jobs}):
        if batch % command.workers:
            raise BadCommand(
                f"--workers {command.workers}: they share train.batch_size={batch}, and it does not divide"
            )
    return jobs


def _settings(command: Command) -> list[DataSettings]:
    """What the puzzle sets are built from, after every row's settings were checked. Raises BadSetting, NoPuzzles."""
    settings = [job.run.data for job in _jobs(command, data_hash=lambda _: "")]
    check_sources(settings, command.data)
    return settings


def _plan(
    command: Command,
    jobs: Sequence[Job],
    records: Sequence[RunRecord],
    test_puzzles: Callable[[DataSettings], int | None],
) -> Plan:
    """What is left and what it costs: by finished runs on this device, else calibrated (CPU) or assumed (GPU)."""
    places = len(command.gpus) or os.cpu_count() or 1
    at_once = max(1, min(places // command.workers, len(jobs)))
    rates = recorded_rates(records, command.gpus[0] if command.gpus else "cpu")
    fallback = assumed_gpu() if command.gpus else measure_cpu()
    done = {record.key for record in records if record.status == "FINISHED"}
    return make_plan(jobs, done, rates, fallback, at_once=at_once, workers=command.workers, test_puzzles=test_puzzles)


def _print_plan_only(command: Command) -> int:
    """`--plan`: writes and starts nothing. Where puzzles are not built yet, their hash is their rows' records'."""
    from sweeps.tracking import read_runs

    sets = look_up(_settings(command), command.data, command.out)
    records = read_runs(command.study.name, command.profile)
    finished = {record.row: record.tags.get("data", "") for record in records if record.status == "FINISHED"}
    recorded = {
        set_of(job.run.data): finished[job.row] for job in _jobs(command, data_hash=lambda _: "") if job.row in finished
    }

    def data_hash(data: DataSettings) -> str:
        of = set_of(data)
        return sets[of].content_hash if of in sets else recorded.get(of, "")

    def n_test(data: DataSettings) -> int | None:
        of = set_of(data)
        return sets[of].n_test if of in sets else None

    _print_plan(_plan(command, _jobs(command, data_hash), records, n_test))
    return DONE


def _say_what_is_left(command: Command, plan: Plan) -> None:
    n, n_done = len(plan.runs), plan.n_done
    what = f"{command.study.name} in {command.profile}"
    if n_done:
        print(f"{what}: {n_done} of {n} runs are done already")
    if plan.todo:
        print(f"{what}: {len(plan.todo)} to do, about {_duration(plan.seconds)} ({'; '.join(plan.sources)})")


def _ask(command: Command, plan: Plan) -> None:
    """A person's consent where it is needed. Raises NeedsYes, also for a no, for Ctrl-D and where nobody can answer."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    consent = needs_consent(plan, len(command.gpus), command.yes, is_terminal)
    if consent in (Consent.ASK, Consent.MISSING):
        _print_plan(plan)
    if consent is Consent.MISSING:
        raise NeedsYes(
            "this is more than one GPU-hour of work and there is no terminal to ask at; add --yes to start it"
        )
    if consent is Consent.ASK:
        try:
            answer = input("More than one GPU-hour of work. Start? [y/N] ")
        except EOFError:  # Ctrl-D
            print()
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            raise NeedsYes("not started; --only, --set and --seeds make it smaller")


def _print_plan(plan: Plan) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=None)
    table.add_column("run")
    for column in ("done", "depth", "NFP", "parameters", "memory", "FLOPs", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for planned in plan.runs:
        run = planned.job.run
        table.add_row(
            f"{planned.job.row}, seed {planned.job.seed}",
            "yes" if planned.done else "",
            str(run.model.depth),
            str(run.model.nfp),
            f"{run.parameters():,}",
            gigabytes(planned.memory),
            f"{planned.flops:.1e}",
            _duration(planned.seconds),
        )
    table.add_section()
    table.add_row(
        f"left: {len(plan.todo)} of {len(plan.runs)}", "", "", "", "", "", f"{plan.flops:.1e}", _duration(plan.seconds)
    )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for source in plan.sources:
        console.print(f"Times are estimates, {plan.at_once} run(s) at once, from {source}.", highlight=False)
    console.print("Memory is the peak of one worker, by formula (trm_core/memory.py).", highlight=False)


def _duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 12 min, 3.5 h, 4.2 days."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


# --- the runs --------------------------------------------------------------------------------------------------------


def _reuse(tracker: Tracker, jobs: Sequence[Job], of: Mapping[str, BuiltSet]) -> list[Job]:
    """The jobs that no other study or profile has trained already; those that one has become finished children here."""
    elsewhere = tracker.elsewhere(job.key for job in jobs) if jobs else {}
    for job in jobs:
        if job.key in elsewhere:
            print(f"{job.row}, seed {job.seed}: taken from {elsewhere[job.key].study}, where the same run is finished")
            puzzles = of[job.key]
            tracker.reuse(job, puzzles.content_hash, elsewhere[job.key], tags=puzzles.tags)
    return [job for job in jobs if job.key not in elsewhere]


def _launch(
    command: Command,
    plan: Plan,
    jobs: Sequence[Job],
    of: Mapping[str, BuiltSet],
    tracker: Tracker,
    say: list[Callable[[str], None]],
) -> Outcome:
    """Ray comes up, trains the jobs and goes; meanwhile what there is to say is said above the display."""
    from sweeps.launch import launch
    from sweeps.progress import Progress

    work = sum(float(job.run.train_flops() * job.run.train.batch_size * job.run.train.steps) for job in jobs)
    with Progress(runs=len(plan.runs), done=len(plan.runs) - len(jobs), work=work) as progress:
        say.append(progress.say)
        return launch(
            jobs,
            sets=of,
            out=command.out,
            tracker=tracker,
            launcher=command.launcher,
            workers=command.workers,
            progress=progress,
        )


# --- the end ---------------------------------------------------------------------------------------------------------


def _end(command: Command, jobs: Sequence[Job], outcome: Outcome | None, tracker: Tracker) -> int:
    """The report, the launch's run in MLflow ended with it, and what a person wants to know. Returns the exit code.

    jobs: those launched; outcome: None where there were none.
    """
    finished, failed = (outcome.finished, outcome.failed) if outcome else ((), {})
    if outcome is not None and outcome.interrupted:
        for problem in tracker.close("KILLED"):
            print(problem, file=sys.stderr)
        raise KeyboardInterrupt
    report, problems = _report(command, (*finished, *failed))
    problems += tracker.close("FAILED" if failed else "FINISHED", report.folder if report else None)
    if report is not None:
        print(f"\n{report.text}\n")
        print("\n".join(str(report.folder / name) for name in report.files))
    print(_where_the_runs_are())
    for job in jobs:
        if job.key in failed:
            log = command.out / "runs" / job.key / "failure.txt"
            print(f"failed: {job.row}, seed {job.seed}: {failed[job.key]} (all of it: {log})", file=sys.stderr)
    for problem in problems:
        print(problem, file=sys.stderr)
    if failed and all(is_full_disk(reason) for reason in failed.values()):
        return USER_ERROR
    return FAILED if failed or problems else DONE


def is_full_disk(reason: str) -> bool:
    """Whether a run failed because the disk took no more: a person's to mend, not a defect of the run."""
    return "CheckpointNotWritten:" in reason or any(f"[Errno {number}]" in reason for number in FULL)


def _report(command: Command, ended: Collection[str]) -> tuple[Report | None, list[str]]:
    """The study's report, once MLflow holds what has ended; without one, why: MLflow is silent, the disk is full."""
    from reports.report import NothingRecorded, write_report
    from sweeps.tracking import TrackingUnavailable, read_runs

    try:
        deadline = time.monotonic() + RECORDED_WITHIN_S
        while time.monotonic() < deadline:
            records = read_runs(command.study.name, command.profile)
            if {record.key for record in records if record.status in ("FINISHED", "FAILED")}.issuperset(ended):
                break
            time.sleep(0.2)
        return write_report(command.study, command.profile, command.out, overrides=command.overrides), []
    except (TrackingUnavailable, NothingRecorded, OSError) as error:
        arguments = [command.study.name, "--profile", command.profile, "--out", str(command.out)]
        again = shlex.join([_python(), "-m", "reports", *arguments])
        return None, [f"no report was made: {error}; when that is mended: {again}"]


def _where_the_runs_are() -> str:
    from sweeps.tracking import address

    uri = address()
    show = shlex.join([_python(), "-m", "mlflow", "ui", "--backend-store-uri", uri])
    return f"the runs: {show if uri.startswith('sqlite') else uri}"


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


# --- one at a time, and how it ends ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(out: Path, study: str, profile: str) -> Iterator[None]:
    """One launch of a study in a profile at a time: a lock that the kernel lets go of, whatever ends the process.

    Leaves nothing of its own behind. Raises AlreadyRunning with the other's process id, CannotWrite.
    """
    path = out / "launches" / f"{profile}-{study}.lock"
    missing = [folder for folder in (path.parent, out, *out.parents) if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _lock(path)
        pid = path.read_text(encoding="utf-8") or "unknown"
    except OSError as error:
        raise CannotWrite(f"{path}: cannot be written ({error.strerror}); choose another --out") from None
    if descriptor is None:
        raise AlreadyRunning(
            f"{study} in {profile} is running already (process {pid}, results in {out});"
            f" wait for it, or end it with: kill {pid}"
        )
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what came into them stays
            for folder in missing:
                folder.rmdir()
        os.close(descriptor)  # lets go of the lock


def _lock(path: Path) -> int | None:
    """A descriptor of the file, locked, with this process's id in it; None where another process holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:  # else its holder has just gone
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """`kill` and a closed terminal end the command as Ctrl-C does, so that no run is left RUNNING."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    heard = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]  # nohup
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_list() -> None:
    """`--list`: the studies, the runs that a seed makes in each profile, and the rows, with the profiles of some."""
    for study in all_studies():
        runs = ", ".join(f"{profile} {len(study.rows_of(profile))}" for profile in PROFILES)
        print(f"{study.name}: {study.title} ({study.source})")
        print(f"  runs per seed: {runs}")
        for row in study.rows:
            where = "" if len(row.profiles) == len(PROFILES) else f"  [{', '.join(row.profiles)}]"
            print(f"  {row.name}{where}")
        print()
    for profile in PROFILES.values():
        print(f"profile {profile.name}: {profile.description}")


# --- two profiles side by side ---------------------------------------------------------------------------------------

BASE_WORDS: dict[BaseName, str] = {
    "trm": "TRM-MLP",
    "trm_att": "TRM-Att",
    "hrm": "HRM",
    "direct": "direct prediction",
}


def _print_explanation(*names: str) -> None:
    """`--explain`: a line per setting that differs; those with one reason stand together. Raises UnknownProfile."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    first, second = (find_profile(name) for name in names)
    if first == second:
        raise BadCommand(f"--explain {first.name} {second.name}: the same profile twice; name two different ones")
    puzzles = shared_puzzles(first, second)
    groups: dict[tuple[str, str], list[Difference]] = {}
    for difference in differences(first, second):
        groups.setdefault((difference.why, _where(difference, puzzles)), []).append(difference)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column(first.name, justify="right", no_wrap=True)
    table.add_column(second.name, justify="right", no_wrap=True)
    table.add_column("where and why", ratio=1)
    for (why, where), group in groups.items():
        columns = zip(*((one.setting, *map(_shown, one.values)) for one in group), strict=True)
        table.add_row(*(Text("\n".join(column)) for column in columns), Text(f"{where}: {why}" if where else why))
        table.add_section()
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    for profile in (first, second):
        console.print(Text(f"{profile.name}: {profile.description}"))
    console.print(table)
    for profile in (first, second):
        if lacking := [words for puzzle, words in PUZZLE_WORDS.items() if puzzle not in profile.puzzles]:
            console.print(Text(f"{profile.name} has no {' or '.join(lacking)}; compared on the rest."))


def _where(difference: Difference, puzzles: Collection[PuzzleName]) -> str:
    """On which puzzles and recipes, in words; nothing where it is on all of them."""
    words = "" if difference.bases == EVERY_BASE else ", ".join(BASE_WORDS[base] for base in difference.bases)
    words = words.replace("TRM-MLP, TRM-Att", "TRM")
    if len(difference.puzzles) == len(puzzles):
        return words
    return f"{words} on {', '.join(PUZZLE_WORDS[puzzle] for puzzle in difference.puzzles)}".strip()


def _shown(value: str | float | None) -> str:
    """A setting's value for a person: 65,104, 0.0001, none."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
