/* Whom a context trusts: CA certificates and CRLs from files, directories and memory. */
#include "internal.h"

#include <errno.h>
#include <openssl/pem.h>
#include <stdlib.h>

int
sb_ctx_load_verify(sb_ctx *ctx, const char *file, const char *dir, sb_error *err)
{
    int ok, status = SB_OK;

    sb_ctx_write_lock(ctx);
    ERR_clear_error();
    errno = 0;
    ok = SSL_CTX_load_verify_locations(ctx->ssl_ctx, file, dir);
    if (!ok)
        status = errno != 0 ? SB_FAIL_ERRNO(err, errno) : SB_FAIL_QUEUE(err);
    pthread_rwlock_unlock(&ctx->lock);
    return status;
}

int
sb_ctx_load_default_verify(sb_ctx *ctx, sb_error *err)
{
    int status = SB_OK;

    sb_ctx_write_lock(ctx);
    ERR_clear_error();
    if (!SSL_CTX_set_default_verify_paths(ctx->ssl_ctx))
        status = SB_FAIL_QUEUE(err);
    pthread_rwlock_unlock(&ctx->lock);
    ERR_clear_error(); /* missing default files are no failure, yet leave their errors */
    return status;
}

/* Is there another certificate in the text? Found by looking, not by an error code that could
 * mean a damaged one just as well. */
static int
more_pem(BIO *memory)
{
    static const char *const headings[] = {"-----BEGIN " PEM_STRING_X509 "-----",
                                           "-----BEGIN " PEM_STRING_X509_OLD "-----",
                                           "-----BEGIN " PEM_STRING_X509_TRUSTED "-----"};
    char *data = NULL;
    long len = BIO_get_mem_data(memory, &data), i;
    size_t k, size;

    for (i = 0; i < len; i++) {
        if (data[i] != '-')
            continue;
        for (k = 0; k < sizeof headings / sizeof headings[0]; k++) {
            size = strlen(headings[k]);
            if (size <= (size_t)(len - i) && memcmp(data + i, headings[k], size) == 0)
                return 1;
        }
    }
    return 0;
}

static int
add_certs(X509_STORE *store, BIO *memory, int pem, sb_error *err)
{
    int loaded = 0, ok;
    X509 *cert;

    for (;;) {
        cert = pem ? PEM_read_bio_X509(memory, NULL, NULL, NULL) : d2i_X509_bio(memory, NULL);
        if (cert == NULL)
            break;
        ok = X509_STORE_add_cert(store, cert); /* a duplicate is fine */
        X509_free(cert);
        if (!ok)
            return SB_FAIL_QUEUE(err);
        loaded++;
        if (pem ? !more_pem(memory) : BIO_pending(memory) == 0) {
            ERR_clear_error();
            return SB_OK;
        }
    }
    if (loaded == 0)
        return SB_FAIL(err, SB_BAD_ARG,
                       pem ? "no start line: cadata does not contain a certificate"
                           : "not enough data: cadata does not contain a certificate");
    return SB_FAIL_QUEUE(err);
}

int
sb_ctx_add_certs(sb_ctx *ctx, const char *data, size_t len, int pem, sb_error *err)
{
    BIO *memory;
    int status;

    ERR_clear_error();
    if (len > INT32_MAX)
        return SB_FAIL(err, SB_BAD_ARG, "Certificate data is too long.");
    if ((memory = BIO_new_mem_buf(data, (int)len)) == NULL)
        return SB_FAIL_QUEUE(err);
    sb_ctx_write_lock(ctx);
    status = add_certs(SSL_CTX_get_cert_store(ctx->ssl_ctx), memory, pem, err);
    pthread_rwlock_unlock(&ctx->lock);
    BIO_free(memory);
    return status;
}

/* ---------------------------------------------------------------- what is in the store */

void
sb_ctx_trust_stats(sb_ctx *ctx, int out[3])
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx->ssl_ctx);
    STACK_OF(X509_OBJECT) *objects;
    int i;

    out[0] = out[1] = out[2] = 0;
    X509_STORE_lock(store); /* a verification may be adding to it from a directory */
    objects = X509_STORE_get0_objects(store);
    for (i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        const X509_OBJECT *object = sk_X509_OBJECT_value(objects, i);

        if (X509_OBJECT_get_type(object) == X509_LU_X509) {
            out[0]++;
            out[2] += X509_check_ca((X509 *)X509_OBJECT_get0_X509(object)) != 0;
        } else if (X509_OBJECT_get_type(object) == X509_LU_CRL) {
            out[1]++;
        }
    }
    X509_STORE_unlock(store);
    ERR_clear_error();
}

int
sb_ctx_ca_certs(sb_ctx *ctx, sb_cert ***certs, size_t *n, sb_error *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx->ssl_ctx);
    STACK_OF(X509_OBJECT) *objects;
    STACK_OF(X509) *list = sk_X509_new_null();
    int i, ok = list != NULL, status;

    X509_STORE_lock(store);
    objects = X509_STORE_get0_objects(store);
    for (i = 0; ok && i < sk_X509_OBJECT_num(objects); i++) {
        X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

        if (cert != NULL && X509_check_ca(cert))
            ok = sk_X509_push(list, cert);
    }
    status = ok ? sb_cert_list(list, NULL, certs, n, err) : SB_FAIL(err, SB_NO_MEMORY, "no memory");
    X509_STORE_unlock(store);
    sk_X509_free(list);
    ERR_clear_error();
    return status;
}
