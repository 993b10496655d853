"""From a run to where it is kept: its page in MLflow, its folder below --out, its commit on the web."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from data_prep.redaction import redacted
from sweeps.records.address import sqlite_path

LOCAL = "http://127.0.0.1:5000"  # where `mlflow ui` answers
HOST, PATH = r"[A-Za-z0-9.-]+(?::[0-9]+)?", r"[A-Za-z0-9._~/-]+?"


@dataclass(frozen=True)
class Links:
    """What is known of the places; what is not is empty, and a run's text then leads nowhere."""

    mlflow: str = ""  # the server's address, no user or password in it
    opens: str = ""  # the command that has to run first, where there is no server but a file
    experiment: str = ""
    out: str = ""  # from the page to the results folder: "../../"
    repository: str = ""  # its page on the web

    def run(self, run_id: str) -> str:
        """A run's page in MLflow."""
        if not (self.mlflow and self.experiment):
            return ""
        return f"{self.mlflow}/#/experiments/{quote(self.experiment, safe='')}/runs/{quote(run_id, safe='')}"

    def folder(self, key: str) -> str:
        """A run's folder, seen from the page."""
        return f"{self.out}runs/{quote(key, safe='')}/" if self.out else ""

    def commit(self, commit: str) -> str:
        """A commit's page."""
        is_hash = re.fullmatch(r"[0-9a-f]{7,64}", commit) is not None
        return f"{self.repository}/commit/{commit}" if self.repository and is_hash else ""


def links(address: str, experiment: str | None, remote: str, levels: int) -> Links:
    """address: of MLflow. remote: of the repository, as git has it. levels: how deep below --out the page lies.

    Of a SQLite file nothing but its name is written down: a page may go anywhere, a path of this machine stays here.
    """
    server, opens = "", ""
    if (path := sqlite_path(address)) is not None:
        server, opens = LOCAL, shlex.join(["mlflow", "ui", "--backend-store-uri", f"sqlite:///{path.name}"])
    elif address.startswith(("http://", "https://")):
        parts = urlsplit(address)
        server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        server = server if redacted(server) == server else ""
    return Links(server, opens, experiment or "", "../" * levels, _on_the_web(remote))


def _on_the_web(remote: str) -> str:
    """The page of a repository: of https://… and git@host:… alone, without a user's name or password."""
    found = re.fullmatch(rf"(?:https://(?:[^/@]*@)?({HOST})/|git@({HOST}):)({PATH})(?:\.git)?/?", remote.strip())
    return f"https://{found[1] or found[2]}/{found[3]}" if found else ""
