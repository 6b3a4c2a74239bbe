"""`python -m tests.mutants MODULE... [-- PYTEST ARGUMENTS]`: changes a line of a module at a time, and prints what no test notices.

A mutant that survives is a line that no test needs, or two that mean the same: tests/README.md explains those that are left.
"""

import argparse
import ast
import copy
import os
import random
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import hypothesis  # noqa: F401  (loaded once, for all mutants)
import pydantic  # noqa: F401
import pytest

ROOT = Path(__file__).parent.parent
_COPIED = ("agent", "rules", "tests", "pyproject.toml", "docs", "README.md", "CHANGELOG.md")
_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change."""

    line: int
    what: str
    source: str


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """(what, the node with one change) for each change of a node itself."""
    match node:
        case ast.Compare(ops=[operator], left=left, comparators=comparators) if type(operator) in _COMPARED:
            yield "other comparison", ast.Compare(left, [_COMPARED[type(operator)]()], comparators)
        case ast.Compare(ops=operators) if len(operators) > 1:
            for number, operator in enumerate(operators):
                if type(operator) in _COMPARED:
                    changed = copy.deepcopy(node)
                    changed.ops[number] = _COMPARED[type(operator)]()
                    yield f"other comparison {number + 1}", changed
        case ast.BoolOp(op=operator, values=values):
            yield "and for or", ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
            for number in range(len(values)):
                yield f"without operand {number + 1}", ast.BoolOp(operator, values[:number] + values[number + 1 :])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "without not", operand
        case ast.BinOp(left=left, op=arithmetic, right=right) if type(arithmetic) in _COUNTED:
            yield "other operator", ast.BinOp(left, _COUNTED[type(arithmetic)](), right)
        case ast.Constant(value=bool(value)):
            yield f"{not value} for {value}", ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield f"{value + 1} for {value}", ast.Constant(value + 1)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            changed = copy.deepcopy(node)
            changed.test = ast.UnaryOp(ast.Not(), test)
            yield "condition negated", changed
        case ast.comprehension(ifs=conditions):
            for number in range(len(conditions)):
                yield (
                    "without condition",
                    ast.comprehension(
                        node.target, node.iter, conditions[:number] + conditions[number + 1 :], node.is_async
                    ),
                )
        case ast.Return(value=value) if value is not None and not (
            isinstance(value, ast.Constant) and value.value is None
        ):
            yield "returns None", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Constant()):
            return  # a docstring
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            yield "statement removed", ast.Pass()


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines. Types, decorators, and what an assert says, are left alone."""
    tree, found = ast.parse(source), []

    def visit(node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_params", "decorator_list") or isinstance(node, ast.Assert):
                continue
            for place, child in enumerate(value) if isinstance(value, list) else [(-1, value)]:
                if not isinstance(child, ast.AST):
                    continue
                for what, changed in changes(child):
                    put(node, name, place, ast.copy_location(changed, child))
                    line = getattr(child, "lineno", getattr(getattr(child, "target", None), "lineno", 0))
                    found.append(Mutant(line, what, ast.unparse(ast.fix_missing_locations(tree))))
                    put(node, name, place, child)
                visit(child)

    def put(node: ast.AST, name: str, place: int, child: ast.AST) -> None:
        if place < 0:
            setattr(node, name, child)
        else:
            getattr(node, name)[place] = child

    visit(tree)
    return sorted((one for one in found if _compiles(one.source)), key=lambda one: one.line)


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def passes(place: Path, command: list[str], timeout: float) -> bool:
    """Whether the tests pass in a copy; tests that do not end have noticed."""
    child = os.fork()  # pytest is loaded already: a fresh interpreter takes longer than most tests
    if child == 0:
        os._exit(_tested(place, command))
    with open(os.pidfd_open(child)) as ended:
        late = not select.select([ended], [], [], timeout)[0]
    if late:
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and not late


def _tested(place: Path, command: list[str]) -> int:
    """Run the tests in its own process; its exit code."""
    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(silence, number)
    os.chdir(place)
    os.environ |= {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(place))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("agent", "rules", "tests")]:
        del sys.modules[name]
    try:
        return int(
            pytest.main(
                [
                    "-q",
                    "-x",
                    "-n0",
                    "-p",
                    "no:cacheprovider",
                    "-W",
                    "ignore::pytest.PytestAssertRewriteWarning",
                    *command,
                ]
            )
        )
    except BaseException:  # noqa: BLE001  (whatever it is, somebody noticed)
        return 1


def survivors(module: str, chosen: list[Mutant], command: list[str], timeout: float, jobs: int) -> list[Mutant]:
    """Those of the mutants with which the tests pass."""
    with tempfile.TemporaryDirectory(prefix="dropline-mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        places: Queue[Path] = Queue()
        for number in range(jobs):
            place = Path(folder, str(number))
            place.mkdir()
            for name in _COPIED:
                source = ROOT / name
                (shutil.copytree if source.is_dir() else shutil.copy)(source, place / name)
            places.put(place)

        def survives(source: str) -> bool:
            place = places.get()
            try:
                (place / module).write_text(source, "utf-8")
                return passes(place, command, timeout)
            finally:
                places.put(place)

        if not survives((ROOT / module).read_text("utf-8")):
            raise SystemExit(f"{' '.join(command)}: the tests do not pass as it is, or not within {timeout:g} s")
        return [
            one for one, alive in zip(chosen, pool.map(lambda one: survives(one.source), chosen), strict=True) if alive
        ]


def main() -> None:
    """Print the survivors of a sample of each module's mutants; the exit code says whether enough were killed."""
    own, _, command = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="+", help="for example rules/retention.py")
    parser.add_argument("--sample", type=int, default=0, help="mutants of each module; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for the tests of a mutant")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--enough", type=float, default=0.0, help="percent that must be killed")
    given = parser.parse_args(own.split())
    bad = False
    for module in given.modules:
        text = (ROOT / module).read_text("utf-8")
        every = mutants(text)
        picked = random.Random(given.seed)  # noqa: S311  (nobody gains by guessing it)
        chosen = picked.sample(every, given.sample) if 0 < given.sample < len(every) else every
        tests = command.split() or [f"tests/rules/test_{Path(module).stem}.py"]
        alive = survivors(module, sorted(chosen), tests, given.timeout, given.jobs)
        killed = 100.0 * (len(chosen) - len(alive)) / max(len(chosen), 1)
        bad = bad or killed < given.enough
        print(f"{module}: {killed:.1f} % of {len(chosen)} (of {len(every)}) mutants killed by {' '.join(tests)}")
        for one in alive:
            print(f"  {module}:{one.line}: {one.what}: {text.splitlines()[one.line - 1].strip()}", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
