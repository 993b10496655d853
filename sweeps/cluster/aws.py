"""What Ray's schema does not see of a cluster on AWS: instance types, open doors, disks, images, what it costs."""

from __future__ import annotations

import datetime
import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sweeps.cluster.findings import Document, Finding, at
from sweeps.cluster.instances import INSTANCES, READ, nearest

EVERYBODY = ("0.0.0.0/0", "::/0")
PRICE_DAYS, TABLE_DAYS = 30, 180  # older ones are said to be old
READ_ON = re.compile(r"#.*\bread (\d{4}-\d{2}-\d{2})\b")
CHECKED_BY_RAY = {"SubnetIds"}  # Ray's own; all else goes to RunInstances as it is


def look(document: Document, text: str, today: datetime.date) -> Iterator[Finding]:
    """Everything found beside Ray's schema. today: against which prices are old."""
    config = document.data
    for keys in _open_doors(config):
        yield Finding(document.line(*keys), "open to everybody; name your own address with /32")
    if at(config, "provider", "security_group"):
        yield Finding(
            document.line("provider", "security_group"),
            "Ray adds ssh from 0.0.0.0/0 to the group that it makes from this; name your own under SecurityGroupIds",
        )
    if at(config, "provider", "cache_stopped_nodes", default=True) is not False:
        yield Finding(
            document.line("provider", "cache_stopped_nodes"),
            "`ray down` would stop the head and keep its disk, and the bill; write cache_stopped_nodes: false",
            True,
        )
    head = config["head_node_type"]
    for name, node_type in config["available_node_types"].items():
        yield from _node_type(document, text, today, name, node_type, is_head=name == head)
    if not _has_boto3():
        where = document.line("provider", "type")
        yield Finding(where, "boto3 is not installed, and `ray up` needs it: pip install -e '.[aws]'", True)
    if (today - READ).days > TABLE_DAYS:
        yield Finding(1, f"prices here were read on {READ}; see what machines cost now", True)


def in_words(config: Mapping[str, Any]) -> str:
    """The machines there may be."""
    types = config["available_node_types"]
    head = config["head_node_type"]
    workers = [
        f"{_type_of(one)} ({at(one, 'resources', 'GPU', default=0)} GPU)" for name, one in types.items() if name != head
    ]
    return f"head {_type_of(types[head])}, 0 to {_most(config)} workers: {', '.join(workers) or 'none'}"


def dollars_a_day(config: Mapping[str, Any]) -> float | None:
    """With the dearest workers that may be up at once; None where a type's price is not known."""
    types, head = config["available_node_types"], config["head_node_type"]
    prices = {name: _dollars_per_hour(node_type) for name, node_type in types.items()}
    if None in prices.values():
        return None
    left, hourly = _most(config), prices[head] or 0.0
    for name in sorted(types, key=lambda each: -(prices[each] or 0.0)):
        if name != head:
            some = min(left, types[name].get("max_workers", left))
            hourly, left = hourly + some * (prices[name] or 0.0), left - some
    return 24 * hourly


def _has_boto3() -> bool:
    return importlib.util.find_spec("boto3") is not None


def _most(config: Mapping[str, Any]) -> int:
    return int(config.get("max_workers", 2))  # Ray's default


def _type_of(node_type: Mapping[str, Any]) -> str:
    return str(at(node_type, "node_config", "InstanceType", default="unnamed"))


def _max_price(node_type: Mapping[str, Any]) -> str | None:
    found = at(node_type, "node_config", "InstanceMarketOptions", "SpotOptions", "MaxPrice")
    return None if found is None else str(found)


def _dollars_per_hour(node_type: Mapping[str, Any]) -> float | None:
    if (most := _max_price(node_type)) is not None:
        try:
            return float(most)
        except ValueError:
            return None
    known = INSTANCES.get(_type_of(node_type))
    return known.dollars_per_hour if known else None


def _open_doors(data: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _open_doors(value, (*keys, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _open_doors(value, (*keys, number))
    elif isinstance(data, str) and data.strip() in EVERYBODY:
        yield keys


def _node_type(
    document: Document, text: str, today: datetime.date, name: str, node_type: Mapping[str, Any], *, is_head: bool
) -> Iterator[Finding]:
    above = ("available_node_types", name)
    node: Mapping[str, Any] = node_type["node_config"]

    def finding(message: str, *keys: Any, only_warns: bool = False) -> Finding:
        return Finding(document.line(*above, *keys), f"{name}: {message}", only_warns)

    yield from _instance(finding, node_type)
    if is_head and at(node_type, "resources", "CPU") != 0:
        yield finding(
            'the head holds queues and drivers, and should train nothing; write resources: {"CPU": 0}', "resources"
        )
    if is_head and at(node, "InstanceMarketOptions", "MarketType") == "spot":
        yield finding(
            "a head on spot takes the whole cluster with it; leave InstanceMarketOptions out",
            "node_config",
            "InstanceMarketOptions",
        )
    if not at(node, "SecurityGroupIds"):
        yield finding("without SecurityGroupIds Ray makes a group that opens ssh to 0.0.0.0/0", "node_config")
    if not at(node, "ImageId"):
        yield finding("without ImageId Ray takes an image of Ubuntu 18.04, whose Python is too old", "node_config")
    if at(node, "MetadataOptions", "HttpTokens") != "required":
        yield finding(
            "instance metadata, and the head's rights with it, answer without a token; write MetadataOptions:"
            " {HttpTokens: required}",
            *("node_config", "MetadataOptions"),
        )
    disks = at(node, "BlockDeviceMappings")
    disks = disks if isinstance(disks, list) else []
    if not disks:
        yield finding("no BlockDeviceMappings; an image's own disk is small and not encrypted", "node_config")
    for number, disk in enumerate(disks):
        if at(disk, "Ebs") is not None and at(disk, "Ebs", "Encrypted") is not True:
            yield finding(
                "a disk is not encrypted; write Encrypted: true", "node_config", "BlockDeviceMappings", number
            )
    if is_head and not at(node, "IamInstanceProfile"):
        yield finding(
            "without IamInstanceProfile Ray makes a role that may do everything in EC2 and S3; take"
            " cluster/aws-stack.yaml's",
            "node_config",
        )
    if not is_head and at(node, "IamInstanceProfile"):
        yield finding(
            "a worker needs no rights in AWS; leave IamInstanceProfile out", "node_config", "IamInstanceProfile"
        )
    yield from _price(finding, document, text, today, name, node_type)
    if _has_boto3():
        yield from _parameters(finding, node)


def _instance(finding: Any, node_type: Mapping[str, Any]) -> Iterator[Finding]:
    named = at(node_type, "node_config", "InstanceType")
    where = ("node_config", "InstanceType")
    if not named:
        yield finding("no InstanceType", "node_config")
    elif (known := INSTANCES.get(str(named))) is None:
        yield finding(f"instance type {named} is not among the known ones; did you mean {nearest(str(named))}?", *where)
    else:
        gpus, cpus = (at(node_type, "resources", key) for key in ("GPU", "CPU"))
        if (gpus or 0) != known.gpus:
            has = f"{known.gpus} {known.gpu}" if known.gpus else "none"
            yield finding(f"resources say {gpus or 0} GPUs, a {named} has {has}", "resources")
        if cpus is not None and cpus > known.cpus:
            yield finding(f"resources say {cpus} CPUs, a {named} has {known.cpus}", "resources")


def _price(
    finding: Any, document: Document, text: str, today: datetime.date, name: str, node_type: Mapping[str, Any]
) -> Iterator[Finding]:
    """A highest price for spot says when it was read, in a comment on its line."""
    if (most := _max_price(node_type)) is None:
        return
    keys = ("node_config", "InstanceMarketOptions", "SpotOptions", "MaxPrice")
    line = document.line("available_node_types", name, *keys)
    try:
        dollars = float(most)
    except ValueError:
        yield finding(f"MaxPrice {most}: no number of dollars per hour", *keys)
        return
    known = INSTANCES.get(_type_of(node_type))
    if known and dollars > known.dollars_per_hour:
        yield finding(f"MaxPrice {most}: more than {known.name} costs on demand, {known.dollars_per_hour:g}", *keys)
    said = READ_ON.search(text.splitlines()[line - 1])
    try:
        age = (today - datetime.date.fromisoformat(said[1])).days if said else None
    except ValueError:
        age = None
    if age is None:
        yield finding("MaxPrice says no date; end its line with # read YYYY-MM-DD", *keys, only_warns=True)
    elif age > PRICE_DAYS:
        yield finding(f"MaxPrice was read {age} days ago; spot prices move, read it again", *keys, only_warns=True)


def _parameters(finding: Any, node: Mapping[str, Any]) -> Iterator[Finding]:
    """Names and types of what goes to EC2's RunInstances, by botocore's own description of it."""
    session = importlib.import_module("botocore.session").get_session()
    shape = session.get_service_model("ec2").operation_model("RunInstances").input_shape
    sent = {key: value for key, value in node.items() if key not in CHECKED_BY_RAY}
    report = (
        importlib.import_module("botocore.validate")
        .ParamValidator()
        .validate({**sent, "MinCount": 1, "MaxCount": 1}, shape)
    )
    for said in report.generate_report().splitlines():
        yield finding(f"EC2 refuses it: {said[:300]}", "node_config")
