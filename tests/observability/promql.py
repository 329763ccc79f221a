"""Which metrics and labels a PromQL expression uses.

Not a parser: promtool says whether an expression is valid. This walks its tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TOKEN = re.compile(r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
  | (?P<range>\[[^\]]*\])
  | (?P<name>[a-zA-Z_:$][\w:$]*)
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?:ms|[smhdwy])?)
  | (?P<operator>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},@])
""", re.VERBOSE)

GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"}


@dataclass
class Uses:
    """`selected` has a pair for each selector; `grouped` the labels of by(), on() and the like."""

    selected: list[tuple[str, set[str]]] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)


def tokens(expression: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(expression):
        match = TOKEN.match(expression, at)
        if not match:
            raise ValueError(f"not PromQL at {expression[at:at + 20]!r} in {expression!r}")
        if match.lastgroup != "space":
            found.append((match.lastgroup, match[0]))
        at = match.end()
    return found


def uses(expression: str) -> Uses:
    found = Uses()
    rest = tokens(expression)
    at = 0

    def next_is(text: str) -> bool:
        return at < len(rest) and rest[at][1] == text

    def labels_until(end: str) -> set[str]:
        """The names before an operator or a comma; `at` is behind `end` afterwards."""
        nonlocal at
        names = set()
        while rest[at][1] != end:
            if rest[at][0] == "name":
                names.add(rest[at][1])
            at += 1
        at += 1
        return names

    while at < len(rest):
        kind, text = rest[at]
        at += 1
        if text == "{":
            raise ValueError(f"a selector without a metric in {expression!r}")
        if kind != "name" or text.lower() in WORDS:
            continue
        if text in GROUPINGS:
            if next_is("("):
                at += 1
                found.grouped |= labels_until(")")
        elif next_is("{"):
            at += 1
            found.selected.append((text, labels_until("}")))
        elif not next_is("(") and not (at < len(rest) and rest[at][1] in GROUPINGS):
            found.selected.append((text, set()))  # neither a function nor an aggregation
    return found
