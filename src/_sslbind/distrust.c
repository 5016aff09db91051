/* Keys that have got into wrong hands: a chain that has one is refused, whoever vouches for it.
 *
 * To take trust away is up to whoever keeps the trust store of the platform. Until that has arrived
 * everywhere, CPython refuses a few keys itself (from 3.14.10 and 3.15.2 on), and so do we, on
 * every Python: distrusted.txt has them. Keys, not certificates, because others may certify them
 * again.
 */
#include "internal.h"

enum { DIGEST_LEN = 32 };

static int
is_distrusted(const unsigned char digest[DIGEST_LEN])
{
    size_t i;

    for (i = 0; i < sb_n_distrusted; i++)
        if (memcmp(sb_distrusted[i], digest, DIGEST_LEN) == 0)
            return 1;
    return 0;
}

static int
check_key(const X509 *cert)
{
    unsigned char digest[DIGEST_LEN], *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    int done = len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL);

    OPENSSL_free(der);
    if (!done)
        return X509_V_ERR_OUT_OF_MEM;
    return is_distrusted(digest) ? X509_V_ERR_CERT_REJECTED : X509_V_OK;
}

int
sb_check_keys(STACK_OF(X509) *chain, int *depth)
{
    int error = X509_V_OK;

    for (*depth = 0; *depth < sk_X509_num(chain); ++*depth)
        if ((error = check_key(sk_X509_value(chain, *depth))) != X509_V_OK)
            break;
    return error;
}
