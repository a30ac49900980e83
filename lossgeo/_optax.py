"""optax, loaded when it is first used: its import takes as long as a small fit, and most fits need nothing of it."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(importlib.import_module("optax"), name)
