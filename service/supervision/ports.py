"""TCP ports on this machine."""

import errno
import socket
from random import SystemRandom

#: Below the ports that Linux (32768 and up) and macOS give to outgoing connections. None of those can take
#: one first, and a client that knocks while its server is down cannot meet itself and keep the server out.
NOBODYS_PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """`count` different ports of 127.0.0.1 that were free a moment ago. Raises OSError if there are too few.

    Another program may take one before its child binds it; the child then falls and says so.
    """
    found: list[int] = []
    for port in SystemRandom().sample(NOBODYS_PORTS, len(NOBODYS_PORTS)):
        if len(found) == count:
            return found
        if is_free("127.0.0.1", port):
            found.append(port)
    raise OSError(f"no {count} free ports in {NOBODYS_PORTS.start} to {NOBODYS_PORTS.stop - 1}")


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on `host`:`port` (1 to 65535) now. Raises OSError for a host not ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name at all, such as ".."
        why = error.strerror if isinstance(error, socket.gaierror) else error
        raise OSError(f"the host {host!r} is no address of this machine: {why}") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise OSError(f"nothing can listen on {host!r}: {error.strerror}") from None
    return True


def reachable(host: str) -> str:
    """An address at which this machine reaches a server that binds `host`."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
