/* Contexts: made, counted, and the settings that are neither keys nor trust. */
#include "internal.h"

#include <openssl/objects.h>
#include <stdlib.h>
#include <unistd.h>

/* CPython's numbers of PROTOCOL_*. */
enum {
    PROTOCOL_SSLV3 = 1,
    PROTOCOL_TLS = 2,
    PROTOCOL_TLSV1 = 3,
    PROTOCOL_TLSV1_1 = 4,
    PROTOCOL_TLSV1_2 = 5,
    PROTOCOL_TLS_CLIENT = 16,
    PROTOCOL_TLS_SERVER = 17
};

static int
fixed_version(int protocol)
{
    switch (protocol) {
    case PROTOCOL_SSLV3:
        return SB_HAVE_SSL3 ? SSL3_VERSION : -1;
    case PROTOCOL_TLSV1:
        return SB_HAVE_TLS1 ? TLS1_VERSION : -1;
    case PROTOCOL_TLSV1_1:
        return SB_HAVE_TLS1_1 ? TLS1_1_VERSION : -1;
    case PROTOCOL_TLSV1_2:
        return SB_HAVE_TLS1_2 ? TLS1_2_VERSION : -1;
    case PROTOCOL_TLS:
    case PROTOCOL_TLS_CLIENT:
    case PROTOCOL_TLS_SERVER:
        return 0;
    default:
        return -1;
    }
}

static SSL_CTX *
make_ssl_ctx(int protocol, int version, int min_version)
{
    const SSL_METHOD *method = version != 0 ? sb_fixed_method(version) : NULL;
    int limited = version != 0 && method == NULL;
    SSL_CTX *ssl_ctx;

    if (method == NULL)
        method = protocol == PROTOCOL_TLS_CLIENT   ? TLS_client_method()
                 : protocol == PROTOCOL_TLS_SERVER ? TLS_server_method()
                                                   : TLS_method();
    if ((ssl_ctx = SSL_CTX_new(method)) == NULL)
        return NULL;
    if (limited ? !SSL_CTX_set_min_proto_version(ssl_ctx, version) ||
                      !SSL_CTX_set_max_proto_version(ssl_ctx, version)
                : version == 0 && min_version != 0 &&
                      !SSL_CTX_set_min_proto_version(ssl_ctx, min_version)) {
        SSL_CTX_free(ssl_ctx);
        return NULL;
    }
    return ssl_ctx;
}

/* What stdlib sets on every context. */
static int
apply_defaults(sb_ctx *ctx, const char *ciphers)
{
    SSL_CTX *ssl_ctx = ctx->ssl_ctx;
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ssl_ctx);
    uint64_t options = SSL_OP_ALL & ~(uint64_t)SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS;

    options |= SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_SINGLE_DH_USE |
               SSL_OP_SINGLE_ECDH_USE | SSL_OP_ENABLE_MIDDLEBOX_COMPAT;
    if (ctx->protocol != PROTOCOL_SSLV3)
        options |= SSL_OP_NO_SSLv3;
    SSL_CTX_set_options(ssl_ctx, options);
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ssl_ctx, 1); /* no further than a record's end: see io.c */
    ctx->check_hostname = ctx->protocol == PROTOCOL_TLS_CLIENT;
    SSL_CTX_set_verify(ssl_ctx,
                       ctx->check_hostname ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                           : SSL_VERIFY_NONE,
                       NULL);
    ctx->host_flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_TRUSTED_FIRST);
    X509_VERIFY_PARAM_set_hostflags(param, ctx->host_flags);
    return (ciphers == NULL || SSL_CTX_set_cipher_list(ssl_ctx, ciphers)) && sb_ctx_init_trust(ctx);
}

/* Handshakes follow one another without a gap on a busy server: a change must not starve. */
static int
init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;
    int failed;

    if (pthread_rwlockattr_init(&attr) != 0)
        return 0;
#ifdef __GLIBC__
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    failed = pthread_rwlock_init(lock, &attr) != 0;
    pthread_rwlockattr_destroy(&attr);
    return !failed;
}

static void
renew_lock(sb_ctx *ctx)
{
    if (sb_generation_changed(&ctx->generation)) {
        init_lock(&ctx->lock);
        sb_generation_done(&ctx->generation);
    }
}

void
sb_ctx_read_lock(sb_ctx *ctx)
{
    renew_lock(ctx);
    pthread_rwlock_rdlock(&ctx->lock);
}

void
sb_ctx_write_lock(sb_ctx *ctx)
{
    renew_lock(ctx);
    pthread_rwlock_wrlock(&ctx->lock);
}

sb_ctx *
sb_ctx_new(int protocol, const char *ciphers, int min_version, sb_error *err)
{
    int version = fixed_version(protocol);
    sb_error ignored;
    sb_ctx *ctx;

    if (err == NULL)
        err = &ignored; /* and for an error alone the queue must be empty */
    else
        sb_clear_queue();
    if (version < 0) {
        err->status = SB_FAIL(err, SB_BAD_ARG, "invalid or unsupported protocol version");
        return NULL;
    }
    if ((ctx = calloc(1, sizeof *ctx)) == NULL || !init_lock(&ctx->lock)) {
        free(ctx);
        err->status = SB_FAIL(err, SB_NO_MEMORY, "no memory");
        return NULL;
    }
    atomic_init(&ctx->refs, 1);
    atomic_init(&ctx->generation, sb_generation());
    atomic_init(&ctx->anchors, NULL);
    atomic_init(&ctx->anchors_copied, 0);
    atomic_init(&ctx->default_store, NULL);
    ctx->protocol = protocol;
    ctx->keylog_fd = -1;
    ctx->ssl_ctx = make_ssl_ctx(protocol, version, min_version);
    if (ctx->ssl_ctx == NULL || !apply_defaults(ctx, ciphers)) {
        err->status = SB_FAIL_QUEUE(err);
        sb_ctx_free(ctx);
        return NULL;
    }
    return ctx;
}

void
sb_ctx_up_ref(sb_ctx *ctx)
{
    atomic_fetch_add(&ctx->refs, 1);
}

void
sb_ctx_free(sb_ctx *ctx)
{
    if (ctx == NULL || atomic_fetch_sub(&ctx->refs, 1) > 1)
        return;
    SSL_CTX_free(ctx->ssl_ctx);
    sb_anchors_free(atomic_load(&ctx->anchors));
    free(atomic_load(&ctx->default_store));
    if (ctx->keylog_fd >= 0)
        close(ctx->keylog_fd);
    pthread_rwlock_destroy(&ctx->lock);
    free(ctx->alpn);
    free(ctx->npn);
    free(ctx);
}

/* Every change of a context runs between these two, so that no connection is made half-way. */
static SSL_CTX *
lock(sb_ctx *ctx)
{
    sb_ctx_write_lock(ctx);
    sb_clear_queue();
    return ctx->ssl_ctx;
}

static SSL_CTX *
read_lock(sb_ctx *ctx)
{
    sb_ctx_read_lock(ctx);
    return ctx->ssl_ctx;
}

static int
unlock(sb_ctx *ctx, int ok, sb_error *err)
{
    int status = ok ? SB_OK : SB_FAIL_QUEUE(err);

    pthread_rwlock_unlock(&ctx->lock);
    return status;
}

/* ---------------------------------------------------------------- plain settings */

unsigned long long
sb_ctx_options(sb_ctx *ctx)
{
    unsigned long long options = SSL_CTX_get_options(read_lock(ctx));

    pthread_rwlock_unlock(&ctx->lock);
    return options;
}

void
sb_ctx_set_options(sb_ctx *ctx, unsigned long long options)
{
    SSL_CTX *ssl_ctx = lock(ctx);
    uint64_t now = SSL_CTX_get_options(ssl_ctx);

    SSL_CTX_clear_options(ssl_ctx, now & ~(uint64_t)options);
    SSL_CTX_set_options(ssl_ctx, ~now & (uint64_t)options);
    unlock(ctx, 1, NULL);
}

int
sb_ctx_verify_mode(sb_ctx *ctx)
{
    int mode = SSL_CTX_get_verify_mode(read_lock(ctx));

    pthread_rwlock_unlock(&ctx->lock);
    if (!(mode & SSL_VERIFY_PEER))
        return 0;
    return mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT ? 2 : 1;
}

void
sb_ctx_set_verify_mode(sb_ctx *ctx, int mode)
{
    static const int modes[] = {SSL_VERIFY_NONE, SSL_VERIFY_PEER,
                                SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};

    SSL_CTX_set_verify(lock(ctx), modes[mode < 0 || mode > 2 ? 2 : mode], NULL);
    unlock(ctx, 1, NULL);
}

unsigned long
sb_ctx_verify_flags(sb_ctx *ctx)
{
    unsigned long flags = X509_VERIFY_PARAM_get_flags(SSL_CTX_get0_param(read_lock(ctx)));

    pthread_rwlock_unlock(&ctx->lock);
    return flags;
}

int
sb_ctx_set_verify_flags(sb_ctx *ctx, unsigned long flags, sb_error *err)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(lock(ctx));
    unsigned long now = X509_VERIFY_PARAM_get_flags(param);
    unsigned long clear = now & ~flags, set = ~now & flags;
    int ok = (clear == 0 || X509_VERIFY_PARAM_clear_flags(param, clear)) &&
             (set == 0 || X509_VERIFY_PARAM_set_flags(param, set));

    return unlock(ctx, ok, err);
}

void
sb_ctx_set_host_flags(sb_ctx *ctx, unsigned int flags)
{
    X509_VERIFY_PARAM_set_hostflags(SSL_CTX_get0_param(lock(ctx)), flags);
    ctx->host_flags = flags;
    unlock(ctx, 1, NULL);
}

void
sb_ctx_set_check_hostname(sb_ctx *ctx, int on)
{
    lock(ctx);
    ctx->check_hostname = on;
    unlock(ctx, 1, NULL);
}

int
sb_ctx_version_limit(sb_ctx *ctx, int upper)
{
    SSL_CTX *ssl_ctx = read_lock(ctx);
    long version =
        upper ? SSL_CTX_get_max_proto_version(ssl_ctx) : SSL_CTX_get_min_proto_version(ssl_ctx);

    pthread_rwlock_unlock(&ctx->lock);
    return (int)version;
}

int
sb_ctx_set_version_limit(sb_ctx *ctx, int upper, int version, sb_error *err)
{
    SSL_CTX *ssl_ctx = lock(ctx);
    int ok = (int)(upper ? SSL_CTX_set_max_proto_version(ssl_ctx, version)
                         : SSL_CTX_set_min_proto_version(ssl_ctx, version));

    return unlock(ctx, ok, err);
}

int
sb_ctx_security_level(sb_ctx *ctx)
{
    return SSL_CTX_get_security_level(ctx->ssl_ctx);
}

size_t
sb_ctx_num_tickets(sb_ctx *ctx)
{
    size_t n = SSL_CTX_get_num_tickets(read_lock(ctx));

    pthread_rwlock_unlock(&ctx->lock);
    return n;
}

int
sb_ctx_set_num_tickets(sb_ctx *ctx, size_t n, sb_error *err)
{
    return unlock(ctx, SSL_CTX_set_num_tickets(lock(ctx), n), err);
}

void
sb_ctx_set_post_handshake_auth(sb_ctx *ctx, int on)
{
    /* Applied to each connection as it is made: see conn.c. */
    lock(ctx);
    ctx->post_handshake_auth = on;
    unlock(ctx, 1, NULL);
}

/* ---------------------------------------------------------------- algorithms */

int
sb_ctx_set_ciphers(sb_ctx *ctx, const char *list, sb_error *err)
{
    return unlock(ctx, SSL_CTX_set_cipher_list(lock(ctx), list), err);
}

int
sb_ctx_set_ciphersuites(sb_ctx *ctx, const char *list, sb_error *err)
{
    return unlock(ctx, SSL_CTX_set_ciphersuites(lock(ctx), list), err);
}

int
sb_ctx_set_groups(sb_ctx *ctx, const char *list, sb_error *err)
{
    return unlock(ctx, (int)SSL_CTX_set1_groups_list(lock(ctx), list), err);
}

int
sb_ctx_set_client_sigalgs(sb_ctx *ctx, const char *list, sb_error *err)
{
    return unlock(ctx, (int)SSL_CTX_set1_client_sigalgs_list(lock(ctx), list), err);
}

int
sb_ctx_set_server_sigalgs(sb_ctx *ctx, const char *list, sb_error *err)
{
    return unlock(ctx, (int)SSL_CTX_set1_sigalgs_list(lock(ctx), list), err);
}

int
sb_ctx_groups(sb_ctx *ctx, int aliases, sb_block *out, sb_error *err)
{
#if SB_HAVE_IMPLEMENTED_GROUPS
    SSL_CTX *ssl_ctx = lock(ctx);
    STACK_OF(OPENSSL_CSTRING) *names = sk_OPENSSL_CSTRING_new_null();
    int i, ok = names != NULL && SSL_CTX_get0_implemented_groups(ssl_ctx, aliases, names);

    sb_block_init(out);
    for (i = 0; ok && i < sk_OPENSSL_CSTRING_num(names); i++)
        sb_block_add_text(out, sk_OPENSSL_CSTRING_value(names, i));
    sk_OPENSSL_CSTRING_free(names);
    if (unlock(ctx, ok, err) != SB_OK)
        return SB_FAILED;
    return sb_block_status(out, err);
#else
    (void)ctx;
    (void)aliases;
    sb_block_init(out);
    return SB_FAIL(err, SB_UNSUPPORTED, "get_groups() needs OpenSSL 3.5 or newer");
#endif
}

static const char *
name_or_empty(int nid)
{
    const char *name = nid != NID_undef ? OBJ_nid2ln(nid) : NULL;

    return name != NULL ? name : "";
}

static void
add_cipher(const SSL_CIPHER *cipher, sb_block *out)
{
    char description[512];
    int bits, alg_bits;

    bits = SSL_CIPHER_get_bits(cipher, &alg_bits);
    if (SSL_CIPHER_description(cipher, description, sizeof description) == NULL)
        description[0] = '\0';
    description[strcspn(description, "\n")] = '\0';
    sb_block_add_number(out, SSL_CIPHER_get_id(cipher));
    sb_block_add_text(out, SSL_CIPHER_get_name(cipher));
    sb_block_add_text(out, SSL_CIPHER_get_version(cipher));
    sb_block_add_text(out, description);
    sb_block_add_number(out, bits);
    sb_block_add_number(out, alg_bits);
    sb_block_add_number(out, SSL_CIPHER_is_aead(cipher));
    sb_block_add_text(out, name_or_empty(SSL_CIPHER_get_cipher_nid(cipher)));
    sb_block_add_text(out, name_or_empty(SSL_CIPHER_get_digest_nid(cipher)));
    sb_block_add_text(out, name_or_empty(SSL_CIPHER_get_kx_nid(cipher)));
    sb_block_add_text(out, name_or_empty(SSL_CIPHER_get_auth_nid(cipher)));
}

int
sb_ctx_ciphers(sb_ctx *ctx, sb_block *out, sb_error *err)
{
    SSL_CTX *ssl_ctx = lock(ctx);
    SSL *ssl = SSL_new(ssl_ctx); /* only a connection knows what its version limits leave */
    STACK_OF(SSL_CIPHER) *list = ssl != NULL ? SSL_get_ciphers(ssl) : NULL;
    int i;

    sb_block_init(out);
    for (i = 0; list != NULL && i < sk_SSL_CIPHER_num(list); i++)
        add_cipher(sk_SSL_CIPHER_value(list, i), out);
    SSL_free(ssl);
    if (unlock(ctx, ssl != NULL, err) != SB_OK)
        return SB_FAILED;
    return sb_block_status(out, err);
}

/* ---------------------------------------------------------------- protocol negotiation */

static int
replace(unsigned char **slot, size_t *slot_len, const char *protos, size_t len)
{
    unsigned char *copy = malloc(len + 1);

    if (copy == NULL)
        return 0;
    memcpy(copy, protos, len);
    free(*slot);
    *slot = copy;
    *slot_len = len;
    return 1;
}

int
sb_ctx_set_alpn(sb_ctx *ctx, const char *protos, size_t len, sb_error *err)
{
    SSL_CTX *ssl_ctx = lock(ctx);
    /* This one returns 0 for success, and refuses lists that are not well formed. */
    int ok =
        SSL_CTX_set_alpn_protos(ssl_ctx, (const unsigned char *)protos, (unsigned int)len) == 0 &&
        replace(&ctx->alpn, &ctx->alpn_len, protos, len);

    if (ok)
        SSL_CTX_set_alpn_select_cb(ssl_ctx, sb_on_alpn, ctx);
    return unlock(ctx, ok, err);
}

int
sb_ctx_set_npn(sb_ctx *ctx, const char *protos, size_t len, sb_error *err)
{
#if SB_HAVE_NPN
    SSL_CTX *ssl_ctx = lock(ctx);
    int ok = replace(&ctx->npn, &ctx->npn_len, protos, len);

    if (ok) {
        SSL_CTX_set_next_protos_advertised_cb(ssl_ctx, sb_on_npn_advertise, ctx);
        SSL_CTX_set_next_proto_select_cb(ssl_ctx, sb_on_npn_select, ctx);
    }
    return unlock(ctx, ok, err);
#else
    (void)ctx;
    (void)protos;
    (void)len;
    return SB_FAIL(err, SB_UNSUPPORTED, "NPN needs an OpenSSL that was built with it");
#endif
}

/* ---------------------------------------------------------------- hooks */

void
sb_ctx_set_sni(sb_ctx *ctx, int on)
{
    SSL_CTX *ssl_ctx = lock(ctx);

    /* The macro casts the function's type away with a name, not with an expression. */
    if (on)
        SSL_CTX_set_tlsext_servername_callback(ssl_ctx, sb_on_sni);
    else
        SSL_CTX_set_tlsext_servername_callback(ssl_ctx, NULL);
    unlock(ctx, 1, NULL);
}

void
sb_ctx_set_message(sb_ctx *ctx, int on)
{
    SSL_CTX *ssl_ctx = lock(ctx);

    ctx->message = on;
    SSL_CTX_set_msg_callback(ssl_ctx, on ? sb_on_message : NULL);
    unlock(ctx, 1, NULL);
}

int
sb_ctx_set_psk_client(sb_ctx *ctx, int on, sb_error *err)
{
#if SB_HAVE_PSK
    SSL_CTX_set_psk_client_callback(lock(ctx), on ? sb_on_psk_client : NULL);
    return unlock(ctx, 1, err);
#else
    (void)ctx;
    (void)on;
    return SB_FAIL(err, SB_UNSUPPORTED, "PSK needs an OpenSSL that was built with it");
#endif
}

int
sb_ctx_set_psk_server(sb_ctx *ctx, int on, const char *hint, sb_error *err)
{
#if SB_HAVE_PSK
    SSL_CTX *ssl_ctx = lock(ctx);
    int ok = SSL_CTX_use_psk_identity_hint(ssl_ctx, on ? hint : NULL);

    if (ok)
        SSL_CTX_set_psk_server_callback(ssl_ctx, on ? sb_on_psk_server : NULL);
    return unlock(ctx, ok, err);
#else
    (void)ctx;
    (void)on;
    (void)hint;
    return SB_FAIL(err, SB_UNSUPPORTED, "PSK needs an OpenSSL that was built with it");
#endif
}

/* A connection may be logging just now: the descriptor stays, only its file is replaced, and the
 * callback, once installed, is never taken away. */
void
sb_ctx_set_keylog(sb_ctx *ctx, int fd)
{
    SSL_CTX *ssl_ctx = lock(ctx);

    atomic_store(&ctx->keylog, 0);
    if (fd >= 0) {
        if (ctx->keylog_fd < 0) {
            ctx->keylog_fd = fd;
        } else {
            dup2(fd, ctx->keylog_fd);
            close(fd);
        }
        atomic_store(&ctx->keylog, 1);
        SSL_CTX_set_keylog_callback(ssl_ctx, sb_on_keylog);
    }
    unlock(ctx, 1, NULL);
}

void
sb_ctx_session_stats(sb_ctx *ctx, long out[11])
{
    SSL_CTX *c = ctx->ssl_ctx;

    out[0] = SSL_CTX_sess_number(c);
    out[1] = SSL_CTX_sess_connect(c);
    out[2] = SSL_CTX_sess_connect_good(c);
    out[3] = SSL_CTX_sess_connect_renegotiate(c);
    out[4] = SSL_CTX_sess_accept(c);
    out[5] = SSL_CTX_sess_accept_good(c);
    out[6] = SSL_CTX_sess_accept_renegotiate(c);
    out[7] = SSL_CTX_sess_hits(c);
    out[8] = SSL_CTX_sess_misses(c);
    out[9] = SSL_CTX_sess_timeouts(c);
    out[10] = SSL_CTX_sess_cache_full(c);
}
