# SPDX-License-Identifier: MIT
"""Mutates the assertions of a sample of the tests: a test that passes all the same cannot fail.

``python -m tests.assertion_sample --seed 1 --count 100`` draws test functions that need no part of the machine, executes
each of them unchanged, and once more for every mutant of it. A mutant is the test with one change:

* ``negated``: an assertion demands the opposite. It passes if the assertion is never reached.
* ``emptied``: what a loop of assertions, ``all`` or ``any`` goes over is empty. It passes if nothing holds that there is
  something to go over.
* ``subject``: every occurrence in assertions of what one of them looks at has another value of the same type. It passes
  if the assertion does not see the difference, such as ``"x" not in output`` for an empty output.
* ``result``: a function of the harness that the test calls returns another value of the same type. It passes if the
  test does not depend on what the code under test returned.
* ``any error``: the body of ``pytest.raises`` raises a blank error of that class and executes nothing. It passes if the test accepts any
  error of a class that the code may raise for many reasons.

A function without an assertion is a finding of its own. Assertions in functions of the same module that the test calls
belong to the test. The exit code is 1 if any mutant passed.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import copy
import dataclasses
import enum
import inspect
import os
import random
import re
import signal
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import msgspec
import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"

PARAMETERS = 40
"""How many cases of a parametrized test are executed."""

LIMIT = 60
"""Seconds after which a case counts as failed."""

ASIDE = {"guest_drivers", "hardware", "parts", "soak", "twin"}
"""Folders whose tests need a guest, a compiler or minutes."""

NO_SUBJECT = {"startswith", "endswith", "splitlines", "strip", "split", "count", "index", "find", "items", "keys", "values",
              "get", "lower", "upper", "partition", "rpartition", "removeprefix", "removesuffix"}  # fmt: skip
"""Methods that only look at their object: the object is the subject, not the answer."""


class Hung(BaseException):
    """A case took longer than :data:`LIMIT`."""


class Mutant(NamedTuple):
    """One change of one function: ``node`` is the number of the node, or of all nodes, that ``kind`` changes."""

    kind: str
    function: str
    line: int
    text: str
    nodes: frozenset[int]


# Other values ------------------------------------------------------------------------------------------------------


def different(value: Any) -> Any:
    """Return a value of the same type that is not equal to ``value``; the value itself where none is known."""
    known = plain_difference(value)
    if known is not value:
        return known
    if isinstance(value, subprocess.CompletedProcess):
        return subprocess.CompletedProcess(
            value.args, value.returncode, different(value.stdout), different(value.stderr)
        )
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **other_fields(value, value.__struct_fields__))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value, **other_fields(value, [each.name for each in dataclasses.fields(value) if each.init])
        )
    return value


def plain_difference(value: Any) -> Any:
    """Return :func:`different` of a value of a built-in type, an enumeration or a path."""
    if value is None:
        return object()
    if isinstance(value, bool):
        return not value
    if isinstance(value, enum.Enum):
        return next((each for each in type(value) if each is not value), value)
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, Path):
        return value / "different"
    if isinstance(value, str):
        return "" if value else "different"
    if isinstance(value, (bytes, bytearray)):
        return type(value)(b"" if value else b"different")
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return value._replace(**other_fields(value, value._fields))
    if isinstance(value, dict):
        return {} if value else {"different": "different"}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(() if value else ["different"])
    if isinstance(value, types.GeneratorType):
        return iter([] if list(value) else ["different"])
    return value


def other_fields(value: object, names: Any) -> dict[str, Any]:
    """Return another value for each field that has one."""
    found = {}
    for name in names:
        before = getattr(value, name)
        after = plain_difference(before) if before is not None else None
        if after is not before:
            found[name] = after
    return found


# Mutants of a function ---------------------------------------------------------------------------------------------


def numbered(function: ast.FunctionDef) -> dict[int, ast.AST]:
    """Give each node of ``function`` a number, which its copies keep, and return the nodes by it."""
    found = dict(enumerate(ast.walk(function)))
    for number, node in found.items():
        node.number = number  # type: ignore[attr-defined]
    return found


def is_raises(item: ast.withitem) -> bool:
    """Whether ``item`` is a call of ``pytest.raises``."""
    return isinstance(item.context_expr, ast.Call) and "pytest.raises" == ast.unparse(item.context_expr.func)


def is_literal(node: ast.AST) -> bool:
    """Whether ``node`` is made of constants alone."""
    return all(
        isinstance(each, (ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.unaryop, ast.expr_context))
        for each in ast.walk(node)
    )  # fmt: skip


def holds_something(node: ast.expr) -> bool:
    """Whether ``node`` is written out with its elements, or made of such by ``enumerate`` and the like: it is not empty."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "enumerate",
        "product",
        "range",
        "sorted",
        "zip",
    ):
        return all(holds_something(each) or is_literal(each) for each in node.args)
    return isinstance(node, (ast.List, ast.Tuple, ast.Set)) and bool(node.elts)


def subjects(node: ast.expr, known: dict[str, Any]) -> Iterator[ast.expr]:
    """Yield the expressions whose values an assertion looks at. A name that the module defines is no subject."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        if len(sides) == 2 and isinstance(node.ops[0], (ast.Eq, ast.Is)):
            # expected == actual; a literal is the expectation on either side.
            sides = [node.left] if is_literal(node.comparators[0]) else [node.comparators[0]]
        if isinstance(node.ops[0], (ast.In, ast.NotIn)):
            sides = [node.comparators[0]]
        if isinstance(node.ops[0], (ast.Lt, ast.LtE, ast.Gt, ast.GtE)):
            # Another value may well be within the bounds too; ``negated`` is the mutant of these.
            sides = []
        for side in sides:
            yield from subjects(side, known)
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in NO_SUBJECT:
            yield from subjects(node.func.value, known)
        elif isinstance(node.func, ast.Name) and hasattr(builtins, node.func.id):
            for argument in node.args[:1]:
                yield from subjects(argument, known)
        else:
            yield node
    elif isinstance(node, (ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.IfExp, ast.NamedExpr)):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from subjects(child, known)
    elif isinstance(node, (ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp)):
        yield from subjects(node.generators[0].iter, known)
    elif isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
        root: ast.AST = node
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            root = root.value
        if not (isinstance(root, ast.Name) and (root.id in known or hasattr(builtins, root.id))):
            yield node


def of_the_harness(function: ast.expr, known: dict[str, Any]) -> bool:
    """Whether ``function`` names a function of the harness, directly or in a module or a class of it."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        holder = known.get(function.value.id)
        found = getattr(holder, function.attr, None) if isinstance(holder, (types.ModuleType, type)) else None
    else:
        found = known.get(function.id) if isinstance(function, ast.Name) else None
    return inspect.isroutine(found) and str(getattr(found, "__module__", "")).startswith("harness.")


def mutants(function: ast.FunctionDef, known: dict[str, Any]) -> Iterator[Mutant]:
    """Yield the mutants of ``function``, whose nodes are :func:`numbered`. ``known`` is what its module defines."""

    def mutant(kind: str, node: Any, among: list[Any] | None = None) -> Mutant:
        text = ast.unparse(node.test if isinstance(node, ast.Assert) else node)
        numbers = frozenset(each.number for each in among or [node])
        return Mutant(kind, function.name, node.lineno, " ".join(text.split())[:90], numbers)

    nodes = list(ast.walk(function))
    asserts = [node for node in nodes if isinstance(node, ast.Assert)]
    seen: dict[str, list[Any]] = {}
    for node in asserts:
        yield mutant("negated", node)
        for each in ast.walk(node.test):
            if isinstance(each, ast.Call) and ast.unparse(each.func) in ("all", "any"):
                argument = each.args[0]
                looped = (
                    argument.generators[0].iter
                    if isinstance(argument, (ast.GeneratorExp, ast.ListComp))
                    else argument
                )
                if not holds_something(looped):
                    yield mutant("emptied", looped)
        for subject in subjects(node.test, known):
            seen.setdefault(ast.unparse(subject), [])
    for node in asserts:
        for each in ast.walk(node):
            if isinstance(each, ast.expr) and isinstance(getattr(each, "ctx", ast.Load()), ast.Load):
                seen.get(ast.unparse(each), []).append(each)
    for found in seen.values():
        yield mutant("subject", found[0], found)
    for node in nodes:
        if isinstance(node, ast.For) and any(isinstance(each, ast.Assert) for each in ast.walk(node)):
            if not holds_something(node.iter):
                yield mutant("emptied", node.iter)
        elif isinstance(node, ast.With):
            for item in node.items:
                if is_raises(item):
                    yield mutant("any error", item.context_expr, [node])
    called: dict[str, list[Any]] = {}
    for each in observed(nodes, set(seen), known):
        called.setdefault(ast.unparse(each.func), []).append(each)
    for found in called.values():
        yield mutant("result", found[0], found)


def observed(nodes: list[ast.AST], seen: set[str], known: dict[str, Any]) -> Iterator[ast.Call]:
    """Yield the calls of the harness whose results assertions look at, there or by the name that they are given.

    What is only the argument of another call is the test's input.
    """
    names = {re.split(r"\W", text)[0] for text in seen}
    for node in nodes:
        if isinstance(node, ast.Assert):
            for each in outermost_calls(node.test, known):
                if of_the_harness(each.func, known):
                    yield each
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            given = {each.id for each in ast.walk(node.targets[0]) if isinstance(each, ast.Name)}
            if given & names and of_the_harness(node.value.func, known):
                yield node.value


def outermost_calls(node: ast.AST, known: dict[str, Any]) -> Iterator[ast.Call]:
    """Yield the calls in an expression that are not arguments of others, those of built-in functions aside."""
    if isinstance(node, ast.Call) and not (
        isinstance(node.func, ast.Name) and hasattr(builtins, node.func.id)
    ):
        yield node
        if not (isinstance(node.func, ast.Attribute) and node.func.attr in NO_SUBJECT):
            return
    for child in ast.iter_child_nodes(node):
        yield from outermost_calls(child, known)


class Change(ast.NodeTransformer):
    """Applies a mutant to a copy of its function."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def visit(self, node: ast.AST) -> Any:
        """Change the node that the mutant names. What lies below it stays."""
        if getattr(node, "number", -1) not in self._mutant.nodes:
            return self.generic_visit(node)
        if isinstance(node, ast.Assert):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        elif isinstance(node, ast.With):
            raises = next(item.context_expr for item in node.items if is_raises(item))
            assert isinstance(raises, ast.Call)
            node.body = [ast.Raise(called("__blank__", copy.deepcopy(raises.args[0])))]
        elif isinstance(node, ast.expr):
            name = "__emptied__" if "emptied" == self._mutant.kind else "__different__"
            return ast.copy_location(called(name, node), node)
        return node


def called(name: str, argument: ast.expr) -> ast.Call:
    """Return the call of a function of :class:`Sampler` with one argument."""
    return ast.Call(ast.Name(name, ast.Load()), [argument], [])


def changed_code(function: ast.FunctionDef, mutant: Mutant, code: types.CodeType) -> types.CodeType:
    """Return the code of ``function`` with a mutant applied; ``code`` is what it has now."""
    changed = Change(mutant).visit(copy.deepcopy(function))
    changed.decorator_list = []
    # Defaults and annotations are evaluated at a definition and stay the function's own.
    changed.args.defaults = [ast.Constant(None) for _ in changed.args.defaults]
    changed.args.kw_defaults = [each and ast.Constant(None) for each in changed.args.kw_defaults]
    module = ast.fix_missing_locations(ast.Module([changed], []))
    compiled = compile(module, code.co_filename, "exec", flags=0x1000000, dont_inherit=True)
    return next(each for each in compiled.co_consts if isinstance(each, types.CodeType))


# The sample --------------------------------------------------------------------------------------------------------


def own_marks(node: ast.AST) -> set[str]:
    """Return the names of the markers that ``node`` puts on tests."""
    return {
        each.attr
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute) and "pytest.mark" == ast.unparse(each.value)
    }


def functions_of(path: Path, parts: set[str]) -> list[str]:
    """Return the names of the test functions of a module that need none of ``parts``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and "pytestmark" == ast.unparse(node.targets[0])
            and own_marks(node) & parts
        ):
            return []
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not any(own_marks(each) & parts for each in node.decorator_list)
    ]


def population(parts: set[str], tests: Path = TESTS) -> list[str]:
    """Return every test function that needs none of ``parts``, as pytest names it."""
    return sorted(
        f"{path}::{name}"
        for path in tests.rglob("test_*.py")
        if not ASIDE & set(path.relative_to(tests).parts)
        for name in functions_of(path, parts)
    )


class Sampler:
    """A pytest plugin that executes the collected tests' mutants instead of the tests, until ``count`` are done."""

    def __init__(self, count: int, say: Callable[[str], None] = lambda text: None) -> None:
        self.count = count
        self.say = say
        self.sampled: list[str] = []
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.findings: list[tuple[str, str, str]] = []
        self._applied = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Make Hypothesis draw the same examples each time, and not look for the smallest."""
        hypothesis.settings.register_profile(
            "sample",
            hypothesis.settings(),
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
            database=None,
            derandomize=True,
        )
        hypothesis.settings.load_profile("sample")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Execute the mutants of each function in turn."""
        groups: dict[str, list[pytest.Item]] = {}
        for item in session.items:
            groups.setdefault(item.nodeid.partition("[")[0], []).append(item)
        order = [str(argument).removeprefix(f"{ROOT}/") for argument in session.config.args]
        for name in sorted(groups, key=lambda name: order.index(name) if name in order else 0):
            if len(self.sampled) < self.count:
                self._sample(session, name, groups[name][:PARAMETERS])
        return True

    def _sample(self, session: pytest.Session, name: str, items: list[Any]) -> None:
        items = [item for item in items if self._passes(item)]
        if items:
            self.sampled.append(name)
            self.say(f"{len(self.sampled):4}/{self.count} {name}")
            found = self._functions(items[0])
            if not any(self._asserting(node) for node, _ in found):
                self._note(name, "no assertion", "", "passed")
            for node, function in found:
                for mutant in list(mutants(node, function.__globals__)):
                    self._try(name, items, mutant, node, function)
        session._setupstate.teardown_exact(None)

    def _functions(self, item: Any) -> list[tuple[ast.FunctionDef, Any]]:
        """Return the test and the asserting functions of its module that it calls: their sources, numbered, and themselves."""
        test = getattr(item.function, "hypothesis", None)
        test = inspect.unwrap(test.inner_test if test is not None else item.function)
        known = test.__globals__
        known.update(__different__=self._different, __emptied__=self._emptied, __blank__=blank)
        defined = {
            node.name: node
            for node in ast.parse(Path(test.__code__.co_filename).read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
        }
        names = [test.__name__]
        for name in names:
            for node in ast.walk(defined[name]):
                called = (
                    node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
                )
                if (
                    called in defined
                    and called not in names
                    and self._asserting(defined[called])
                    and isinstance(known.get(called), types.FunctionType)
                ):
                    names.append(called)
        for name in names:
            numbered(defined[name])
        found = [(defined[name], test if name == names[0] else inspect.unwrap(known[name])) for name in names]
        # A function that uses variables of another one cannot be given other code.
        return [(node, function) for node, function in found if not function.__code__.co_freevars]

    @staticmethod
    def _asserting(function: ast.FunctionDef) -> bool:
        return any(
            isinstance(node, ast.Assert)
            or (isinstance(node, ast.withitem) and is_raises(node))
            or (isinstance(node, ast.Call) and "pytest.fail" == ast.unparse(node.func))
            for node in ast.walk(function)
        )

    def _try(self, name: str, items: list[Any], mutant: Mutant, node: ast.FunctionDef, function: Any) -> None:
        before = function.__code__
        self._applied = mutant.kind in ("negated", "any error")
        function.__code__ = changed_code(node, mutant, before)
        try:
            passed = all(map(self._passes, items))
        finally:
            function.__code__ = before
        outcome = "failed" if not passed else "passed" if self._applied else "no other value"
        self._note(name, mutant.kind, f"{mutant.line}: {mutant.text}", outcome)

    def _note(self, name: str, kind: str, text: str, outcome: str) -> None:
        self.outcomes[kind, outcome] += 1
        if "passed" == outcome:
            self.findings.append((name, kind, text))
            self.say(f"          {kind}: {text}")

    def _passes(self, item: Any) -> bool:
        item._initrequest()

        def ring(*_: object) -> None:
            raise Hung

        # Of what comes next only the collectors count: those above the item stay set up.
        following: Any = types.SimpleNamespace(listchain=item.parent.listchain, nodeid="")
        previous = signal.signal(signal.SIGALRM, ring)
        signal.alarm(LIMIT)
        try:
            reports = runtestprotocol(item, log=False, nextitem=following)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
        return all(report.passed for report in reports)

    def _different(self, value: Any) -> Any:
        other = different(value)
        self._applied |= other is not value
        return other

    def _emptied(self, value: Any) -> tuple[()]:
        self._applied = True
        list(value)
        return ()


def blank(kind: Any) -> BaseException:
    """Return an error of a class, or of the first of several, of which nothing is set."""
    made = (kind[0] if isinstance(kind, tuple) else kind).__new__(
        kind[0] if isinstance(kind, tuple) else kind
    )
    assert isinstance(made, BaseException)
    return made


def table(sampler: Sampler) -> str:
    """Return how many mutants of each kind there were, and which passed, as Markdown."""
    kinds = sorted({kind for kind, _ in sampler.outcomes})
    lines = [
        "| mutant | tried | failed, as it must | no other value known | passed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind in kinds:
        row = [sampler.outcomes[kind, outcome] for outcome in ("failed", "no other value", "passed")]
        lines.append(f"| {kind} | {sum(row)} | {' | '.join(map(str, row))} |")
    lines += [f"\n{len(sampler.sampled)} tests."]
    lines += [f"* `{name}`: {kind} `{text}`" for name, kind, text in sampler.findings]
    return "\n".join(lines)


def drawn(names: list[str], *, seed: int, count: int) -> list[str]:
    """Return some more than ``count`` of the tests, since some are skipped, such as those for another version of QEMU."""
    return random.Random(seed).sample(names, min(len(names), count * 6 // 5))


def main(words: list[str]) -> int:
    """Draw the sample, execute its mutants and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.assertion_sample", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seed", type=int, default=1, help="what the sample is drawn with")
    parser.add_argument("--count", type=int, default=100, help="how many test functions")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="these instead of a sample: FILE::FUNCTION")
    given = parser.parse_args(words)
    config = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    parts = {
        line.strip().strip('"').partition(":")[0]
        for line in config.partition("markers = [")[2].splitlines()[1:]
    }
    chosen = given.tests or drawn(population(parts - {"]", ""}), seed=given.seed, count=given.count)
    sampler = Sampler(given.count, lambda text: print(text, file=sys.stderr, flush=True))
    options = ["-qq", "--no-header", "--no-summary", "-p", "no:cacheprovider"]
    os.chdir(ROOT)
    ended = pytest.main([*options, *chosen], plugins=[sampler])
    print(table(sampler))
    return int(ended) or (1 if sampler.findings else 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
