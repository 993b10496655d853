"""AWS's instance types that train TRM or hold a cluster's head: GPUs, vCPUs and price. As of 2026-11-26.

Dollars per hour on demand in us-east-1, Linux, as public price books had them. Spot prices move by the hour and are at
most these, unless a file asks for more: so a budget by these holds. Other regions cost up to half as much again.
"""

from __future__ import annotations

import datetime
import difflib
from dataclasses import dataclass

READ = datetime.date(2026, 11, 26)


@dataclass(frozen=True)
class Instance:
    """A type of machine."""

    name: str
    cpus: int  # vCPUs
    gpus: int
    gpu: str  # "" without one
    dollars_per_hour: float


_TABLE = """
m7i.large 2 0.1008 | m7i.xlarge 4 0.2016 | m7i.2xlarge 8 0.4032 | m7i.4xlarge 16 0.8064
m5.large 2 0.096 | m5.xlarge 4 0.192 | m5.2xlarge 8 0.384 | t3.large 2 0.0832 | t3.xlarge 4 0.1664 | t3.2xlarge 8 0.3328
g4dn.xlarge 4 0.526 1 T4 | g4dn.2xlarge 8 0.752 1 T4 | g4dn.4xlarge 16 1.204 1 T4 | g4dn.8xlarge 32 2.176 1 T4
g4dn.12xlarge 48 3.912 4 T4 | g4dn.16xlarge 64 4.352 1 T4 | g4dn.metal 96 7.824 8 T4
g5.xlarge 4 1.006 1 A10G | g5.2xlarge 8 1.212 1 A10G | g5.4xlarge 16 1.624 1 A10G | g5.8xlarge 32 2.448 1 A10G
g5.12xlarge 48 5.672 4 A10G | g5.16xlarge 64 4.096 1 A10G | g5.24xlarge 96 8.144 4 A10G | g5.48xlarge 192 16.288 8 A10G
g6.xlarge 4 0.8048 1 L4 | g6.2xlarge 8 0.9776 1 L4 | g6.4xlarge 16 1.3232 1 L4 | g6.8xlarge 32 2.0144 1 L4
g6.12xlarge 48 4.6016 4 L4 | g6.16xlarge 64 3.3968 1 L4 | g6.24xlarge 96 6.6752 4 L4 | g6.48xlarge 192 13.3504 8 L4
g6e.xlarge 4 1.861 1 L40S | g6e.2xlarge 8 2.24208 1 L40S | g6e.4xlarge 16 3.00424 1 L40S
g6e.8xlarge 32 4.52856 1 L40S | g6e.12xlarge 48 10.49264 4 L40S | g6e.16xlarge 64 7.57719 1 L40S
g6e.24xlarge 96 15.06559 4 L40S | g6e.48xlarge 192 30.13118 8 L40S
p4d.24xlarge 96 21.957642 8 A100 | p4de.24xlarge 96 27.44705 8 A100-80GB
p5.48xlarge 192 55.04 8 H100 | p5en.48xlarge 192 63.296 8 H200
"""


def _read_table() -> dict[str, Instance]:
    found = {}
    for entry in _TABLE.replace("\n", "|").split("|"):
        if words := entry.split():
            name, cpus, dollars, *gpu = words
            gpus, card = (int(gpu[0]), gpu[1]) if gpu else (0, "")
            found[name] = Instance(name, int(cpus), gpus, card, float(dollars))
    return found


INSTANCES = _read_table()


def nearest(name: str) -> str:
    """The known type that is spelt most like it."""
    return difflib.get_close_matches(name, INSTANCES, n=1, cutoff=0)[0]
