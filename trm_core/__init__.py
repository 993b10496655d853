"""Arrays to metrics: the model, its training loop, its checkpoints. Torch lives here; no Ray, no MLflow."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trm_core.solving.ask import solve as solve


def __getattr__(name: str) -> Any:
    """`trm_core.solve(checkpoint, puzzles)`: imported when it is asked for, since torch comes with it."""
    if name == "solve":
        from trm_core.solving.ask import solve

        return solve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
