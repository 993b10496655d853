"""One file of any kind, looked at before anything is started."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeps.cluster import jobs, ray_file
from sweeps.cluster.findings import BadFile, Document, Finding, at, read_text, read_yaml, unfilled

KINDS = "a file of Ray's (provider:), of Kubernetes (kind:), of SkyPilot (run:) or of SLURM (#SBATCH)"


@dataclass(frozen=True)
class Looked:
    """What was found in a file, in the order of its lines, and what it would bring up."""

    findings: tuple[Finding, ...]
    in_words: str
    dollars_a_day: float | None = None

    @property
    def is_good(self) -> bool:
        """Whether nothing has to be mended."""
        return all(finding.only_warns for finding in self.findings)


def check(path: Path, *, folder: Path, today: datetime.date, budget: float | None = None) -> Looked:
    """Look at one file. folder: the repository's root. budget: dollars a day with every machine up.

    Raises BadFile for what is no such file at all.
    """
    text = read_text(path)
    found = list(unfilled(text))
    words, dollars = "", None
    if "\n#SBATCH" in text:
        found += jobs.look_at_slurm(path, text)
        words = "a SLURM job"
    else:
        documents = read_yaml(path, text)
        mapping = [document for document in documents if isinstance(document.data, Mapping)]
        if not documents or len(mapping) < len(documents):
            raise BadFile(f"{path}: expected {KINDS}")
        data = documents[0].data
        if any("kind" in document.data for document in documents):
            found += _found(jobs.look_at_kubernetes(documents, folder), path)
            words = "a RayJob and what it needs"
        elif "provider" in data or "cluster_name" in data:
            found += _found(ray_file.look(documents[0], text, folder, today), path)
            if all(finding.only_warns for finding in found):
                words, dollars = ray_file.in_words(data), ray_file.dollars_a_day(data)
                found += _over_budget(documents[0], dollars, budget)
        elif "run" in data or "resources" in data:
            found += _found(jobs.look_at_skypilot(documents[0], folder), path)
            words = f"a SkyPilot task on {at(data, 'resources', 'accelerators', default='CPUs')}"
        else:
            raise BadFile(f"{path}: expected {KINDS}")
    return Looked(tuple(sorted(set(found))), words, dollars)


def _found(findings: object, path: Path) -> list[Finding]:
    """All of them; a file that is shaped like no such thing is one."""
    try:
        return list(findings)  # type: ignore[call-overload, no-any-return]
    except (AttributeError, TypeError, KeyError) as error:
        raise BadFile(f"{path}: not shaped as expected ({type(error).__name__}: {error}); expected {KINDS}") from None


def _over_budget(document: Document, dollars: float | None, budget: float | None) -> list[Finding]:
    if budget is None:
        return []
    line = document.line("max_workers")
    if dollars is None:
        return [Finding(line, "--budget: what these machines cost is not known here", True)]
    if dollars > budget:
        return [
            Finding(
                line,
                f"{dollars:,.2f} dollars a day with every machine up, over --budget {budget:,.2f}; lower max_workers",
            )
        ]
    return []
