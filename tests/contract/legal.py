# SPDX-License-Identifier: MIT
"""A reference model: Hypothesis strategies that draw legal histories, in the notation of the checker's traces.

What is drawn is what the contract allows and no more is promised: several drivers, loaded and unloaded and loaded
again; hot-adds in any order of callbacks, with overlapping Starts; vetoes with and without the vetoing driver's own
Failure, with and without later Starts; two adds at once; DIMMs; arrivals before, between and after Completes;
processor groups; allocations; work on processors that already run.
"""

from __future__ import annotations

from hypothesis import strategies as st

MOST_PROCESSORS = 8


@st.composite
def attempts(draw: st.DrawFn, drivers: list[str], number: int) -> tuple[list[str], bool]:
    """One host command and everything one processor causes; True if the processor was added."""
    order = draw(st.permutations(drivers))
    vetoer = draw(st.none() | st.integers(0, len(order) - 1)) if draw(st.booleans()) else None
    alloc = "{alloc=1}"
    words = ["+cpu"]
    if vetoer is None:
        words += _overlapping(draw, [f"{name}:S{number}{alloc}" for name in order])
        calls = [f"{name}:C{number}" for name in draw(st.permutations(drivers))]
        calls += [f"{name}:V" for name in drivers]
        words += draw(st.permutations(calls))
    else:
        started = order[: vetoer + 1]
        words += [f"{name}:S{number}{alloc}" for name in started[:-1]]
        words.append(f"{started[-1]}:S{number}!")
        later = [name for name in order[vetoer + 1 :] if draw(st.booleans())]
        words += [f"{name}:S{number}{{alloc=1,op=0xC000009A,out=0xC000009A}}" for name in later]
        failures = [f"{name}:F{number}{{free=1}}" for name in [*started[:-1], *later]]
        if draw(st.booleans()):
            failures.append(f"{started[-1]}:F{number}")
        words += draw(st.permutations(failures))
    return [*words, "=cpu"], vetoer is None


def _overlapping(draw: st.DrawFn, starts: list[str]) -> list[str]:
    """The Starts of several drivers, one after the other or all entered before any returns."""
    if len(starts) < 2 or draw(st.booleans()):
        return starts
    entered = [start.replace(":S", ":<S") for start in starts]
    return entered + [start.partition("{")[0] + ">" for start in draw(st.permutations(starts))]


@st.composite
def bursts(draw: st.DrawFn, drivers: list[str], number: int) -> list[str]:
    """Two commands at once: the attempts may overlap in any way that keeps each of them in order."""
    one, other = number, number + 1
    starts = [[f"{name}:S{n}{{alloc=1}}" for name in draw(st.permutations(drivers))] for n in (one, other)]
    completes = [[f"{name}:C{n}" for name in draw(st.permutations(drivers))] for n in (one, other)]
    arrivals = [f"{name}:V" for name in drivers for _ in (one, other)]
    shape = draw(st.sampled_from(["serial", "nested", "crossed"]))
    if shape == "serial":
        words = starts[0] + completes[0] + starts[1] + completes[1]
    elif shape == "nested":
        words = starts[0] + starts[1] + completes[1] + completes[0]
    else:
        words = starts[0] + starts[1] + completes[0] + completes[1]
    return ["+cpu", "+cpu", *words, *arrivals, "=cpu", "=cpu"]


@st.composite
def histories(draw: st.DrawFn) -> str:
    """A whole legal run as a trace."""
    names = draw(st.sampled_from([["a"], ["a", "b"], ["a", "b", "c"]]))
    size = draw(st.sampled_from([0, 0, 1, 2, 4]))
    words = [f"groupsize={size}"] if size else []
    words += [word for name in names[1:] for word in ("with", name)]
    alive, processors = list(names), 2
    gone: list[str] = []
    for _ in range(draw(st.integers(1, 5))):
        choice = draw(st.sampled_from(["add", "add", "add", "burst", "dimm", "unload", "load", "work", "Q"]))
        if choice == "add" and processors < MOST_PROCESSORS:
            more, added = draw(attempts(alive, processors))
            words += more
            processors += added
        elif choice == "burst" and processors + 1 < MOST_PROCESSORS:
            words += draw(bursts(alive, processors))
            processors += 2
        elif choice == "dimm":
            words += ["+dimm", *(f"{name}:M" for name in draw(st.permutations(alive))), "=dimm"]
        elif choice == "unload" and len(alive) > 1:
            name = alive.pop(draw(st.integers(0, len(alive) - 1)))
            gone.append(name)
            words += ["Q", f"{name}:unload"]
        elif choice == "load" and gone:
            name = gone.pop()
            alive.append(name)
            words += ["Q", f"{name}:load", "Q"]
        elif choice == "work":
            name, cpu = draw(st.sampled_from(alive)), draw(st.integers(0, processors - 1))
            words.append(f"{name}:work{{cpu={cpu},nt={cpu}}}")
        elif choice == "Q":
            words.append("Q")
    if not any(word.startswith("+") for word in words):
        more, _ = draw(attempts(alive, processors))
        words += more
    return " ".join(words)
