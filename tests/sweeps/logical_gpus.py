"""A Ray that only counts its GPUs, for whoever joins it by RAY_ADDRESS.

python -m tests.sweeps.logical_gpus CPUS GPUS     prints its address; told to end by the end of stdin, prints how many
                                                  GPUs and CPUs were free at the least
"""

from __future__ import annotations

import json
import sys
import threading

import ray


def main(cpus: int, gpus: int) -> None:
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
    while not ended.wait(0.05):
        free = ray.available_resources()
        least = {name: min(was, free.get(name, 0.0)) for name, was in least.items()}
    print(json.dumps(least), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
