"""Which requests of an app go where: to the inspector, to the application after a check, or straight there. Pure.

What is not plainly for the application goes to the inspector. A request is plain when its path is spelt as every
server reads it: letters, digits, ``-``, ``.``, ``_``, ``~``, no segment that begins with a dot, none that is
empty, and no escape; no proxy changes such a path, whatever it does to others. Rules stand in the order of the
app's routes and the first that fits is taken, as the gateway itself does; one that a protected path could fit, by
any method or condition or as an alias, is written wider than it is.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.policy.inspection import why_inspected
from gateway.policy.paths import PLACEHOLDER
from gateway.policy.policy import App
from gateway.vocabulary.logins import LoginRule
from gateway.vocabulary.records import RouteKind

SEGMENT = "[A-Za-z0-9_~-][A-Za-z0-9_~.-]*"
_WITHIN = "[A-Za-z0-9_~.-]+"
_REST = f"{SEGMENT}(?:/{SEGMENT})*/?"
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
# Whatever an alias of a protected path may end with, among plain paths (gateway/policy/routes.py).
_ALIAS = r"(?:\.[^/]*)?/?"


class Door(StrEnum):
    """Where a request goes."""

    INSPECTOR = "inspector"
    CHECK = "check"
    APP = "app"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the plan.

    *pattern* fits a whole path, without query, and means the same to RE2 and PCRE: literals, classes, groups and
    repetition. *fold*: regardless of case. *why* tells people why the inspector has it.
    """

    name: str
    kind: str
    pattern: str
    fold: bool
    door: Door
    why: str = ""


def plan(app: App, prefix: str) -> tuple[Rule, ...]:
    """Return the rules for GET and HEAD without body, in order; whatever fits none goes to the inspector.

    *prefix* is that of the gateway's own pages.
    """
    if any(_at_any_path(rule) for rule in app.logins):
        return ()
    rules = [Rule("own pages", "own", _literal(prefix) + ".*", True, Door.INSPECTOR, "the gateway's own")]
    rules += [
        Rule(login.name, "login", _wide(login.path_template), True, Door.INSPECTOR, "logins are observed")
        for login in app.logins
        if login.path_template is not None
    ]
    for route in app.routes:
        public = route.kind is RouteKind.PUBLIC
        why = why_inspected(app, route)
        narrow = _narrow(route.template.text, exact=public) if why is None else None
        if narrow is None:
            told = str(why) if why is not None else "its pattern is not for every proxy"
            wide = _wide(route.template.text)
            rules.append(Rule(route.name, route.kind.value, wide, True, Door.INSPECTOR, told))
        else:
            door = Door.APP if public else Door.CHECK
            rules.append(Rule(route.name, route.kind.value, narrow, not public, door))
            if route.template.text.endswith("*"):
                # The bare path is the route's too, and no later rule's; nothing tells it from a folder of its own.
                bare = narrow.removesuffix(_REST)
                rules.append(
                    Rule(route.name, route.kind.value, bare, not public, Door.INSPECTOR, "its bare path")
                )
    while rules and rules[-1].door is Door.INSPECTOR:
        rules.pop()
    return tuple(rule for rule in rules if _may_fit_plain(rule))


def _at_any_path(rule: LoginRule) -> bool:
    """Tell whether a GET of any path may be a login."""
    return rule.path_template is None and (not rule.methods or "GET" in rule.methods)


def _may_fit_plain(rule: Rule) -> bool:
    return rule.pattern != ""


def _pieces(text: str) -> tuple[list[str], list[str | None]]:
    """Return the literals of a template and, between them, the shapes of its names (None: one segment)."""
    literals, shapes, position = [], list[str | None](), 0
    for found in PLACEHOLDER.finditer(text):
        literals.append(text[position : found.start()])
        shapes.append(found.group(2))
        position = found.end()
    literals.append(text[position:])
    return literals, shapes


def _literal(text: str) -> str:
    return text.replace(".", r"\.")


def _narrow(text: str, *, exact: bool) -> str | None:
    """Return the pattern of the plain paths that a template fits, None when that is more than a simple pattern.

    *exact*: to the letter; otherwise without regard to the final slash, too.
    """
    body, rest = (text[:-1], True) if text.endswith("*") else (text, False)
    literals, shapes = _pieces(body)
    whole = "".join(literals)
    if not _PLAIN.issuperset(whole) or any("//" in one or "/." in one for one in literals):
        return None
    pattern = _literal(literals[0])
    for index, shape in enumerate(shapes):
        before, last = literals[index], index == len(shapes) - 1 and not literals[-1] and not rest
        at_segment = before.endswith("/")
        if shape is None:
            # In the middle of a segment nothing can become a dot segment; at its start nothing may look like one.
            pattern += SEGMENT if at_segment else _WITHIN
        elif shape == "int":
            pattern += "[0-9]+"
        elif shape == "path" and at_segment and last:
            pattern += _REST
        else:
            return None
        pattern += _literal(literals[index + 1])
    if rest:
        return pattern + _REST if literals[-1].endswith("/") else None
    if exact or pattern.endswith("?"):
        return pattern
    return pattern.removesuffix("/") + "/?"


def _wide(text: str) -> str:
    """Return a pattern that fits at least the plain paths that a template fits, and their aliases; "" when none can."""
    body, rest = (text[:-1], True) if text.endswith("*") else (text, False)
    literals, shapes = _pieces(body)
    if not _PLAIN.issuperset("".join(literals)):
        return ""
    pattern = _literal(literals[0])
    for index, shape in enumerate(shapes):
        pattern += "[^/]+" if shape is None else "[0-9]+" if shape == "int" else ".*"
        pattern += _literal(literals[index + 1])
    return pattern + ".*" if rest else pattern.removesuffix("/") + _ALIAS
