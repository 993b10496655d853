"""What torch's compiler for a CPU finds out first, once for all tests: in an empty folder it takes half a minute."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

MADE = Path(os.environ["XDG_CACHE_HOME"]) / "compiler"  # every process's of the suite (conftest.py)
COMPILES = """
import torch
from trm_core.compiled import one_at_a_time
with one_at_a_time("any"):
    torch.compile(torch.cos, dynamic=False)(torch.ones(7))
"""


def know_this_machine(folder: Path) -> Path:
    """Lay into a new folder of compiled code what the processor can do, and torch's headers precompiled."""
    MADE.mkdir(exist_ok=True)
    with (MADE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (MADE / "code").exists():
            environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(MADE / "new")}
            subprocess.run([sys.executable, "-c", COMPILES], env=environment, check=True)
            (MADE / "new").rename(MADE / "code")
    copytree(MADE / "code", folder, copy_function=os.link)  # the headers take 150 MB
    return folder
