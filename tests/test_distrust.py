"""A chain with a key of the list in it is refused, wherever that key is: distrust.c.

Nobody here has the private keys of that list. So a function that stands before OpenSSL's own says
that one of our keys has a digest that is listed.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from scripts import needs_preload, preload, run_script

SOURCE = Path(__file__).resolve().parent.parent / "src" / "_sslbind" / "distrust.c"
LISTED = [digest.lower() for digest in re.findall('"([0-9A-F]{64})"', SOURCE.read_text())]
REJECTED, OUT_OF_MEMORY = 28, 17  # X509_V_ERR_CERT_REJECTED, X509_V_ERR_OUT_OF_MEM

DIGESTS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <string.h>

typedef int digest_fn(const void *, size_t, unsigned char *, unsigned int *, const void *, void *);

static unsigned char ours[32], shown[32];
static int fails;

void
show(const char *own, const char *instead, int fail)
{
    memcpy(ours, own, sizeof ours);
    memcpy(shown, instead, sizeof shown);
    fails = fail;
}

static int
find(struct dl_phdr_info *info, size_t size, void *found)
{
    if (strstr(info->dlpi_name, "/libcrypto.so") != NULL)
        *(void **)found = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
    return *(void **)found != NULL;
}

int
EVP_Digest(const void *data, size_t len, unsigned char *digest, unsigned int *size,
           const void *type, void *engine)
{
    static digest_fn *real;
    void *library = NULL;

    if (real == NULL) {
        dl_iterate_phdr(find, &library);
        real = (digest_fn *)dlsym(library, "EVP_Digest");
    }
    if (!real(data, len, digest, size, type, engine))
        return 0;
    if (memcmp(digest, ours, sizeof ours) != 0)
        return 1;
    memcpy(digest, shown, sizeof shown);
    return !fails;
}
"""

HANDSHAKES = """
import ctypes, sys
import sslbind
from links import memory_pair, shake_memory
from sslbind._ffi import lib

digests, ca, chain = ctypes.CDLL(sys.argv[1]), sys.argv[2], sys.argv[3]
own, *listed = (bytes.fromhex(digest) for digest in sys.argv[4:])
verified = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
verified.load_verify_locations(ca)
trusting = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
trusting.check_hostname = False
trusting.verify_mode = sslbind.CERT_NONE
trusting.load_cert_chain(chain)
server = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
server.load_cert_chain(chain)
strict = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
strict.load_cert_chain(chain)
strict.load_verify_locations(ca)
strict.verify_mode = sslbind.CERT_REQUIRED

def verdict(client, server):
    try:
        shake_memory(*memory_pair(client, server, "localhost", sslbind, sslbind))
    except sslbind.SSLCertVerificationError as exc:
        return exc.verify_code
    return 0

def verdicts():
    lib.sb_forget_chains()
    return [verdict(*ends) for ends in 2 * [(verified, server), (trusting, strict)]]

print(verdicts() + [verdict(trusting, server)])
for digest in listed:
    digests.show(own, digest, 0)
    print(verdicts() + [verdict(trusting, server)])
digests.show(own, listed[0][:-1] + b"?", 0)
print(verdicts())
digests.show(own, own, 1)
print(verdicts())
"""


def key_digest(cert: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate's SubjectPublicKeyInfo."""
    key = cert.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


@needs_preload
@pytest.mark.parametrize("where", (0, 1, 2), ids=("leaf", "intermediate", "root"))
def test_distrusted(where, pki, tmp_path, monkeypatch):
    """Both ends refuse each key of the list, again and again; nobody who verifies nothing does.

    A key whose digest cannot be had is refused, too.
    """
    pems = Path(pki.through.both).read_bytes() + Path(pki.ca).read_bytes()
    chain = re.findall(b"-----BEGIN CERT.*?-----END CERT[^\\n]*", pems, re.DOTALL)
    assert len(chain) == 3
    own = key_digest(x509.load_pem_x509_certificate(chain[where]))
    digests = preload(DIGESTS, tmp_path, monkeypatch)
    told = run_script(HANDSHAKES, digests, pki.ca, pki.through.both, own, *LISTED).splitlines()
    assert told == [
        str([0] * 5),
        *[str([REJECTED] * 4 + [0])] * len(LISTED),
        str([0] * 4),
        str([OUT_OF_MEMORY] * 4),
    ]


def test_the_list():
    """The digest of a key that is known to be there; none twice, none overlooked."""
    assert len(LISTED) == SOURCE.read_text().count(',\n    "') + 1
    assert len(set(LISTED)) == len(LISTED) >= 8
    # "EM OV TLS CA - G3C", of CPython's own test.
    assert "63ecefee431d49523bc1136c4e72d0206a477086caf606cd5cf025686c109cf8" in LISTED
