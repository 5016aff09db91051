/* Whom a context trusts: CA certificates and CRLs from files, directories and memory.
 *
 * Each context has a store of its own. The first set of anchors that it loads (anchors.c) is not
 * copied there: it is shared with other contexts, and never changes. When OpenSSL, verifying a
 * chain, asks the store for the certificates of a subject, those of the set are put in first; so
 * it finds what it would find had all been copied, in the same order, and before it turns to
 * directories. Whatever else is loaded, or found in a directory, goes into the context's store
 * only. The set is copied as a whole on the next change, or when somebody looks into the store.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---------------------------------------------------------------- the set that is shared */

static int store_index = -1; /* where a store keeps its context */

static void
take_store_index(void)
{
    store_index = X509_STORE_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static int
bring(const X509_STORE_CTX *looking, const X509_NAME *subject)
{
    X509_STORE *store = X509_STORE_CTX_get0_store(looking);
    sb_ctx *ctx = store != NULL ? X509_STORE_get_ex_data(store, store_index) : NULL;
    sb_anchors *anchors = ctx != NULL ? atomic_load(&ctx->anchors) : NULL;

    /* From 3.3 on OpenSSL does not always notice that it has a certificate already. */
    return anchors == NULL || atomic_load(&ctx->anchors_copied) ||
           sb_anchors_copy_subject(anchors, store, subject);
}

static STACK_OF(X509) *
on_lookup_certs(sb_looking_store_ctx *looking, const X509_NAME *subject)
{
    return bring(looking, subject) ? X509_STORE_CTX_get1_certs(looking, subject) : NULL;
}

static int
on_get_issuer(X509 **issuer, X509_STORE_CTX *looking, sb_verified_x509 *cert)
{
    if (!bring(looking, X509_get_issuer_name(cert)))
        return -1;
    return X509_STORE_CTX_get1_issuer(issuer, looking, cert);
}

/* A lack of memory must not make a chain a good one, but OpenSSL does not look everywhere. Just
 * before, it has copied what the connection asks of the chain: without the host name in it any name
 * would do. So that is done again. And a subjectAltName that it cannot read is none for it. */
static int
on_chain(X509_STORE_CTX *verifying, void *unused)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(verifying, SSL_get_ex_data_X509_STORE_CTX_idx());
    int done = X509_VERIFY_PARAM_set1(X509_STORE_CTX_get0_param(verifying), SSL_get0_param(ssl));

    (void)unused;
    if (done && X509_verify_cert(verifying) <= 0)
        return 0;
    if (done && !sb_memory_was_short())
        return 1;
    X509_STORE_CTX_set_error(verifying, X509_V_ERR_OUT_OF_MEM);
    return 0;
}

int
sb_ctx_init_trust(sb_ctx *ctx)
{
    SSL_CTX_set_cert_verify_callback(ctx->ssl_ctx, on_chain, NULL);
    return sb_chains_watch(SSL_CTX_get_cert_store(ctx->ssl_ctx));
}

static int
n_objects(X509_STORE *store)
{
    int n;

    X509_STORE_lock(store); /* a verification may be adding to it */
    n = sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
    X509_STORE_unlock(store);
    return n;
}

/* To be called with the lock held for writing, before anything else goes into the store. */
static int
copy_anchors(sb_ctx *ctx)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx->ssl_ctx);
    sb_anchors *anchors = atomic_load(&ctx->anchors);
    int was_used;

    if (anchors == NULL || atomic_load(&ctx->anchors_copied))
        return 1;
    was_used = n_objects(store) > 0;
    if (!sb_anchors_copy(anchors, store))
        return 0;
    if (was_used) { /* OpenSSL sorts what it looks into, so this shows in the order of listings */
        X509_STORE_lock(store);
        sk_X509_OBJECT_sort(X509_STORE_get0_objects(store));
        X509_STORE_unlock(store);
    }
    atomic_store(&ctx->anchors_copied, 1);
    return 1;
}

/* What a context without a set is spared. */
static int
share(sb_ctx *ctx, sb_anchors *anchors)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    X509_STORE *store = SSL_CTX_get_cert_store(ctx->ssl_ctx);

    pthread_once(&once, take_store_index);
    if (store_index < 0 || !X509_STORE_set_ex_data(store, store_index, ctx)) {
        sb_anchors_free(anchors);
        return 0;
    }
    X509_STORE_set_lookup_certs(store, on_lookup_certs);
    X509_STORE_set_get_issuer(store, on_get_issuer);
    atomic_store(&ctx->anchors, anchors);
    return 1;
}

/* Takes over the reference. */
static int
trust(sb_ctx *ctx, sb_anchors *anchors)
{
    sb_anchors *first = atomic_load(&ctx->anchors);
    int ok = 1;

    if (first == NULL && sb_anchors_n_crls(anchors) == 0)
        return share(ctx, anchors);
    if (anchors != first)
        ok = copy_anchors(ctx) && sb_anchors_copy(anchors, SSL_CTX_get_cert_store(ctx->ssl_ctx));
    sb_anchors_free(anchors);
    return ok;
}

/* ---------------------------------------------------------------- what is loaded */

/* What is no set, OpenSSL loads in its own way, and says what is wrong with it. */
static int
load_file(sb_ctx *ctx, const char *file, int defaults)
{
    sb_anchors *anchors = sb_anchors_of_file(file);

    sb_clear_queue();
    errno = 0;
    if (anchors != NULL)
        return trust(ctx, anchors);
    return copy_anchors(ctx) && (defaults ? SSL_CTX_set_default_verify_file(ctx->ssl_ctx)
                                          : SSL_CTX_load_verify_file(ctx->ssl_ctx, file));
}

int
sb_ctx_load_verify(sb_ctx *ctx, const char *file, const char *dir, sb_error *err)
{
    int ok, status = SB_OK;

    sb_ctx_write_lock(ctx);
    sb_clear_queue();
    errno = 0;
    ok = (file == NULL || load_file(ctx, file, 0)) &&
         (dir == NULL || SSL_CTX_load_verify_dir(ctx->ssl_ctx, dir));
    if (!ok)
        status = errno != 0 ? SB_FAIL_ERRNO(err, errno) : SB_FAIL_QUEUE(err);
    pthread_rwlock_unlock(&ctx->lock);
    return status;
}

/* Like OpenSSL, a program with the rights of another user does not ask the environment. */
static const char *
default_file(void)
{
    const char *file = OPENSSL_issetugid() ? NULL : getenv(X509_get_default_cert_file_env());

    return file != NULL ? file : X509_get_default_cert_file();
}

/* With the lock held for writing. That a directory cannot be opened is no failure. */
static void
open_default_store(sb_ctx *ctx)
{
    char *uri = atomic_exchange(&ctx->default_store, NULL);

    if (uri != NULL)
        (void)SSL_CTX_load_verify_store(ctx->ssl_ctx, uri);
    free(uri);
    sb_clear_queue();
}

void
sb_ctx_finish_trust(sb_ctx *ctx)
{
    if (atomic_load(&ctx->default_store) == NULL)
        return;
    sb_ctx_write_lock(ctx);
    open_default_store(ctx);
    pthread_rwlock_unlock(&ctx->lock);
}

/* OpenSSL 3.0 adds the default directory a second time, as a store, and opens it to see whether it
 * can: 80 us, two thirds of what a new context takes. A context that is never used is spared it. */
static int
add_default_store(sb_ctx *ctx)
{
    const char *uri = sb_default_store_uri();
    struct stat st;
    char *copy;

    open_default_store(ctx);
    if (uri == NULL || stat(uri, &st) != 0 || !S_ISDIR(st.st_mode))
        return SSL_CTX_set_default_verify_store(ctx->ssl_ctx);
    if ((copy = strdup(uri)) == NULL)
        return 0;
    atomic_store(&ctx->default_store, copy);
    return 1;
}

int
sb_ctx_load_default_verify(sb_ctx *ctx, sb_error *err)
{
    int status = SB_OK;

    sb_ctx_write_lock(ctx);
    sb_clear_queue();
    if (!load_file(ctx, default_file(), 1) || !SSL_CTX_set_default_verify_dir(ctx->ssl_ctx) ||
        !add_default_store(ctx))
        status = SB_FAIL_QUEUE(err);
    pthread_rwlock_unlock(&ctx->lock);
    sb_clear_queue(); /* missing default files are no failure, yet leave their errors */
    return status;
}

static int
add_certs(sb_ctx *ctx, const char *data, size_t len, int pem, sb_error *err)
{
    int understood;
    sb_anchors *anchors =
        sb_anchors_of_text(pem ? SB_TEXT_PEM : SB_TEXT_DER, data, len, &understood);
    int n = anchors != NULL ? sb_anchors_n_certs(anchors) : 0;

    if (!understood && anchors != NULL && n == 0) {
        sb_anchors_free(anchors);
        return SB_FAIL(err, SB_BAD_ARG,
                       pem ? "no start line: cadata does not contain a certificate"
                           : "not enough data: cadata does not contain a certificate");
    }
    if (!understood) /* before anything can disturb it */
        SB_FAIL_QUEUE(err);
    if (anchors == NULL || !trust(ctx, anchors))
        return SB_FAIL(err, SB_NO_MEMORY, "no memory");
    return understood ? SB_OK : SB_FAILED;
}

int
sb_ctx_add_certs(sb_ctx *ctx, const char *data, size_t len, int pem, sb_error *err)
{
    int status;

    if (len > INT32_MAX)
        return SB_FAIL(err, SB_BAD_ARG, "Certificate data is too long.");
    sb_ctx_write_lock(ctx);
    sb_clear_queue();
    status = add_certs(ctx, data, len, pem, err);
    sb_clear_queue();
    pthread_rwlock_unlock(&ctx->lock);
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
    sb_ctx_write_lock(ctx);
    copy_anchors(ctx);
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
    pthread_rwlock_unlock(&ctx->lock);
    sb_clear_queue();
}

int
sb_ctx_ca_certs(sb_ctx *ctx, sb_cert ***certs, size_t *n, sb_error *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx->ssl_ctx);
    STACK_OF(X509_OBJECT) *objects;
    STACK_OF(X509) *list = sk_X509_new_null();
    int i, ok, status;

    sb_ctx_write_lock(ctx);
    ok = list != NULL && copy_anchors(ctx);
    X509_STORE_lock(store);
    objects = X509_STORE_get0_objects(store);
    for (i = 0; ok && i < sk_X509_OBJECT_num(objects); i++) {
        X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

        if (cert != NULL && X509_check_ca(cert))
            ok = sk_X509_push(list, cert);
    }
    status = ok ? sb_cert_list(list, NULL, certs, n, err) : SB_FAIL(err, SB_NO_MEMORY, "no memory");
    X509_STORE_unlock(store);
    pthread_rwlock_unlock(&ctx->lock);
    sk_X509_free(list);
    sb_clear_queue();
    return status;
}
