"""How a check ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .findings import Findings

__all__ = ["Result"]


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
