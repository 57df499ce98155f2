import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whoever asks for the network is refused at once, and the test that did so fails."""
    asked = []

    def refuse(*arguments, **_):
        asked.append(arguments)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not asked
