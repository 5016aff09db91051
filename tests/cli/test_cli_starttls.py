"""`connect --starttls`: each protocol's way to TLS, against a server that follows a script.

A script is a list of what the server says (bytes) and what it must hear (a compiled pattern,
matched against all that the client has sent since the server spoke last).
"""

from __future__ import annotations

import re

import pytest

from sslbind.cli.starttls import PROTOCOLS


def hears(pattern):
    return re.compile(pattern, re.DOTALL)


def mysql_greeting(capabilities):
    """Protocol 10's handshake packet up to the low capability flags, and some more."""
    body = b"\x0a8.0.30\0" + b"\x01\0\0\0" + b"saltsalt" + b"\0"
    body += capabilities.to_bytes(2, "little") + b"\x21\x02\0" + bytes(24)
    return len(body).to_bytes(3, "little") + b"\0" + body


XMPP_TLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>"
XMPP_STREAM = b"<?xml version='1.0'?><stream:stream id='1' version='1.0'>"
SMTP = [
    b"220-mail.example\r\n220 ESMTP\r\n",
    hears(rb"EHLO \S+\r\n$"),
    b"250-mail.example\r\n250-SIZE 1000\r\n250 STARTTLS\r\n",
    hears(rb"^STARTTLS\r\n$"),
    b"220 go ahead\r\n",
]
SIEVE_OFFER = b'"IMPLEMENTATION" "x"\r\n"STARTTLS"\r\nOK "ready"\r\n'
LDAP_REQUEST = rb"^0\x1d\x02\x01\x01\x77\x18\x80\x161\.3\.6\.1\.4\.1\.1466\.20037$"


def xmpp(namespace):
    return [
        hears(rb"xmlns='" + namespace + rb"'.* to='localhost'>$"),
        XMPP_STREAM + b"<stream:features>" + XMPP_TLS + b"<required/></starttls></stream:features>",
        hears(rb"^<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>$"),
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    ]


SCRIPTS = {
    "ftp": [b"220 ready\r\n", hears(rb"^AUTH TLS\r\n$"), b"234 go\r\n"],
    "imap": [b"* OK ready\r\n", hears(rb"^a1 STARTTLS\r\n$"), b"* note\r\na1 OK go\r\n"],
    "ldap": [hears(LDAP_REQUEST), b"0\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"],
    "lmtp": [SMTP[0], hears(rb"LHLO \S+\r\n$"), *SMTP[2:]],
    "mysql": [mysql_greeting(0xFFFF), hears(rb"^\x20\x00\x00\x01.{32}$")],
    "nntp": [b"200 ready\r\n", hears(rb"^STARTTLS\r\n$"), b"382 go\r\n"],
    "pop3": [b"+OK ready\r\n", hears(rb"^STLS\r\n$"), b"+OK go\r\n"],
    "postgres": [hears(rb"^\x00\x00\x00\x08\x04\xd2\x16\x2f$"), b"S"],
    "sieve": [SIEVE_OFFER, hears(rb"^STARTTLS\r\n$"), b'OK "go"\r\n'],
    "smtp": SMTP,
    "xmpp": xmpp(b"jabber:client"),
    "xmpp-server": xmpp(b"jabber:server"),
}

LDAP_LONG_FORM = [
    hears(LDAP_REQUEST),
    b"0\x84\x00\x00\x00\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00",
]

REFUSALS = [
    ("ftp", [b"220 ready\r\n", hears(rb"AUTH"), b"502 no\r\n"], "502 no"),
    ("imap", [b"* BYE busy\r\n"], "BYE busy"),
    ("imap", [b"* OK\r\n", hears(rb"STARTTLS"), b"a1 BAD what\r\n"], "BAD what"),
    ("ldap", [hears(b"1466"), b"0\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\0\x04\0"], "result 2"),
    ("ldap", [hears(b"1466"), b"0\x00"], "ldap"),
    ("ldap", [hears(b"1466"), b"0\x03\x02\xff\x01"], "ldap"),
    ("mysql", [mysql_greeting(0xF7FF)], "does not offer TLS"),
    ("mysql", [b"\x0b\0\0\0\xff\x10\x04Too many"], "Too many"),
    ("mysql", [b"\0\0\0\0"], "mysql"),
    ("nntp", [b"200 ready\r\n", hears(rb"STARTTLS"), b"580 no\r\n"], "580 no"),
    ("pop3", [b"+OK\r\n", hears(rb"STLS"), b"-ERR no\r\n"], "-ERR no"),
    ("postgres", [hears(rb"^.{8}$"), b"N"], "does not offer TLS"),
    ("sieve", [b'"SIEVE" "x"\r\nOK\r\n'], "does not offer STARTTLS"),
    ("smtp", [SMTP[0], hears(rb"EHLO"), b"250 mail\r\n"], "does not offer STARTTLS"),
    ("smtp", [*SMTP[:4], b"454 not now\r\n"], "454 not now"),
    ("smtp", [b"554 go away\r\n"], "554 go away"),
    ("smtp", [b"220 "], "closed the connection"),
    ("smtp", [b"x" * 9000], "not of this protocol"),
    ("smtp", [b"220-on and on\r\n" * 300], "has no end"),
    ("xmpp", [hears(rb"to='localhost'"), XMPP_STREAM + b"<stream:features/>"], "does not offer"),
]


def follow(script, then):
    """Return a server that plays `script`, then hands the socket to `then`."""

    def talk(plain):
        for step in script:
            if isinstance(step, bytes):
                plain.sendall(step)
                continue
            heard = b""
            while not step.search(heard):
                # One byte: what follows a command may be the first of the TLS handshake.
                piece = plain.recv(1)
                if not piece:
                    return
                heard += piece
        then(plain)

    return talk


def test_every_protocol_has_a_script():
    """A protocol added to the product is added here."""
    assert SCRIPTS.keys() == PROTOCOLS.keys()


@pytest.mark.parametrize("protocol", sorted(SCRIPTS))
def test_handshake_follows(cli, serve, shake, pki, protocol):
    """After the exchange comes a verified handshake."""
    port = serve(follow(SCRIPTS[protocol], shake()))
    finished = cli("connect", f"localhost:{port}", "--cafile", pki.ca, "--starttls", protocol)
    assert finished.returncode == 0, finished.stderr
    assert "verified" in finished.stdout


def test_ldap_answer_in_long_form(cli, serve, shake, pki):
    """Active Directory writes its lengths in four bytes."""
    port = serve(follow(LDAP_LONG_FORM, shake()))
    finished = cli("connect", f"localhost:{port}", "--cafile", pki.ca, "--starttls", "ldap")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("protocol, script, words", REFUSALS)
def test_refusal(cli, fails, serve, protocol, script, words):
    """A server that says no, or nonsense, is quoted in one line."""
    port = serve(follow(script, lambda plain: None))
    line = fails(cli("connect", f"localhost:{port}", "--starttls", protocol))
    assert words in line


def test_bytes_before_the_handshake_are_no_answer(cli, fails, serve, shake):
    """What is sent along with the consent, in plaintext, ends in an error (CVE-2011-0411)."""
    script = [*SMTP[:4], b"220 go ahead\r\n250 injected\r\n"]
    port = serve(follow(script, shake()))
    line = fails(cli("connect", f"localhost:{port}", "--insecure", "--starttls", "smtp"))
    assert "handshake failed" in line


def test_a_failed_verification_starts_over(cli, fails, serve, shake, pki):
    """The second connection, which shows the chain, asks for TLS in plaintext too."""
    port = serve(follow(SMTP, shake(pki.expired)))
    arguments = ["--cafile", pki.ca, "--starttls", "smtp"]
    finished = cli("connect", f"localhost:{port}", *arguments)
    assert "certificate has expired" in fails(finished)
    assert "certificate 0" in finished.stdout
