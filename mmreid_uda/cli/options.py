"""``--cfg-options key=value``: how a text on the command line becomes a value.

The first rule that applies decides:

1. ``True``, ``False`` and ``None``, in capitals or not, are these; so is nothing the empty text.
2. What Python reads as numbers, quoted texts, lists, tuples and dicts of these, ``dict(key=value)`` too, is that value.
3. ``[...]`` and ``(...)`` around entries with commas between them are a list or tuple, each entry read by these rules:
   ``[syntha,synthb]``. Blanks around an entry do not count. In dicts, too, single words need no quotes:
   ``dict(name=syntha)``.
4. Commas without brackets make a list if every entry is a value by rules 1 and 2: ``1,5,10``.
5. All else is a text, kept as it is, with its blanks, commas and equals signs: ``/data/my photos,2024``.

Quotes inside the value make a text of anything: ``name="'12'"`` or ``data_root='"[old]"'``.
"""

from __future__ import annotations

import argparse
import ast
import math
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["OptionsAction", "parse_options", "parse_value"]

_WORDS = {"true": True, "false": False, "none": None}
_BRACKETS = {"[": "]", "(": ")", "{": "}"}


class _NoValue(ValueError):
    """A text that only rule 5 reads."""


def parse_value(text: str) -> Any:
    """Read a value by the rules of this module; none fails.

    Args:
        text: What stands behind the equals sign.

    Returns:
        A number, text, bool, None, list, tuple or dict.
    """
    try:
        return _literal(text)
    except _NoValue:
        pass
    entries = _entries(text.strip()[1:-1]) if _is_bracketed(text.strip()) else None
    if entries is not None:
        return (tuple if text.strip().startswith("(") else list)(map(_entry, entries))
    try:
        parts = _entries(text)
        if parts is not None and len(parts) > 1:
            return [_literal(part) for part in parts]
    except _NoValue:
        pass
    return text


def _entry(text: str) -> Any:
    value = parse_value(text)
    return value.strip() if value is text else value


def _literal(text: str) -> Any:
    """A value by rules 1 and 2."""
    text = text.strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return _value_of(ast.parse(text, mode="eval").body)
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        raise _NoValue(text) from error


def _value_of(node: ast.expr, in_dict: bool = False) -> Any:
    """The value of an expression of constants, containers and ``dict(key=value)``; a word in a dict is a text."""
    if isinstance(node, (ast.List, ast.Tuple)):
        entries = [_value_of(one, in_dict) for one in node.elts]
        # 1,2: no bracket opens before the first entry.
        is_open = bool(entries) and node.col_offset == node.elts[0].col_offset
        return tuple(entries) if isinstance(node, ast.Tuple) and not is_open else entries
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {
            ast.literal_eval(key): _value_of(value, in_dict=True)
            for key, value in zip(node.keys, node.values)
            if key is not None
        }
    if isinstance(node, ast.Call):
        named = {one.arg: one.value for one in node.keywords}
        if (
            not isinstance(node.func, ast.Name)
            or node.func.id != "dict"
            or node.args
            or None in named
        ):
            raise ValueError("no dict(key=value)")
        return {key: _value_of(value, in_dict=True) for key, value in named.items()}
    if isinstance(node, ast.Name) and (in_dict or node.id.lower() in _WORDS):
        return _WORDS.get(node.id.lower(), node.id)
    value = ast.literal_eval(node)
    if not isinstance(value, (bool, int, float, str, type(None))) or value in (math.inf, -math.inf):
        raise ValueError("nothing that a config holds")
    return value


def _is_bracketed(text: str) -> bool:
    """Whether a text is one pair of square or round brackets with something inside, closed at its very end."""
    if text[:1] not in ("[", "(") or len(text) < 2:
        return False
    depths = [depth for _, depth in _depths(text)]
    return bool(depths) and depths[-1] == 0 and all(depth > 0 for depth in depths[:-1])


def _entries(text: str) -> list[str] | None:
    """A text cut at the commas that stand in no bracket and no quotes; None if brackets or quotes do not close."""
    parts, start = [], 0
    position, depth = -1, 0
    for position, depth in _depths(text):
        if depth == 0 and text[position] == ",":
            parts.append(text[start:position])
            start = position + 1
    if depth or position != len(text) - 1:
        return None
    if text[start:].strip() or not parts:
        parts.append(text[start:])  # behind a last comma there is no entry
    return parts if all(part.strip() for part in parts) else None


def _depths(text: str) -> Iterator[tuple[int, int]]:
    """Position and number of open brackets and quotes behind each character; ends early where one has no partner."""
    open_brackets: list[str] = []
    quote = ""
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and not text[:position][-1:].isalnum():
            quote = letter  # an apostrophe inside a word is none
        elif letter in _BRACKETS:
            open_brackets.append(_BRACKETS[letter])
        elif letter in _BRACKETS.values() and (not open_brackets or open_brackets.pop() != letter):
            return
        if quote and position == len(text) - 1:
            return
        yield position, len(open_brackets) + bool(quote)


class OptionsAction(argparse.Action):
    """``key=value`` pairs on a command line; what is no such pair is an error of usage."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add the pairs to those that are there already."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for pair in values or ():
            key, equals, text = pair.partition("=")
            key = key.strip()
            if not equals or not key or not all(key.split(".")):
                parser.error(
                    f"found the option {pair!r}, expected key=value; a value with blanks needs quotes around the pair."
                )
            options[key] = parse_value(text)
        setattr(namespace, self.dest, options)


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` texts as the flag ``--cfg-options`` of every tool does.

    Args:
        pairs: The texts.

    Returns:
        Dotted key -> value.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("pairs", nargs="*", action=OptionsAction)
    return parser.parse_args(["--", *pairs]).pairs or {}
