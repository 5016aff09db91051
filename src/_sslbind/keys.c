/* Certificate chains with their private keys, Diffie-Hellman parameters, curves. */
#include "internal.h"

#include <errno.h>
#include <openssl/objects.h>
#include <openssl/pem.h>

/* A failure of a function that reads a file: the system's error, where there was one. */
static int
fail_reading(sb_error *err, int line)
{
    if (errno != 0)
        return sb_take_errno(err, errno, line);
    return sb_take_queue(err, line);
}

/* Load into a context of its own, as strict as the real one, for the errors that OpenSSL's own
 * functions give; only a pair that fits is then installed. */
static int
load_apart(SSL_CTX *apart, const char *cert_file, const char *key_file, sb_error *err)
{
    int status;

    errno = 0;
    if (SSL_CTX_use_certificate_chain_file(apart, cert_file) != 1)
        return fail_reading(err, __LINE__);
    errno = 0;
    if (SSL_CTX_use_PrivateKey_file(apart, key_file, SSL_FILETYPE_PEM) != 1) {
        status = fail_reading(err, __LINE__);
        err->of_key = 1;
        return status;
    }
    if (SSL_CTX_check_private_key(apart) != 1)
        return SB_FAIL_QUEUE(err);
    return SB_OK;
}

static int
install(sb_ctx *ctx, SSL_CTX *apart, sb_error *err)
{
    STACK_OF(X509) *chain = NULL;
    int status = SB_OK;

    sb_ctx_write_lock(ctx);
    sb_clear_queue();
    if (!SSL_CTX_get0_chain_certs(apart, &chain) ||
        SSL_CTX_use_cert_and_key(ctx->ssl_ctx, SSL_CTX_get0_certificate(apart),
                                 SSL_CTX_get0_privatekey(apart), chain, 1) != 1)
        status = SB_FAIL_QUEUE(err);
    pthread_rwlock_unlock(&ctx->lock);
    return status;
}

int
sb_ctx_load_cert_chain(sb_ctx *ctx, const char *cert_file, const char *key_file, void *password,
                       sb_error *err)
{
    SSL_CTX *apart;
    int status;

    sb_clear_queue();
    if ((apart = SSL_CTX_new(TLS_method())) == NULL)
        return SB_FAIL_QUEUE(err);
    SSL_CTX_set_security_level(apart, SSL_CTX_get_security_level(ctx->ssl_ctx));
    if (password != NULL) {
        SSL_CTX_set_default_passwd_cb(apart, sb_on_password);
        SSL_CTX_set_default_passwd_cb_userdata(apart, password);
    }
    status = load_apart(apart, cert_file, key_file != NULL ? key_file : cert_file, err);
    if (status == SB_OK)
        status = install(ctx, apart, err);
    SSL_CTX_free(apart);
    return status;
}

/* PKCS #3 parameters, or X9.42 ones under a heading of their own. */
static EVP_PKEY *
read_dh(const char *pem, size_t len)
{
    BIO *memory = BIO_new_mem_buf(pem, len <= INT32_MAX ? (int)len : INT32_MAX);
    EVP_PKEY *key = NULL;
    char *name = NULL;
    unsigned char *der = NULL;
    const unsigned char *cursor;
    long der_len = 0;

    if (memory != NULL &&
        PEM_bytes_read_bio(&der, &der_len, &name, PEM_STRING_DHPARAMS, memory, NULL, NULL)) {
        cursor = der;
        key = d2i_KeyParams(strcmp(name, PEM_STRING_DHXPARAMS) == 0 ? EVP_PKEY_DHX : EVP_PKEY_DH,
                            NULL, &cursor, der_len);
    }
    OPENSSL_free(name);
    OPENSSL_free(der);
    BIO_free(memory);
    return key;
}

int
sb_ctx_load_dh_params(sb_ctx *ctx, const char *pem, size_t len, sb_error *err)
{
    EVP_PKEY *key;
    int status = SB_OK;

    sb_clear_queue();
    if ((key = read_dh(pem, len)) == NULL)
        return SB_FAIL_QUEUE(err);
    sb_ctx_write_lock(ctx);
    if (!SSL_CTX_set0_tmp_dh_pkey(ctx->ssl_ctx, key)) {
        status = SB_FAIL_QUEUE(err);
        EVP_PKEY_free(key);
    }
    pthread_rwlock_unlock(&ctx->lock);
    return status;
}

int
sb_ctx_set_ecdh_curve(sb_ctx *ctx, const char *name, sb_error *err)
{
    int nid = OBJ_sn2nid(name);
    int status = SB_OK;

    if (nid == NID_undef)
        return SB_FAIL(err, SB_BAD_ARG, "unknown elliptic curve name");
    sb_ctx_write_lock(ctx);
    sb_clear_queue();
    if (!SSL_CTX_set1_groups(ctx->ssl_ctx, &nid, 1))
        status = SB_FAIL_QUEUE(err);
    pthread_rwlock_unlock(&ctx->lock);
    return status;
}
