"""The socket that clients connect to, and the loop that answers them."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from mmreid_uda.utils import InputError

__all__ = ["listen", "run"]

_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "mmreid_uda.serve": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}


def listen(host: str, port: int) -> socket.socket:
    """A socket that clients can connect to from now on.

    Args:
        host: Address of this machine.
        port: 0 takes a free one.

    Returns:
        The socket.

    Raises:
        InputError: The address is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        door = socket.create_server((host, port), family=family, backlog=256)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"found {host}:{port} not free to listen at ({error}), expected an address of this machine and a free "
            "port: give another --port, or leave --host out."
        ) from error
    # asyncio does not do this for sockets made so, and each answer would wait 40 ms for its second half.
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return door


def run(app: FastAPI, door: socket.socket, behind_proxy: bool = False) -> None:
    """Answer until a signal comes; what is being answered then comes to its end.

    Args:
        app: The application.
        door: Of :func:`listen`.
        behind_proxy: Whether clients' addresses are those that a proxy on this machine names.
    """
    config = uvicorn.Config(
        app,
        log_config=_LOGGING,
        access_log=False,  # it holds the queries of requests; the application has a log of its own
        server_header=False,
        proxy_headers=behind_proxy,
        forwarded_allow_ips="127.0.0.1",
        limit_concurrency=256,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )
    uvicorn.Server(config).run(sockets=[door])
