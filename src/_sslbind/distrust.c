/* Keys that have got into wrong hands: a chain that has one is refused, whoever vouches for it.
 *
 * To take trust away is up to whoever keeps the trust store of the platform. Until that has arrived
 * everywhere, CPython refuses a few keys itself (from 3.14.10 and 3.15.2 on), and so do we, on
 * every Python. Keys, not certificates, because others may certify them again.
 */
#include "internal.h"

enum { DIGEST_LEN = 32 };

/* SHA-256 of the SubjectPublicKeyInfo (RFC 5280 4.1.2.7). */
static const char *const distrusted[] = {
    /* Compromised intermediate CAs of eMudhra, EM OV TLS CA - G3C and others: cpython#160040. */
    "43BFFA19D6EF651451F6841E019931E96F6F2EAEFF28AB4B6F1CE4576DE2717B",
    "49DD353DC2B919A3770645117D0E60C16115E7D1BC259EEFE734B00EA434FE5F",
    "5C0660A2B164910D8FF589C18E14552E9E0EC237DCEFE2CB736D41A4811F81A0",
    "63ECEFEE431D49523BC1136C4E72D0206A477086CAF606CD5CF025686C109CF8",
    "92C063D67E8F14DB71D288E11266FFDAF69CBF115F7BAB14F3BC2F68D25E0E30",
    "E0254C7FCDC265E2F0F8A428DABB75AB4AE039B4872D62F5EE57F0877D5A8A41",
    "EBED6475C2C2D80FCB199F3FE8DD6E6B3CE60B77EB15D4E42C3DEC0C6F5B5105",
    "EC4FFA1AD0AC88081314B7AAFFEF6A91F97CD57291BB5BA686C5415F5EB4F6B6",
};

static int
is_distrusted(const char *digest)
{
    size_t i;

    for (i = 0; i < sizeof distrusted / sizeof *distrusted; i++)
        if (strcmp(distrusted[i], digest) == 0)
            return 1;
    return 0;
}

static int
check_key(const X509 *cert)
{
    unsigned char digest[DIGEST_LEN], *der = NULL;
    char text[2 * DIGEST_LEN + 1];
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    int done = len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL) &&
               OPENSSL_buf2hexstr_ex(text, sizeof text, NULL, digest, DIGEST_LEN, '\0');

    OPENSSL_free(der);
    if (!done)
        return X509_V_ERR_OUT_OF_MEM;
    return is_distrusted(text) ? X509_V_ERR_CERT_REJECTED : X509_V_OK;
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
