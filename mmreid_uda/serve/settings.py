"""What a server allows: who may talk to it, how much at once, and whether anything may change."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import require_file

__all__ = ["Limits", "ServerSettings", "is_loopback", "new_token", "read_tokens"]

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_SHORTEST_TOKEN = 16
_WILDCARDS = ("0.0.0.0", "::", "")


@dataclass(frozen=True)
class Limits:
    """Sizes and rates.

    Args:
        image_bytes: Of one uploaded image.
        image_pixels: Of one uploaded image, read from its header before it is decoded.
        images: Uploaded with one request.
        body_bytes: Of a request without images.
        body_seconds: That a client may let the server wait for the next part of a request.
        rate: Requests per second and client in the long run, of which a picture counts as a twentieth; 0 = no limit.
        burst: Requests that a client may make at once after a pause.
        topk: Matches of a search.
        page: Entries of a list.
        jobs: That wait; further ones are refused.
        thumbnails_bytes: That are kept, of all thumbnails together.
    """

    image_bytes: int = 16 << 20
    image_pixels: int = 25_000_000
    images: int = 8
    body_bytes: int = 4 << 20
    body_seconds: float = 30.0
    rate: float = 20.0
    burst: int = 60
    topk: int = 1000
    page: int = 1000
    jobs: int = 4
    thumbnails_bytes: int = 512 << 20

    @property
    def upload_bytes(self) -> int:
        """Of a request with images: all of them, and room for the other parts of the form."""
        return self.images * self.image_bytes + self.body_bytes


@dataclass(frozen=True)
class ServerSettings:
    """How a server is started.

    Args:
        host: Address that it listens at. Defaults to ``'127.0.0.1'``: this machine alone.
        names: Further names that clients may call it by, such as that of a reverse proxy.
        tokens: Name -> token of those who may talk to it; none where everybody on this machine may.
        train: Whether a training can be started.
        read_only: Whether nothing can be changed.
        limits: Sizes and rates.

    Raises:
        InputError: Others than this machine could talk to it, and there is no token.
    """

    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    train: bool = False
    read_only: bool = False
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.tokens:
            raise InputError(
                f"found the host {self.host!r} and no token, expected one where other machines can reach the server: "
                "give --token-file, or leave --host out."
            )

    def is_called(self, name: str, address: str | None) -> bool:
        """Whether the server goes by a name; others are a page's attempt to reach it under the page's own name.

        Args:
            name: Host of the request, without the port.
            address: Of this machine that the connection came to, if it is known.

        Returns:
            True for the names that it was started for. A server that listens at all addresses goes by each of them.
        """
        name = name.lower().rstrip(".")
        known = {self.host.lower(), *(one.lower() for one in self.names)}
        if is_loopback(self.host):
            known.update(_LOOPBACK_NAMES)
        elif self.host in _WILDCARDS and address:
            known.add(address.lower())
            if is_loopback(address):
                known.update(_LOOPBACK_NAMES)
        return name in known


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone.

    Args:
        host: Name or address.

    Returns:
        True for ``localhost`` and the loopback addresses.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """Make a token.

    Returns:
        43 letters that nobody guesses.
    """
    return secrets.token_urlsafe(32)


def read_tokens(path: str | Path) -> dict[str, str]:
    """Read the tokens of those who may talk to the server.

    Args:
        path: A text file: one token a line, or a name, a space and a token; lines that begin with ``#`` are left out.

    Returns:
        Name -> token; a token without a name is called ``'token'``.

    Raises:
        InputError: There is no such file, it holds none, a token is short, or two have one name.
    """
    require_file(path, "a text file with a token, or several as lines of a name and a token")
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{str(path)!r} cannot be read ({error}); write the file again."
        ) from error
    tokens: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        name, token = ("token", words[0]) if len(words) == 1 else (words[0], words[1])
        # No sentence cites a token: it would stand in a log.
        if len(words) > 2 or name in tokens:
            raise InputError(
                f"line {number} of {str(path)!r} holds {len(words)} words or a name for the second time, expected a "
                "name of its own and a token; mend the line."
            )
        if len(token) < _SHORTEST_TOKEN or not token.isascii():
            raise InputError(
                f"line {number} of {str(path)!r} holds a token of {len(token)} letters, expected at least "
                f"{_SHORTEST_TOKEN} of ASCII: python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one."
            )
        tokens[name] = token
    if not tokens:
        raise InputError(f"found no token in {str(path)!r}, expected one a line; write one.")
    return tokens
