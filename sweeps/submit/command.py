"""`--submit CLUSTER` and `--attach [JOB]`: the same command, on a cluster's head, as one of Ray's jobs."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

from data_prep.redaction import redacted
from sweeps.cluster.login import ENDS_WITHIN_S, Login, Tunnel, find_login, tunnel
from sweeps.profiles import find_profile
from sweeps.screen import paragraph, print_files, to_copy
from sweeps.study import find_study
from sweeps.submit.bring import NotBrought, bring
from sweeps.submit.jobs import Job, Jobs, NoJobs, NoSuchJob
from sweeps.submit.pack import Package, pack
from trm_core.command_line import BadCommand

ROOT = Path(__file__).resolve().parents[2]
JOBS_PORT = 8265  # Ray's dashboard
INTERRUPTED = 130
REPORTS = (0, 1)  # exit codes after which there is one
DEFAULT = "cluster.yaml"
ANSWERED_HERE = ("list", "settings", "explain", "print-config", "diff", "pruning-report")


class ConnectionLost(ValueError):
    """The job goes on, and nobody here sees it."""


@dataclass(frozen=True)
class Order:
    """What is to be run there, and where its report will be."""

    arguments: tuple[str, ...]  # of sweeps/run.py, there
    out: str
    name: str  # the study's or the search's, as its folder is called; empty where no report is made
    profile: str  # empty: as the cluster decides

    @property
    def digest(self) -> str:
        """10 hex digits that tell the same command."""
        return hashlib.sha256(json.dumps(self.arguments).encode()).hexdigest()[:10]

    @property
    def command(self) -> str:
        """The shell's words. Where the cluster has no MLflow, its file lies with the results."""
        there = shlex.quote(f"sqlite:///{self.out}/mlflow.db")
        words = shlex.join(["python", "sweeps/run.py", *self.arguments])
        made = f"mkdir -p -- {shlex.quote(self.out)}"
        return f"{made} && MLFLOW_TRACKING_URI=${{MLFLOW_TRACKING_URI:-{there}}} exec {words}"

    def metadata(self, code: str) -> Mapping[str, str]:
        """What whoever attaches has to know."""
        return {"command": self.digest, "out": self.out, "name": self.name, "profile": self.profile, "code": code}


def on_a_cluster(options: argparse.Namespace, arguments: Sequence[str], again: Sequence[str]) -> int:
    """Options → what is done there. again: the words before the options, for a command that can be copied.

    Returns the job's exit code, 130 after Ctrl-C. Raises the named errors of everything that they can get wrong.
    """
    into = options.bring or Path("results")
    if options.attach is not None:
        if options.study or options.search:
            raise BadCommand("--attach follows a job as it was submitted; leave --study and --search out, or --attach")
        return attach(options.submit or DEFAULT, options.attach, into, again)
    if here := [f"--{name}" for name in ANSWERED_HERE if getattr(options, name.replace("-", "_"))]:
        raise BadCommand(f"{here[0]} with --submit: it is answered here; leave --submit out")
    name = ""
    if options.search:
        from sweeps.search_spec import find_search

        name = find_search(options.search).name
    elif options.study:
        name = find_study(options.study).name
    elif not options.check:
        raise BadCommand("--submit: no study; say --study recursion_depth, or --list to see them all")
    if options.profile:
        find_profile(options.profile)
    return submit(options.submit, order(options, arguments, name), into, again)


def order(options: argparse.Namespace, arguments: Sequence[str], name: str) -> Order:
    """What was asked for here → what is asked for there. Raises BadCommand for what would be another thing there."""
    if not PurePosixPath(options.out).is_absolute():
        raise BadCommand(
            f"--submit with --out {options.out}: expected an absolute path, on a folder that every machine there sees;"
            " the report comes back to --bring"
        )
    for text in (place for group in options.data for place in group):
        place = text.partition("=")[2] or text
        if place != "hub" and not PurePosixPath(place).is_absolute():
            raise BadCommand(f"--submit with --data {text}: expected hub, or an absolute path on the cluster")
    sent = list(_sent(arguments))
    for option in ("study", "search", "tune"):
        given = getattr(options, option)
        if given and (given.endswith(".py") or "/" in given):
            there = {given: _in_the_tree(given), f"--{option}={given}": f"--{option}={_in_the_tree(given)}"}
            sent = [there.get(word, word) for word in sent]
    if any(redacted(word) != word for word in sent):
        raise BadCommand("--submit: a password in an argument would stand in Ray's list of jobs; set it on the head")
    makes_a_report = not (options.plan or options.check)
    return Order(tuple(sent), str(options.out), name if makes_a_report else "", options.profile or "")


def _sent(arguments: Sequence[str]) -> list[str]:
    """The arguments without those that are for here."""
    kept: list[str] = []
    skip = False
    for number, word in enumerate(arguments):
        option, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif option in ("--submit", "--bring"):
            after = arguments[number + 1] if number + 1 < len(arguments) else "-"
            skip = not equals and not after.startswith("-")
        else:
            kept.append(word)
    return kept


def _in_the_tree(given: str) -> str:
    """A file of one's own, as it is called in the package. Raises BadCommand."""
    path = Path(given).resolve()
    if not path.is_relative_to(ROOT):
        raise BadCommand(f"--submit with {given}: it lies outside of {ROOT}, which is what is sent; put it there")
    return path.relative_to(ROOT).as_posix()


# --- what is done ----------------------------------------------------------------------------------------------------


def submit(where: str, asked: Order, into: Path, again: Sequence[str]) -> int:
    """Start the job, or find that it runs; follow it, bring its report. Returns its exit code, 130 after Ctrl-C.

    again: the words before the options, for a command that can be copied.
    """
    login = find_login(where)

    def start(jobs: Jobs) -> Job:
        with tempfile.TemporaryDirectory() as folder:
            package = pack(ROOT, Path(folder) / "tree.zip")
            if (job := _running(jobs, asked, package)) is not None:
                return job
            name = re.sub(r"[^A-Za-z0-9_]", "_", asked.name or "look")[:60]
            taken = {job.id for job in jobs.all()}
            new = next(one for n in count(1) if (one := f"trm-{name}-{asked.digest}-{n}") not in taken)
            print(paragraph(f"{new}: sending {package.in_words}"), flush=True)
            try:
                jobs.submit(new, asked.command, package.path, asked.metadata(package.digest))
            except NoJobs:  # the name was taken meanwhile, by this very command
                if (job := _running(jobs, asked, package)) is None:
                    raise
                return job
            return jobs.find(new)

    return _with_jobs(login, start, into, again)


def _running(jobs: Jobs, asked: Order, package: Package) -> Job | None:
    """The job of this command that has not ended, if there is one; said, and whether its code is another."""
    for job in jobs.all():
        if job.goes_on and job.metadata.get("trm.command") == asked.digest:
            other = job.metadata.get("trm.code") != package.digest
            but = "; its code is not what is here now" if other else ""
            print(paragraph(f"{job.id}: this command runs there already{but}"), flush=True)
            return job
    return None


def attach(where: str, name: str, into: Path, again: Sequence[str]) -> int:
    """Follow a job, the newest where none is named, and bring its report. Returns what `submit` does."""

    def find(jobs: Jobs) -> Job:
        if name:
            return jobs.find(name)
        if not (found := jobs.all()):
            raise NoSuchJob(f"--attach: no job of ours at {where}; start one with --submit")
        return found[-1]

    return _with_jobs(find_login(where), find, into, again)


def _with_jobs(login: Login, choose: Callable[[Jobs], Job], into: Path, again: Sequence[str]) -> int:
    job: Job | None = None
    with tunnel(login, JOBS_PORT) as way:
        try:
            jobs = Jobs(way.address)
            job = choose(jobs)
            print(f"{job.id}: its log; Ctrl-C ends following it, not the job", flush=True)
            job = jobs.follow(job.id, lambda line: print(line, flush=True))
        except KeyboardInterrupt:
            goes_on = "the job goes on; to follow it again" if job else "stopped; a job that was started is followed by"
            print(to_copy(goes_on, _to_attach(login, job, into, again)), file=sys.stderr)
            return INTERRUPTED
        except NoJobs as error:
            raise _lost(error, way, login, job, into, again) from None
    print(f"{job.id}: {job.status.lower()}", flush=True)
    if job.exit_code and job.code is None:
        print(paragraph(job.message), file=sys.stderr)
    if job.exit_code in REPORTS:
        _bring(login, job, into)
    return job.exit_code


def _lost(
    error: NoJobs, way: Tunnel, login: Login, job: Job | None, into: Path, again: Sequence[str]
) -> NoJobs | ConnectionLost:
    lost = way.lost(wait_s=ENDS_WITHIN_S)
    why = f"the connection was lost: {lost}" if lost else str(error)
    if job is None:
        return NoJobs(f"{login.given}: {why}; see that its head is up: ray status there")
    follow = shlex.join(_to_attach(login, job, into, again))
    return ConnectionLost(f"{why}; the job goes on, to follow it again: {follow}")


def _to_attach(login: Login, job: Job | None, into: Path, again: Sequence[str]) -> list[str]:
    there = [] if login.given == DEFAULT else ["--submit", login.given]
    back = [] if into == Path("results") else ["--bring", str(into)]
    return [*again, *there, "--attach", *([job.id] if job else []), *back]


def _bring(login: Login, job: Job, into: Path) -> None:
    out, name = job.metadata.get("trm.out", ""), job.metadata.get("trm.name", "")
    if not name:
        return
    profile = job.metadata.get("trm.profile", "")
    try:
        brought = bring(login, out, name, [profile] if profile else [], into)
    except NotBrought as error:
        print(paragraph(f"{error}; the command with --attach {job.id} tries again"), file=sys.stderr)
        return
    print(f"\nthe reports, from {out} there:")
    paths = [PurePosixPath(file) for file in brought.files]
    for folder in sorted({path.parent for path in paths}):
        print_files(into / folder, [path.name for path in paths if path.parent == folder])
    if brought.n_left_out:
        print(f"{brought.n_left_out} other files were left there")
