"""A Ray that only counts its GPUs, for whoever joins it by RAY_ADDRESS.

python -m tests.sweeps.logical_gpus CPUS GPUS TRIALS    prints its address; told to end by the end of stdin, prints how
                                                        many GPUs and CPUs were free at the least

The first trials are stopped as they appear until there are TRIALS of them, so that as many as may be at once are there
at once, however short a trial is and however busy the machine.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

import ray

from tests.faults import processes

A_SEVENTH_S = 3.0  # long enough for one more trial than may be to show itself, beside those that are held


def main(cpus: int, gpus: int, trials: int) -> None:
    ray.init(
        address="local",
        num_cpus=cpus,
        num_gpus=gpus,
        object_store_memory=100 * 1024**2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    print(ray.get_runtime_context().gcs_address, flush=True)
    least = {"GPU": float(gpus), "CPU": float(cpus)}
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    held: set[int] = set()
    gathered = None  # when the last of them came
    while not ended.wait(0.05):
        free = ray.available_resources()
        least = {name: min(was, free.get(name, 0.0)) for name, was in least.items()}
        if gathered is None:
            held |= {pid for pid in at_work() if processes.send(pid, signal.SIGSTOP)}
            gathered = time.monotonic() if len(held) >= trials else None
        elif held and time.monotonic() > gathered + A_SEVENTH_S:
            for pid in held:
                processes.send(pid, signal.SIGCONT)
            held.clear()
    for pid in held:
        processes.send(pid, signal.SIGCONT)
    print(json.dumps(least), flush=True)


def at_work() -> list[int]:
    """Trials that train. Tune starts them one by one: held before, the first would keep the others from coming."""
    ours = processes.descendants()
    return [pid for pid in ours if processes.command_line(pid).startswith("ray::ImplicitFunc.train")]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
