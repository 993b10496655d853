"""Files in Ray's own schema, cluster.yaml and cluster/onprem.yaml: what Ray would refuse, and what it would not see."""

from __future__ import annotations

import datetime
import ipaddress
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.cluster import aws
from sweeps.cluster.findings import Document, Finding, at
from sweeps.cluster.ray_schema import objection

TOKEN = "~/.ray/auth_token"  # where Ray looks for it
STARTS_HEAD = re.compile(r"\bray start\b.*--head\b")
STARTS_WORKER = re.compile(r"\bray start\b.*--address\b")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
STOP_WAIT_S = 60  # Ray's own 3 s are too short to end a run in MLflow
HOST = re.compile(r"^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")


def look(document: Document, text: str, folder: Path, today: datetime.date) -> Iterator[Finding]:
    """Everything found in one file. folder: where local paths of the file start, the repository's root."""
    config = document.data
    provider = at(config, "provider", "type")
    if provider not in ("aws", "local"):
        yield Finding(
            document.line("provider", "type"), f"provider type {provider}: only aws and local were looked at here"
        )
        return
    if provider == "local":
        yield from _own_machines(document)
    refused = objection(config)
    if refused is not None:
        keys, why = refused
        yield Finding(document.line(*keys), f"Ray refuses it: {why[:300]}")
        return
    yield from _starts(document)
    yield from _mounts(document, folder)
    if provider == "aws":
        yield from aws.look(document, text, today)


def in_words(config: dict[str, Any]) -> str:
    """What `ray up` would bring up."""
    if at(config, "provider", "type") == "aws":
        return aws.in_words(config)
    workers = at(config, "provider", "worker_ips", default=[])
    return f"head {config['provider']['head_ip']} and {len(workers)} other{'' if len(workers) == 1 else 's'}"


def dollars_a_day(config: dict[str, Any]) -> float | None:
    """At most, with every machine up; None where machines cost nothing, or a type's price is not known."""
    return aws.dollars_a_day(config) if at(config, "provider", "type") == "aws" else None


def _starts(document: Document) -> Iterator[Finding]:
    for field, starts, others in (
        ("head_start_ray_commands", STARTS_HEAD, "the head"),
        ("worker_start_ray_commands", STARTS_WORKER, "a worker"),
    ):
        commands = at(document.data, field, default=[])
        found = [(number, command) for number, command in enumerate(commands) if starts.search(str(command))]
        if not found:
            yield Finding(document.line(field), f"{field}: no `ray start` for {others}")
        for number, command in found:
            line = document.line(field, number)
            if "RAY_AUTH_MODE=token" not in command:
                yield Finding(
                    line, f"{field}: without RAY_AUTH_MODE=token anybody who reaches {others} may run code on it"
                )
            if starts is STARTS_HEAD:
                yield from _head_start(document, line, command)


def _head_start(document: Document, line: int, command: str) -> Iterator[Finding]:
    host = re.search(r"--dashboard-host[= ](\S+)", command)
    if host and host[1].strip("'\"") not in LOOPBACK:
        yield Finding(
            line, f"--dashboard-host={host[1]} opens the Jobs API to the network; write 127.0.0.1, and come by ssh -L"
        )
    wait = re.search(r"RAY_JOB_STOP_WAIT_TIME_S=(\d+)", command)
    if wait is None or int(wait[1]) < STOP_WAIT_S:
        yield Finding(
            line,
            f"a stopped job has too little time to end its runs; write RAY_JOB_STOP_WAIT_TIME_S={STOP_WAIT_S}",
            True,
        )
    if at(document.data, "provider", "type") == "local" and "RAY_enable_autoscaler_v2=0" not in command:
        yield Finding(
            line,
            "autoscaler v2 starts no workers on machines of your own; write export RAY_enable_autoscaler_v2=0",
        )
    if "--autoscaling-config" not in command:
        yield Finding(line, "without --autoscaling-config=~/ray_bootstrap_config.yaml the head starts no workers")


def _mounts(document: Document, folder: Path) -> Iterator[Finding]:
    mounts = at(document.data, "file_mounts", default={})
    if TOKEN not in mounts:
        yield Finding(document.line("file_mounts"), f'the token reaches no machine; write "{TOKEN}": "{TOKEN}"')
    for remote, local in mounts.items():
        line = document.line("file_mounts", remote)
        path = folder / Path(str(local)).expanduser()
        if remote == TOKEN:
            yield from _token(line, path)
        elif not path.exists():
            yield Finding(line, f"{local} is not on this machine, and Ray would say so only after the head has started")
    key = at(document.data, "auth", "ssh_private_key")
    if key and "<" not in key and not Path(key).expanduser().exists():
        yield Finding(
            document.line("auth", "ssh_private_key"), f"{key} is not on this machine; name the key that logs in"
        )


def _token(line: int, path: Path) -> Iterator[Finding]:
    if not path.exists() or not path.stat().st_size:
        yield Finding(line, f"{path}: no token yet; `make cluster-up` makes it", True)
    elif (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        yield Finding(line, f"{path} may be read by others (mode {mode:04o}); `make cluster-up` mends it", True)


# --- machines of your own --------------------------------------------------------------------------------------------


def _own_machines(document: Document) -> Iterator[Finding]:
    config = document.data
    head, workers = at(config, "provider", "head_ip"), at(config, "provider", "worker_ips")
    if not isinstance(head, str) or not isinstance(workers, list):
        yield Finding(document.line("provider"), "expected head_ip, an address, and worker_ips, a list of others")
        return
    seen: set[str] = set()
    for keys, address in ((("head_ip",), head), *((("worker_ips", n), one) for n, one in enumerate(workers))):
        line = document.line("provider", *keys)
        if "<" in str(address):  # said already: to be filled in
            continue
        if not _is_address(str(address)):
            yield Finding(line, f"{address}: no address and no host's name")
        if str(address) in seen:
            yield Finding(line, f"{address} stands here twice; a machine has one place")
        seen.add(str(address))
    for field in ("min_workers", "max_workers"):
        wanted = config.get(field, len(workers))
        if wanted != len(workers):
            yield Finding(
                document.line(field),
                f"{field}: {wanted}, and there are {len(workers)} worker_ips; machines of your own are all kept",
            )


def _is_address(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return bool(HOST.match(address)) and not re.fullmatch(r"[0-9.]+", address)
    return True
