"""The application that the ASGI and WSGI servers run: GET gives the data, POST a digest."""

from __future__ import annotations

from world import DATA, digest


async def app(scope, receive, send):
    """Speak ASGI 3."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    assert scope["scheme"] == "https"
    body = bytearray()
    more = True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    answer = DATA if scope["method"] == "GET" else digest(body).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def wsgi(environ, start_response):
    """Speak WSGI (PEP 3333)."""
    assert environ["wsgi.url_scheme"] == "https"
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    answer = DATA if environ["REQUEST_METHOD"] == "GET" else digest(body).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
