"""Ray's jobs on a cluster, through its public client: the door. What a cluster answers is only read.

Ray is imported inside functions: it takes 2 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.redaction import redacted
from sweeps.cluster.ray_file import TOKEN
from sweeps.words import clean

OURS = "trm."  # what our metadata's names begin with
ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
RUNNING = ("PENDING", "RUNNING")
LINE = 10_000  # characters; a longer one is broken
AGAIN_S = 1.0
NOT_YET, TRIES = "No available agent", 90  # what a head says that has just started, and how often it is asked


class NoJobs(ValueError):
    """Ray's jobs cannot be asked."""


class NoSuchJob(ValueError):
    """No job of that name, or none of ours, on the cluster."""


@dataclass(frozen=True)
class Job:
    """A job as the cluster has it. Others may write there too."""

    id: str
    status: str  # Ray's word, in capitals
    code: int | None  # the command's exit code, once it has ended by itself
    message: str
    started: int  # ms since 1970
    metadata: Mapping[str, str]

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended."""
        return self.status in RUNNING

    @property
    def exit_code(self) -> int:
        """The command's; where it has none, 0 or 1 by how Ray says it has ended."""
        if self.code is not None and 0 <= self.code <= 255:
            return self.code
        return 0 if self.status == "SUCCEEDED" else 1


class Jobs:
    """The jobs of the cluster whose dashboard answers at this address."""

    def __init__(self, address: str) -> None:
        """Raises NoJobs."""
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # Ray would go there instead
            os.environ.pop(name, None)
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
        if Path(TOKEN).expanduser().exists() or {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
            os.environ["RAY_AUTH_MODE"] = "token"
        with _explained():
            from ray.job_submission import JobSubmissionClient

            for chatter in [name for name in logging.root.manager.loggerDict if name.startswith("ray.dashboard")]:
                logging.getLogger(chatter).setLevel(logging.ERROR)  # they set their own
            self._client = JobSubmissionClient(address)

    def all(self) -> list[Job]:
        """Those of ours, the oldest first."""
        with _explained():
            found = self._client.list_jobs()
        jobs = [_job(one) for one in found if one.submission_id and ID.fullmatch(one.submission_id)]
        return sorted((job for job in jobs if f"{OURS}command" in job.metadata), key=lambda job: job.started)

    def find(self, name: str) -> Job:
        """The job of that name. Raises NoSuchJob."""
        if not ID.fullmatch(name):
            raise NoSuchJob(f"--attach {name}: no job's name; leave it out for the newest")
        try:
            return _job(self._client.get_job_info(name))
        except RuntimeError as error:
            if "404" in str(error) or "not exist" in str(error):
                raise NoSuchJob(f"--attach {name}: no such job there; leave the name out for the newest") from None
            raise NoJobs(_said(error)) from None
        except OSError as error:
            raise NoJobs(_said(error)) from None

    def submit(self, name: str, command: str, package: Path, metadata: Mapping[str, str]) -> None:
        """Send the package where it is not there yet, and start the command in it. Raises NoJobs."""
        for left in reversed(range(TRIES)):
            try:
                with _explained():
                    self._client.submit_job(
                        entrypoint=command,
                        submission_id=name,
                        runtime_env={"working_dir": str(package)},
                        metadata={f"{OURS}{key}": value for key, value in metadata.items()},
                    )
                return
            except NoJobs as error:
                if NOT_YET not in str(error) or not left:
                    raise
            time.sleep(AGAIN_S)

    def follow(self, name: str, say: Callable[[str], None]) -> Job:
        """Say what a job says, from its beginning, line by line, until it has ended. Raises NoJobs."""
        lines = _Lines(say)
        while True:
            with _explained():
                asyncio.run(lines.take(self._client.tail_job_logs(name)))
                job = _job(self._client.get_job_info(name))
            if not job.goes_on:
                lines.end()
                return job
            asyncio.run(asyncio.sleep(AGAIN_S))


class _Lines:
    """A log as lines without control characters; told again from its beginning, it goes on where it was."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._seen, self._rest = say, 0, ""

    async def take(self, log: AsyncIterator[str]) -> None:
        at = 0
        async for text in log:
            new = text[max(0, self._seen - at) :]
            at += len(text)
            if at > self._seen:
                self._seen = at
                self._take(new)

    def _take(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        while len(self._rest) > LINE:
            lines.append(self._rest[:LINE])
            self._rest = self._rest[LINE:]
        for line in lines:
            self._say(clean(line[:LINE]))

    def end(self) -> None:
        if self._rest:
            self._say(clean(self._rest))
        self._rest = ""


def _job(found: Any) -> Job:
    metadata = {str(key): str(value) for key, value in (found.metadata or {}).items()}
    return Job(
        id=str(found.submission_id or ""),
        status=str(getattr(found.status, "value", found.status)),
        code=found.driver_exit_code,
        message=clean(redacted(" ".join(str(found.message or "").split())))[:400],
        started=found.start_time or 0,
        metadata=metadata,
    )


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What the client and the cluster say, as one line. Raises NoJobs."""
    import aiohttp

    try:
        yield
    except (RuntimeError, OSError, aiohttp.ClientError) as error:  # requests' are OSErrors
        raise NoJobs(_said(error)) from None
    except Exception as error:
        if type(error).__module__.split(".")[0] in ("ray", "pydantic_core"):
            raise NoJobs(_said(error)) from None
        raise


def _said(error: BaseException) -> str:
    said = clean(redacted(" ".join(str(error).split())))[:200] or type(error).__name__
    if "uthentication" in said:
        return f"the cluster wants a token, and {TOKEN} here is not it; copy the head's, mode 0600 ({said[:80]})"
    return f"Ray's jobs do not answer as they should ({said})"
