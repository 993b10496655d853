"""A thought as one page that needs nothing else: sliders over steps and recursions, the board, and what moves where."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from data_prep.maze import CHARACTERS
from data_prep.pictures import MAZE
from data_prep.show import COLOURS, DIGITS
from trm_core.solving.thought import Thought

TEMPLATE = "page.html.jinja"


def page(thoughts: Sequence[Thought]) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("trm_core.solving", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    facts = {
        "thoughts": [_facts(thought) for thought in thoughts],
        "digits": DIGITS,
        "characters": CHARACTERS.replace("\0", "?"),
        "maze": {str(token): colour for token, colour in MAZE.items()},
        "colours": COLOURS,
    }
    # Inside <script> nothing may look like the end of it; everything else in JSON is harmless there.
    data = json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")
    model = thoughts[0].model
    return environment.get_template(TEMPLATE).render(model=model, data=Markup(data))


def _facts(thought: Thought) -> dict[str, Any]:
    """What the page draws. moved: bytes, in 255ths of the largest."""
    largest = float(thought.moved.max()) or 1.0
    return {
        "name": thought.name,
        "outcome": thought.outcome(),
        "puzzle": thought.puzzle,
        "box": thought.box,
        "side": thought.side,
        "shown": thought.shown,
        "steps": thought.steps,
        "readouts": thought.boards.shape[1],
        "recursions": len(thought.renewed),
        "renewed": "".join(thought.renewed),
        "halting": [round(float(p), 4) for p in thought.halting],
        "halted_at": thought.halted_at,
        "question": _packed(thought.question),
        "answer": None if thought.answer is None else _packed(thought.answer),
        "boards": _packed(thought.boards),
        "moved": _packed(np.round(thought.moved / largest * 255).astype(np.uint8)),
        "largest": largest,
    }


def _packed(array: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
