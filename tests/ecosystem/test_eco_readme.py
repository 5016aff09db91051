"""The examples of the README's section "Migrate", run as they stand there.

Only what a test cannot have is exchanged: example.org is a server of ours, the port of the
uvicorn example a free one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import os
import re
import shutil
import sys
import threading
from pathlib import Path

import pytest
from clients import connect
from servers import https
from world import DIGEST, await_port, digest, free_port, needs

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCK = re.compile(r"^\*\*(\w+)\*\*.*?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

if not README.is_file():
    pytest.skip("the README is not beside the tests", allow_module_level=True)

pytestmark = [pytest.mark.library("Python"), pytest.mark.ways("context")]


def examples() -> dict:
    """Return the code of each example by the name of its library."""
    section = README.read_text(encoding="utf-8").partition("\n## Migrate\n")[2]
    return dict(BLOCK.findall(section.partition("\n## ")[0]))


def run(code):
    """Run an example; return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(README), "exec"), {"__name__": "__main__"})
    return printed.getvalue()


@pytest.fixture(scope="module", autouse=True)
def all_of_them():
    """Hold that the examples found are those that are tested here."""
    assert set(examples()) == {"requests", "aiohttp", "uvicorn", "asyncio", "install"}


@pytest.mark.parametrize(
    "library, printed",
    (("requests", "200\n"), ("aiohttp", "200\n"), ("asyncio", "b'HTTP/1.1 200 OK\\r\\n'\n")),
)
def test_client(world, library, printed):
    """The example gets the page; once `import ssl as sslbind` has taken it back as well."""
    needs(library)
    world.watch("create_default_context", "connect_good")
    os.environ["SSL_CERT_FILE"] = world.ca
    code = examples()[library]
    back = code.replace(", sslbind\n", "\nimport ssl as sslbind\n", 1)
    assert "import ssl as sslbind" in back
    with https(world.peer_server()) as port:
        for text in (code, back):
            text = text.replace("https://example.org/", f"https://localhost:{port}/")
            text = text.replace('"example.org", 443', f'"localhost", {port}')
            assert run(text) == printed


def test_client_refuses(world):
    """The example does verify: without the authority it fails."""
    requests = needs("requests")
    code = examples()["requests"]
    with https(world.peer_server()) as port:
        with pytest.raises(requests.exceptions.SSLError):
            run(code.replace("https://example.org/", f"https://localhost:{port}/"))


def test_install(world):
    """The example makes requests use sslbind, and `uninstall` undoes that for what comes later."""
    if importlib.util.find_spec("requests") is None:
        pytest.skip("requests is not installed")
    os.environ["REQUESTS_CA_BUNDLE"] = world.ca
    with https(world.peer_server()) as port:
        url = f"https://localhost:{port}/"
        assert run(examples()["install"].replace("https://example.org/", url)) == "200\n"
    assert sys.modules["urllib3.util.ssl_"].SSLContext is world.tls.SSLContext
    world.tls.uninstall()
    assert importlib.import_module("ssl").SSLContext is not world.tls.SSLContext


def test_uvicorn(world):
    """The example serves the data, with a context of sslbind."""
    uvicorn = needs("uvicorn")
    if "ssl_context_factory" not in inspect.signature(uvicorn.Config).parameters:
        pytest.skip("this uvicorn has no ssl_context_factory")
    world.watch("SSLContext", "accept_good")
    os.chdir(world.folder)
    shutil.copy(world.server_cert, "cert.pem")
    shutil.copy(world.server_key, "key.pem")
    port = free_port()
    code = examples()["uvicorn"].replace("8443", str(port)).replace("app:app", "asgi:app")
    names = {"__name__": "__main__"}
    thread = threading.Thread(target=exec, args=(code, names), daemon=True)
    thread.start()
    assert await_port(port, thread.is_alive)
    client = connect(port, world.peer_client())
    client.request("GET", "/")
    assert digest(client.getresponse().read()) == DIGEST
