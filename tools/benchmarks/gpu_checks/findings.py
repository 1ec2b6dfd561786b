"""What a check found: figures, and where they are not what they must be; and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Findings", "NotHere", "Result"]


class NotHere(Exception):
    """A check cannot be done on this machine; the message says what is missing."""


@dataclass
class Findings:
    """Figures of a check, and complaints about those outside their limits.

    Args:
        metrics: Name -> number, text, truth, or a list of rows (dictionaries) for a table of its own.
        reasons: One sentence for each figure that is not what it must be; none = passed.
        notes: What a reader should know beside the figures.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def at_most(self, name: str, value: float, limit: float) -> None:
        """Note a figure that must not be above a limit; NaN always is."""
        self.metrics[name] = value
        if not value <= limit:
            self.reasons.append(f"{name}: found {value:.3g}, expected at most {limit:.3g}")

    def at_least(self, name: str, value: float, limit: float) -> None:
        """Note a figure that must not be below a limit; NaN always is."""
        self.metrics[name] = value
        if not value >= limit:
            self.reasons.append(f"{name}: found {value:.3g}, expected at least {limit:.3g}")

    def true(self, name: str, value: bool, reason: str) -> None:
        """Note whether something holds that must."""
        self.metrics[name] = bool(value)
        if not value:
            self.reasons.append(f"{name}: {reason}")


@dataclass
class Result:
    """How a check ended.

    Args:
        status: ``'passed'``, ``'failed'`` (a figure is outside its limits), ``'broken'`` (an error), ``'timed out'`` or
            ``'skipped'``.
        message: Why it did not pass.
        metrics: As :class:`Findings`.
        notes: As :class:`Findings`.
        seconds: That it took.
    """

    status: Literal["passed", "failed", "broken", "timed out", "skipped"]
    message: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(cls, findings: Findings) -> Result:
        """Of a check that came to its end."""
        return cls(
            "failed" if findings.reasons else "passed",
            "; ".join(findings.reasons),
            findings.metrics,
            findings.notes,
        )

    @property
    def is_bad(self) -> bool:
        """Whether someone has to look at it."""
        return self.status in ("failed", "broken", "timed out")
