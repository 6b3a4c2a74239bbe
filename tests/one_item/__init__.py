"""Finds where the agent handles one item, and makes that fail: the law of bulkheads looks for its places by itself.

A scene is a run of some parts of the agent, with items that must not fail, and others with `rotten` in their names. A profiler
notes which functions of the agent are called with bad items only; each of them is then made to raise, one in each run.
"""

import importlib
import inspect
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache, wraps
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import agent
import rules
from rules.rule import Rule

BAD = "rotten"
"""In the names of bad items. It has letters that are no hexadecimal digits: else a random key or identity has it by chance."""
_WORDS = ("example", "note", "reason", "why")
"""What is said of items, in fields and arguments: text is made fit for the ledger and the log at one place each."""
_NOT_ITEMS = ("agent.host.bulkhead", "agent.observe.logs", "agent.observe.rows")
"""The mechanisms themselves, and what they say."""
_OTHERS = ("close", "closed", "relative")
"""Functions that give back what was open, and the one that compares each path with the directory of each rule."""


def is_bad(value: Any, depth: int = 3) -> bool:
    """Whether a value is about bad items, and about no other. Rules are none: a person wrote them."""
    if isinstance(value, Rule):
        return False
    if isinstance(value, (str, bytes)):
        return (BAD if isinstance(value, str) else BAD.encode()) in value
    if depth == 0:
        return False
    if isinstance(value, (list, set, frozenset)) or type(value) is tuple:
        return bool(value) and all(is_bad(one, depth - 1) for one in value)
    if isinstance(value, Mapping):
        return bool(value) and all(is_bad(one, depth - 1) for one in value)
    if isinstance(value, tuple):  # a named one
        named = zip(getattr(value, "_fields", ()), value, strict=False)
        return any(
            is_bad(one, depth - 1) for name, one in named if name not in _WORDS and not isinstance(one, (list, Mapping))
        )
    if is_dataclass(value) and not isinstance(value, type):
        found = (getattr(value, field.name, None) for field in fields(value) if field.name not in _WORDS)
        return any(is_bad(one, depth - 1) for one in found if not isinstance(one, (list, Mapping)))
    return any(
        is_bad(getattr(value, name, None), 1)
        for name in ("root", "name")
        if type(value).__module__.startswith("agent.")
    )


@cache
def modules() -> tuple[ModuleType, ...]:
    """All of the agent and of rules."""
    names = [
        found.name
        for package in (agent, rules)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.startswith(("agent.cli", "agent.files.windows", *_NOT_ITEMS))
    ]
    return tuple(importlib.import_module(name) for name in names)


def _spaces() -> Iterator[Any]:
    for module in modules():
        yield module
        for value in list(vars(module).values()):
            if inspect.isclass(value) and value.__module__ == module.__name__:
                yield value


@cache
def functions() -> Mapping[CodeType, FunctionType]:
    """All functions and methods, by their code."""
    return {function.__code__: function for function in _places()}


@cache
def _places() -> Mapping[FunctionType, list[tuple[Any, str]]]:
    """Function -> where it is known, by which name."""
    found: dict[FunctionType, list[tuple[Any, str]]] = {}
    for space in _spaces():
        for name, value in list(vars(space).items()):
            plain = _plain(value)
            if (
                plain is not None
                and plain.__module__.startswith(("agent.", "rules."))
                and not plain.__module__.startswith(_NOT_ITEMS)
                and plain.__name__ not in _OTHERS
            ):
                found.setdefault(plain, []).append((space, name))
    return found


def _plain(value: Any) -> FunctionType | None:
    value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    value = getattr(value, "__wrapped__", value)
    return value if isinstance(value, FunctionType) and not value.__name__.startswith("__") else None


@contextmanager
def noting(found: set[FunctionType]) -> Iterator[None]:
    """Notes functions that are called with bad items only, in this thread and in those that are started meanwhile."""
    known = functions()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        function = known.get(code) if event == "call" else None
        if function is None or function in found:
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(is_bad(frame.f_locals.get(name)) for name in names if name not in _WORDS):
            found.add(function)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


@contextmanager
def failing(function: FunctionType, *, late: bool) -> Iterator[None]:
    """Wherever the function is known, it raises for bad items; `late`: when it has done its work."""
    error = RuntimeError(function.__qualname__) if late else RecursionError(function.__qualname__)

    def fail(arguments: Mapping[str, object]) -> None:
        if any(is_bad(value) for name, value in arguments.items() if name not in _WORDS):
            raise error

    names = function.__code__.co_varnames

    def instead_of(known: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def instead(*args: Any, **keys: Any) -> Any:
            values = dict(zip(names, args, strict=False)) | keys
            if not late:
                fail(values)
            found = known(*args, **keys)
            if late:
                fail(values)
            return found

        return instead

    def replaced(value: Any) -> Any:
        if isinstance(value, property):
            return property(instead_of(value.fget))  # type: ignore[arg-type]
        if isinstance(value, (staticmethod, classmethod)):
            return type(value)(instead_of(value.__func__))
        return instead_of(value)

    former = [(space, name, vars(space)[name]) for space, name in _places()[function]]
    try:
        for space, name, value in former:
            setattr(space, name, replaced(value))
        yield
    finally:
        for space, name, value in former:
            setattr(space, name, value)
