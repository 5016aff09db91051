"""ftplib.FTP_TLS, with AUTH TLS and implicit TLS, against an FTP server over TLS."""

from __future__ import annotations

import ftplib
import io

import pytest
from servers import LOGIN, ftp
from world import DATA, DEADLINE, DIGEST, digest, refused

pytestmark = pytest.mark.library("Python")


class Implicit(ftplib.FTP_TLS):
    """FTPS on a connection that is TLS from the start, the usual way to have it with ftplib."""

    @property
    def sock(self):
        """The control connection, wrapped when it is set."""
        return self._control

    @sock.setter
    def sock(self, sock):
        if sock is not None and not hasattr(sock, "getpeercert"):
            sock = self.context.wrap_socket(sock, server_hostname=self.host)
        self._control = sock


def connect(port, context, implicit):
    """Return a client whose control and data connections speak TLS."""
    client = (Implicit if implicit else ftplib.FTP_TLS)(context=context, timeout=DEADLINE)
    client.connect("localhost", port)
    if not implicit:
        client.auth()
    client.login(*LOGIN, secure=False)
    client.prot_p()
    return client


@pytest.mark.parametrize("implicit", (False, True))
def test_both_ways(world, implicit):
    """10 MB come and go, with an orderly end of TLS on the data connections."""
    with ftp(world.server(), implicit) as port:
        client = connect(port, world.client(), implicit)
        got = []
        client.retrbinary("RETR data", got.append)
        assert digest(b"".join(got)) == DIGEST
        assert DIGEST in client.storbinary("STOR data", io.BytesIO(DATA), 1 << 16)
        client.quit()


@pytest.mark.parametrize("implicit", (False, True))
def test_rejected_certificate(world, implicit):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    with ftp(world.peer_server(), implicit) as port, refused():
        connect(port, world.stranger(), implicit)
