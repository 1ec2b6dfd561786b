"""The socket of the server."""

import socket

import pytest

from mmreid_uda.serve.running import listen
from mmreid_uda.utils import InputError


def test_answers_do_not_wait_for_their_second_half():
    with listen("127.0.0.1", 0) as door, socket.create_connection(door.getsockname()):
        connection, _ = door.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_a_sentence():
    with (
        listen("127.0.0.1", 0) as door,
        pytest.raises(InputError, match=r"not free to listen at .* give another --port"),
    ):
        listen("127.0.0.1", door.getsockname()[1])
