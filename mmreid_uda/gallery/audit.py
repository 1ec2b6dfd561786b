"""The audit file of a gallery: one line of JSON for each search, addition, deletion, act and export.

A line says who did what and when, never with which image or vector: of an uploaded image it holds the hash of its
bytes, of a search the number of its matches. ``docs/privacy.md`` tells what that means for the people on the images.
"""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

from mmreid_uda.utils.files import said_to_be_unwritable
from mmreid_uda.utils.run_lock import alone
from mmreid_uda.utils.values import Count, checked

__all__ = ["AuditLog"]


@checked
class AuditLog:
    """Appends lines to a file; threads and processes may share it.

    A file that has grown beyond the limit becomes ``audit.1.jsonl``, that one ``audit.2.jsonl``, and so on; the oldest
    is removed.

    Args:
        path: The file; its folder is made.
        max_bytes: Size at which a new file is begun. Defaults to 16 MiB, about 80,000 lines.
        keep: Older files that stay. Defaults to 9.

    Example:
        >>> AuditLog('gallery/audit.jsonl').write('local', 'search', where={'cameras': ['3']}, matches=10)
    """

    def __init__(self, path: str | Path, max_bytes: Count = 1 << 24, keep: Count = 9) -> None:
        self.path = Path(path)
        self.max_bytes, self.keep = max_bytes, keep

    def write(self, who: str, what: str, **details: Any) -> None:
        """Append one line, which is in the file when this returns.

        Args:
            who: Name of the token, or ``'local'``; with the address of the client, if there is one.
            what: Such as ``'search'`` or ``'delete'``.
            **details: What JSON can hold; those that are None are left out.

        Raises:
            InputError: The file cannot be written.
        """
        said = {key: value for key, value in details.items() if value is not None}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps(dict(time=now, who=who, what=what, **said), allow_nan=False) + "\n"
        with alone(self.path), said_to_be_unwritable(self.path):
            if self.path.exists() and self.path.stat().st_size + len(line) > self.max_bytes:
                self._rotate()
            # One write of a file that is open for appending: no line ends inside another.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                before, content = os.fstat(descriptor).st_size, line.encode()
                if os.write(descriptor, content) < len(content):
                    os.ftruncate(descriptor, before)  # half a line would spoil the next one
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)

    def _rotate(self) -> None:
        """Give every file the next number, and let the oldest go."""
        names = [self.path, *(self._numbered(number) for number in range(1, self.keep + 1))]
        for older, newer in reversed(list(zip(names[1:], names))):
            if newer.exists():
                os.replace(newer, older)

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.{number}{self.path.suffix}")
