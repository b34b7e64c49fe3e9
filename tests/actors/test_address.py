"""Whether a Ray cluster answers is known in seconds."""

import socket
import threading
from contextlib import closing

import pytest

from actors import address
from actors.address import unanswered


@pytest.fixture
def server():
    with closing(socket.create_server(("0.0.0.0", 0))) as listening:
        yield listening


def at(server):
    return f"127.0.0.1:{server.getsockname()[1]}"


def test_a_closed_port(server):
    place = at(server)
    server.close()
    assert "refused" in unanswered(place)
    assert "refused" in unanswered(f"ray://{place}")


def test_a_port_that_says_nothing(server, monkeypatch):
    monkeypatch.setattr(address, "ANSWER_SECONDS", 0.2)
    assert "nothing answers" in unanswered(at(server))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_port_of_another_program(server, answer):
    def serve():
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    assert "no Ray cluster" in unanswered(at(server))
    thread.join()


def test_what_is_no_address():
    assert "Invalid address format" in unanswered("nowhere:1:2")
    assert unanswered("name-that-is-nowhere.invalid:6379")
