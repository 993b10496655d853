"""Before runs go to several machines, each is looked at: does it see the results, does it have the driver's code?

One task without a CPU per node (probe.py) says what there is; `problems` holds it against what the driver has. A node
with a problem is left out by name. Ray offers no list of nodes to avoid that also holds for retries, so what a bad node
has to offer is reserved, by placement groups that nothing ever runs in.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sweeps import probe
from sweeps.machines import LOGICAL, Machines, Wanted
from sweeps.packing import NotEnoughMachines
from sweeps.words import clean

NEWCOMERS_EVERY_S = 3.0
LOOK_AGAIN_S = 1.0
SAY_AGAIN_S = 60.0
ANSWERS_WITHIN_S = 90.0  # a process starts on each node first, and where there are GPUs imports torch
LEAST_FREE_DISK = 2 * 10**9  # bytes below --out: two checkpoints of the largest row, and its predictions
LEAST_MEMORY = 2 * 10**9
NODE_ID = "ray.io/node-id"  # a label that Ray gives every node
SHIP = "--ship-code"


class NoGoodNode(ValueError):
    """No machine of the cluster can make runs."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, looked at."""

    id: str
    host: str
    address: str
    cpus: float
    gpus: float
    facts: Mapping[str, Any]  # probe.look; empty where it did not answer
    problems: tuple[str, ...]  # each with what to do about it

    @property
    def line(self) -> str:
        """For a person: "gpu-3 (10.0.0.3): its torch is 2.11.0, the driver's 2.13.0; …"."""
        name = self.address if self.host in ("", self.address) else f"{self.host} ({self.address})"
        return f"{name}: {'; '.join(self.problems) or self.about}"

    @property
    def about(self) -> str:
        """What a good one has."""
        has = f"{self.cpus:g} CPUs"
        gpus = f"{self.gpus:g} GPUs" if self.gpus else ""
        memory, free = (self.facts.get(name) for name in ("memory", "free"))
        more = [f"{memory / 1e9:.0f} GB memory" if memory else "", f"{free / 1e9:.0f} GB of disk free" if free else ""]
        return ", ".join([has, *filter(None, (gpus, self.facts.get("cuda", ""), *more))])


def problems(found: Mapping[str, Any], here: Mapping[str, Any], out: Path, *, shipped: bool) -> tuple[str, ...]:
    """What keeps a node from making runs as the driver would: what was found, and what to do about it.

    found, here: what probe.look says of the node and of the driver's machine. shipped: Ray brings the driver's code.
    """
    said = []
    if found["out"]:
        said.append(f"{out} {found['out']}; mount it there under the same path, where all may write and lock")
    elif found["places"]:
        said.append(f"{found['places'][0]} is not there; keep the puzzles on a folder that every machine sees")
    if not shipped and found["code"] != here["code"]:
        what = f"has other code ({found['code'][:8]}, here {here['code'][:8]})"
        if not found["code"] or found["code"].startswith("error"):
            what = "has no code of this project's"
        said.append(f"{what}; copy this checkout there, or let Ray bring it with {SHIP}")
    if found["python"] != here["python"]:
        said.append(f"its Python is {found['python']}, the driver's {here['python']}; install the same")
    for name, version in here["packages"].items():
        theirs = found["packages"].get(name, "")
        if theirs.partition("+")[0] != version.partition("+")[0]:  # a head of CPUs has torch's build for those
            said.append(f"its {name} is {theirs or 'missing'}, the driver's {version}; install the same")
    if found["cuda"].startswith("error: "):
        said.append(
            f"{found['cuda'].removeprefix('error: ')}; see `nvidia-smi` there, the driver may be too old for it"
        )
    if found["free"] is not None and not found["out"] and found["free"] < LEAST_FREE_DISK:
        said.append(f"{out} has {found['free'] / 1e9:.1f} GB left there; make room")
    if found["memory"] is not None and found["memory"] < LEAST_MEMORY:
        said.append(f"{found['memory'] / 1e9:.1f} GB of memory are free there; end what takes it")
    return tuple(clean(text) for text in said)


@contextlib.contextmanager
def _marked(out: Path) -> Iterator[tuple[Path, str]]:
    """A folder below `out` with a file in it that only a machine that sees `out` can read: (folder, its name)."""
    nonce = uuid.uuid4().hex
    folder = out.resolve() / f".preflight.{nonce}"
    folder.mkdir(parents=True)
    try:
        (folder / nonce).write_text(nonce, encoding="utf-8")
        yield folder, nonce
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def living_nodes() -> dict[str, dict[str, Any]]:
    """Ray's nodes that are alive, by id."""
    import ray

    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def look_at_all(out: Path, *, shipped: bool = False) -> list[Node]:
    """Every machine of the cluster that is to be joined, looked at; without one, this machine."""
    from sweeps.machines import cluster

    with cluster(ship_code=shipped):
        return look_at(living_nodes().values(), out, shipped=shipped)


def look_at(
    nodes: Iterable[Mapping[str, Any]], out: Path, places: Sequence[Path] = (), *, shipped: bool = False
) -> list[Node]:
    """Each of these nodes, looked at, all at the same time. Ray must be up.

    places: folders that runs read. shipped: Ray brings the driver's code.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.cloudpickle.register_pickle_by_value(probe)  # where the node has other code, or none, it can still be asked
    try:
        nodes = list(nodes)
        with _marked(out) as (folder, nonce):
            here = probe.look(str(folder), nonce, [], 0)
            where = [str(place.resolve()) for place in places]
            asked = []
            for node in nodes:
                strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ask = ray.remote(probe.look).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
                gpus = 0.0 if os.environ.get(LOGICAL) == "1" else node["Resources"].get("GPU", 0.0)
                asked.append(ask.remote(str(folder), nonce, where, gpus))
            ray.wait(asked, num_returns=len(asked), timeout=ANSWERS_WITHIN_S)
            return [_judged(node, answer, here, out, shipped) for node, answer in zip(nodes, asked, strict=True)]
    finally:
        ray.cloudpickle.unregister_pickle_by_value(probe)


def _judged(node: Mapping[str, Any], answer: Any, here: Mapping[str, Any], out: Path, shipped: bool) -> Node:
    import ray

    facts: Mapping[str, Any] = {}
    try:
        facts = ray.get(answer, timeout=0.1)
        said = problems(facts, here, out, shipped=shipped)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(answer, force=True)
        said = (f"did not answer within {ANSWERS_WITHIN_S:.0f} s; see that it is up, and what `ray status` says",)
    except Exception as error:  # Ray's own, of many kinds
        said = (f"cannot be asked ({clean(' '.join(str(error).split())[:160])}); see Ray's logs there",)
    address = str(node.get("NodeManagerAddress", ""))
    has = node["Resources"]
    host = clean(str(facts.get("host", node.get("NodeManagerHostname", address))))
    return Node(node["NodeID"], host, address, has.get("CPU", 0.0), has.get("GPU", 0.0), facts, said)


class Company:
    """The machines that runs may go to, as they come and go. Ray must be up.

    Nodes that are there at the beginning are looked at unless there is but one, the driver's own. One that comes later
    is set aside at once, looked at, and has its part from then on.
    """

    def __init__(
        self, out: Path, places: Sequence[Path], say: Callable[[str], None], where: str, wanted: Wanted
    ) -> None:
        self.out, self.places, self.say, self.where, self.wanted = out, places, say, where, wanted
        self._now, self._looked = Machines(0, 0, where), -math.inf
        self.bad: dict[str, Node] = {}
        self._good: set[str] = set()
        self._held: dict[str, list[Any]] = {}  # placement groups, by node
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="newcomers", daemon=True)

    def __enter__(self) -> Self:
        """Raises NoGoodNode."""
        nodes = living_nodes()
        if len(nodes) == 1:
            self._good = set(nodes)
        else:
            self.say(f"looking at {len(nodes)} machines")
            self._take_in(look_at(nodes.values(), self.out, self.places, shipped=self.wanted.ship_code))
            if not self._good:
                lines = "; ".join(node.line for node in self.bad.values())
                raise NoGoodNode(f"no machine of this cluster can make runs: {lines}")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.wanted.gpus:
            from ray.autoscaler.sdk import request_resources

            with contextlib.suppress(Exception):  # Ray is gone, and what was asked of it with it
                request_resources(bundles=[])
        self._stop.set()
        self._thread.join(timeout=ANSWERS_WITHIN_S)
        for node in list(self._held):
            self._release(node)

    def machines(self) -> Machines:
        """What the good ones have together, of what was wanted, by now; where Ray does not say, as it was."""
        if time.monotonic() - self._looked > LOOK_AGAIN_S:
            with contextlib.suppress(Exception):  # Ray's own, of many kinds; the launch sees for itself
                nodes = living_nodes()
                has = [nodes[node]["Resources"] for node in tuple(self._good) if node in nodes]
                gpus = int(sum(one.get("GPU", 0) for one in has))
                gpus = gpus if self.wanted.gpus is None else min(gpus, self.wanted.gpus)
                self._now = Machines(cpus=int(sum(one.get("CPU", 0) for one in has)), gpus=gpus, where=self.where)
            self._looked = time.monotonic()
        return self._now

    def wait(self, check: Callable[[], None]) -> Machines:
        """What there is once the first of the wanted GPUs has come. check: called again and again, may raise.

        Raises NotEnoughMachines where none has by then.
        """
        asked = self.wanted.gpus
        if not asked or self.machines().gpus >= asked:
            return self.machines()
        from ray.autoscaler.sdk import request_resources

        request_resources(bundles=[{"CPU": 1, "GPU": 1}] * asked)  # a cluster that grows is told at once
        until, said = time.monotonic() + self.wanted.wait_s, -math.inf
        while not (found := self.machines()).gpus:
            check()
            left = until - time.monotonic()
            if left <= 0:
                raise NotEnoughMachines(
                    f"--gpus {asked}: {self.where} has none, after {self.wanted.wait_s / 60:.0f} min; see what `ray"
                    " status` says, give --wait more minutes, or --gpus 0 for CPUs"
                )
            if time.monotonic() - said > SAY_AGAIN_S:
                said = time.monotonic()
                self.say(f"waiting for the first of {asked} GPUs, {left / 60:.0f} min more at most")
            time.sleep(LOOK_AGAIN_S)
        return found

    def _take_in(self, looked_at: Iterable[Node]) -> None:
        for node in looked_at:
            if node.problems:
                self.bad[node.id] = node
                self._hold(node.id, node.cpus, node.gpus)
                self.say(f"left out: {node.line}")
            else:
                self._release(node.id)
                self._good.add(node.id)

    def _follow(self) -> None:
        """In a thread of its own: whoever comes is looked at."""
        while not self._stop.wait(NEWCOMERS_EVERY_S):
            try:
                nodes = living_nodes()
                self._good &= set(nodes)
                for gone in self._held.keys() - set(nodes):
                    self._release(gone)
                new = [nodes[each] for each in nodes.keys() - self._good - self.bad.keys()]
                for node in new:
                    has = node["Resources"]
                    self._hold(node["NodeID"], has.get("CPU", 0.0), has.get("GPU", 0.0))
                if new:
                    looked_at = look_at(new, self.out, self.places, shipped=self.wanted.ship_code)
                    self._take_in(looked_at)
                    for one in looked_at:
                        if not one.problems:
                            self.say(f"joined: {one.line}")
            except Exception as error:  # Ray's own, of many kinds; the launch sees for itself when its head is gone
                self.say(f"machines that have joined were not looked at ({' '.join(str(error).split())[:160]})")
                self._stop.wait(10 * NEWCOMERS_EVERY_S)

    def _hold(self, node: str, cpus: float, gpus: float) -> None:
        """Reserve what a node has to offer, so that nobody is sent there; what runs there already ends by itself."""
        from ray.util.placement_group import placement_group

        if node in self._held:
            return
        kind, count = ("GPU", gpus) if gpus else ("CPU", cpus)
        self._held[node] = [  # one by one: what is in use there is taken as it comes free
            placement_group([{kind: 1.0}], bundle_label_selector=[{NODE_ID: node}]) for _ in range(int(count))
        ]

    def _release(self, node: str) -> None:
        from ray.util.placement_group import remove_placement_group

        for group in self._held.pop(node, []):
            with contextlib.suppress(Exception):  # Ray is gone, and with it what it held
                remove_placement_group(group)
