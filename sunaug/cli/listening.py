"""A socket for a server, or a sentence that says why there is none."""

from __future__ import annotations

import socket

from sunaug.errors import SunaugError

__all__ = ["listening"]


def listening(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes a free one.

    Raises
    ------
    SunaugError
        If that cannot be done there.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)  # whoever comes before the server is ready waits
    except OSError as error:
        raise SunaugError(
            f"{host}:{port}: the page cannot be served there ({error.strerror or error}); "
            "choose another --port (0 takes a free one) or --host."
        ) from None
    return listener
