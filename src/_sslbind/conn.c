/* A connection: made, closed, described. What moves data is in io.c. */
#include "internal.h"

#include <stdlib.h>

/* Sessions are resumed only where they were made: SSL_set_session_id_context(3). As stdlib's. */
#define SESSION_CONTEXT "Python"

/* An address of RFC 4291 or a dotted quad: checked against iPAddress names, and never sent as
 * SNI (RFC 6066 3). */
static int
is_ip(const char *host)
{
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);

    ASN1_OCTET_STRING_free(ip);
    sb_clear_queue();
    return ip != NULL;
}

static int
set_host(SSL *ssl, const char *host, int check, unsigned int host_flags)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    int ip = is_ip(host);

    if (!ip && !SSL_set_tlsext_host_name(ssl, host))
        return 0;
    if (!check)
        return 1;
    X509_VERIFY_PARAM_set_hostflags(param, host_flags);
    return ip ? X509_VERIFY_PARAM_set1_ip_asc(param, host)
              : X509_VERIFY_PARAM_set1_host(param, host, 0);
}

static void
set_post_handshake_auth(SSL *ssl, int server_side)
{
    int mode = SSL_get_verify_mode(ssl);

    if (!server_side)
        SSL_set_post_handshake_auth(ssl, 1);
    else if (mode & SSL_VERIFY_PEER)
        SSL_set_verify(ssl, mode | SSL_VERIFY_POST_HANDSHAKE, NULL);
}

/* The connection's own way of moving records, or the one that can leave them to the kernel. */
static BIO *
make_transport(sb_conn *conn, const SSL *ssl)
{
    BIO *bio;

    if (SB_HAVE_KTLS && conn->fd >= 0 && SSL_get_options(ssl) & SSL_OP_ENABLE_KTLS)
        bio = sb_ktls_transport(conn);
    else
        bio = BIO_new(sb_transport_method());
    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, conn);
    BIO_set_init(bio, 1);
    return bio;
}

/* An SSL with the context's settings of this moment, on the transport. */
static SSL *
make_ssl(sb_conn *conn, const char *host)
{
    sb_ctx *ctx = conn->ctx;
    SSL *ssl = NULL;
    BIO *bio = NULL;
    int ok = 0;

    sb_ctx_finish_trust(ctx);
    sb_ctx_read_lock(ctx);
    if ((ssl = SSL_new(ctx->ssl_ctx)) == NULL)
        goto done;
    if (!SSL_set_app_data(ssl, conn))
        goto done;
    conn->message = ctx->message; /* SSL_new() has copied the callback */
    /* Not SSL_MODE_ENABLE_PARTIAL_WRITE: users of stdlib rely on send() taking all or raising. */
    SSL_set_mode(ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
    /* On a client it would make OpenSSL refuse external PSKs of TLS 1.3, which have none. */
    if (conn->is_server && !SSL_set_session_id_context(ssl, (const unsigned char *)SESSION_CONTEXT,
                                                       sizeof SESSION_CONTEXT))
        goto done;
    if (ctx->post_handshake_auth)
        set_post_handshake_auth(ssl, conn->is_server);
    if (host != NULL && !set_host(ssl, host, ctx->check_hostname, ctx->host_flags))
        goto done;
    if ((bio = make_transport(conn, ssl)) == NULL)
        goto done;
    SSL_set_bio(ssl, bio, bio);
    if (conn->is_server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    ok = 1;
done:
    pthread_rwlock_unlock(&ctx->lock);
    if (!ok) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

/* Bytes of the size that programs read and write at once, asyncio 256 KiB, glibc takes from the
 * kernel, page by zeroed page, and gives back each time, until a block as large that came from
 * there was freed: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD. Volatile, or the compiler
 * leaves out both. */
void
sb_free_a_block(size_t size)
{
    void *volatile block = malloc(size);

    free(block);
}

static void
free_a_mebibyte(void)
{
    sb_free_a_block(1024 * 1024);
}

sb_conn *
sb_conn_new(sb_ctx *ctx, int server_side, const char *host, int fd, sb_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sb_conn *conn = calloc(1, sizeof *conn);
    sb_error ignored;

    pthread_once(&once, free_a_mebibyte);
    if (err == NULL)
        err = &ignored;
    sb_clear_queue();
    if (conn == NULL || !sb_lock_init(&conn->lock) || !sb_cond_init(&conn->changed)) {
        free(conn);
        SB_FAIL(err, SB_NO_MEMORY, "no memory");
        return NULL;
    }
    atomic_init(&conn->generation, sb_generation());
    conn->forks = sb_forks();
    sb_ctx_up_ref(ctx);
    sb_ctx_up_ref(ctx);
    conn->ctx = conn->first_ctx = ctx;
    conn->is_server = server_side;
    conn->fd = fd;
    conn->batch = SB_BATCH;
    if ((conn->ssl = make_ssl(conn, host)) == NULL) {
        SB_FAIL_QUEUE(err);
        sb_conn_free(conn);
        return NULL;
    }
    conn->may_keep_buffers = !server_side && conn->kernel == NULL;
    return conn;
}

void
sb_conn_set_handle(sb_conn *conn, void *handle)
{
    conn->handle = handle;
}

int
sb_conn_set_buffers(sb_conn *conn, sb_bio *in, sb_bio *out)
{
    if ((conn->pumped = in == NULL)) {
        conn->in = sb_bio_new();
        conn->out = sb_bio_new();
        return conn->in != NULL && conn->out != NULL ? SB_OK : SB_NO_MEMORY;
    }
    sb_bio_up_ref(conn->in = in);
    sb_bio_up_ref(conn->out = out);
    return SB_OK;
}

int
sb_conn_share_buffers(sb_conn *conn, void *in, void *out, const void *mem)
{
    if (mem != BIO_s_mem() || in == NULL || out == NULL)
        return SB_UNSUPPORTED;
    conn->in = sb_bio_around(in);
    conn->out = sb_bio_around(out);
    return conn->in != NULL && conn->out != NULL ? SB_OK : SB_NO_MEMORY;
}

void
sb_conn_keep_memory(sb_conn *conn)
{
    SSL_clear_mode(conn->ssl, SSL_MODE_RELEASE_BUFFERS);
    conn->may_keep_buffers = 0;
}

void
sb_conn_free(sb_conn *conn)
{
    if (conn == NULL)
        return;
    sb_free_ssl(conn->ssl);
    sb_ctx_free(conn->ctx);
    sb_ctx_free(conn->first_ctx);
    sb_bio_free(conn->in);
    sb_bio_free(conn->out);
    pthread_cond_destroy(&conn->changed);
    sb_lock_destroy(&conn->lock);
    free(conn->unsent);
    free(conn->npn);
    sb_error_free(conn->late);
    free(conn);
}

void
sb_conn_hold_ctx(sb_conn *conn)
{
    sb_ctx_read_lock(conn->ctx);
    conn->held = conn->ctx;
}

void
sb_conn_let_go_ctx(sb_conn *conn)
{
    if (conn->held != NULL)
        pthread_rwlock_unlock(&conn->held->lock);
    conn->held = NULL;
}

/* ---------------------------------------------------------------- description */

int
sb_conn_pending(sb_conn *conn)
{
    sb_error ignored;
    int n;

    if (sb_conn_enter(conn, &ignored) != SB_OK)
        return 0;
    n = SSL_pending(conn->ssl);
    if (conn->pumped && !SSL_in_init(conn->ssl)) /* as it is after a failure, too */
        n += (int)sb_whole_records(conn);
    sb_conn_leave(conn);
    return n;
}

sb_bio *
sb_conn_in(sb_conn *conn)
{
    return conn->in;
}

sb_bio *
sb_conn_out(sb_conn *conn)
{
    return conn->out;
}

int
sb_conn_is_server(sb_conn *conn)
{
    return conn->is_server;
}

int
sb_conn_handshake_done(sb_conn *conn)
{
    sb_error ignored;
    int done;

    if (sb_conn_enter(conn, &ignored) != SB_OK)
        return 0;
    done = SSL_is_init_finished(conn->ssl);
    sb_conn_leave(conn);
    return done;
}

const char *
sb_conn_version(sb_conn *conn)
{
    sb_error ignored;
    const char *version = NULL;

    if (sb_conn_enter(conn, &ignored) != SB_OK)
        return NULL;
    if (SSL_is_init_finished(conn->ssl))
        version = SSL_get_version(conn->ssl);
    sb_conn_leave(conn);
    return version;
}

static void
describe_cipher(const SSL_CIPHER *cipher, sb_cipher *out)
{
    memset(out, 0, sizeof *out);
    if (cipher == NULL)
        return;
    out->name = SSL_CIPHER_get_name(cipher);
    out->protocol = SSL_CIPHER_get_version(cipher);
    out->bits = SSL_CIPHER_get_bits(cipher, NULL);
}

void
sb_conn_cipher(sb_conn *conn, sb_cipher *out)
{
    sb_error ignored;

    describe_cipher(NULL, out);
    if (sb_conn_enter(conn, &ignored) != SB_OK)
        return;
    describe_cipher(SSL_get_current_cipher(conn->ssl), out);
    sb_conn_leave(conn);
}

const char *
sb_conn_compression(sb_conn *conn)
{
    const char *name = NULL;
#ifndef OPENSSL_NO_COMP
    sb_error ignored;
    const COMP_METHOD *compression;

    if (sb_conn_enter(conn, &ignored) != SB_OK)
        return NULL;
    compression = SSL_get_current_compression(conn->ssl);
    if (compression != NULL && COMP_get_type(compression) != NID_undef)
        name = OBJ_nid2sn(COMP_get_type(compression));
    sb_conn_leave(conn);
#else
    (void)conn;
#endif
    return name;
}

static int
copy_protocol(const unsigned char *name, unsigned int len, char out[256])
{
    if (name == NULL || len > 255)
        return 0;
    memcpy(out, name, len);
    return (int)len;
}

int
sb_conn_alpn(sb_conn *conn, char out[256])
{
    const unsigned char *name = NULL;
    unsigned int len = 0;
    sb_error ignored;
    int n;

    if (sb_conn_enter(conn, &ignored) != SB_OK)
        return 0;
    SSL_get0_alpn_selected(conn->ssl, &name, &len);
    n = copy_protocol(name, len, out);
    sb_conn_leave(conn);
    return n;
}

int
sb_conn_npn(sb_conn *conn, char out[256])
{
    int n = 0;
#if SB_HAVE_NPN
    const unsigned char *name = NULL;
    unsigned int len = 0;
    sb_error ignored;

    if (sb_conn_enter(conn, &ignored) != SB_OK)
        return 0;
    SSL_get0_next_proto_negotiated(conn->ssl, &name, &len);
    n = copy_protocol(name, len, out);
    sb_conn_leave(conn);
#else
    (void)conn;
    (void)out;
#endif
    return n;
}

int
sb_conn_uses_ktls(sb_conn *conn, int sending)
{
    sb_error ignored;
    int uses;

    if (sb_conn_enter(conn, &ignored) != SB_OK)
        return 0;
    uses = sending ? conn->kernel_encrypts : conn->kernel_decrypts;
    sb_conn_leave(conn);
    return uses;
}

int
sb_conn_session_reused(sb_conn *conn)
{
    sb_error ignored;
    int reused;

    if (sb_conn_enter(conn, &ignored) != SB_OK)
        return 0;
    reused = SSL_session_reused(conn->ssl);
    sb_conn_leave(conn);
    return reused;
}

int
sb_conn_shared_ciphers(sb_conn *conn, sb_block *out, sb_error *err)
{
    STACK_OF(SSL_CIPHER) *theirs, *ours;
    int i, status;

    sb_block_init(out);
    if ((status = sb_conn_enter(conn, err)) != SB_OK)
        return status;
    theirs = SSL_get_client_ciphers(conn->ssl);
    ours = SSL_get_ciphers(conn->ssl);
    if (!conn->is_server || theirs == NULL || ours == NULL) {
        status = SB_FAIL(err, SB_BAD_ARG, "no list of ciphers");
        goto done;
    }
    for (i = 0; i < sk_SSL_CIPHER_num(ours); i++) {
        sb_cipher cipher;

        if (sk_SSL_CIPHER_find(theirs, (SSL_CIPHER *)sk_SSL_CIPHER_value(ours, i)) < 0)
            continue;
        describe_cipher(sk_SSL_CIPHER_value(ours, i), &cipher);
        sb_block_add_text(out, cipher.name);
        sb_block_add_text(out, cipher.protocol);
        sb_block_add_number(out, cipher.bits);
    }
    status = sb_block_status(out, err);
done:
    sb_conn_leave(conn);
    return status;
}

int
sb_conn_group(sb_conn *conn, const char **out, sb_error *err)
{
    int status;

    if (!SB_HAVE_GROUP_NAME)
        return SB_FAIL(err, SB_UNSUPPORTED, "group() needs OpenSSL 3.2 or newer");
    if ((status = sb_conn_enter(conn, err)) != SB_OK)
        return status;
    /* Without a session the function would read through a null pointer. */
    *out = SSL_get_session(conn->ssl) != NULL ? SSL_get0_group_name(conn->ssl) : NULL;
    sb_conn_leave(conn);
    return SB_OK;
}

int
sb_conn_sigalg(sb_conn *conn, int peer, const char **out, sb_error *err)
{
    long found; /* as of OpenSSL 3.5 */
    int status;

    if (!SB_HAVE_SIGNATURE_NAME)
        return SB_FAIL(err, SB_UNSUPPORTED,
                       "negotiated signature algorithms need OpenSSL 3.5 or newer");
    if ((status = sb_conn_enter(conn, err)) != SB_OK)
        return status;
    found = peer ? SSL_get0_peer_signature_name(conn->ssl, out)
                 : SSL_get0_signature_name(conn->ssl, out);
    if (!found)
        *out = NULL;
    sb_clear_queue();
    sb_conn_leave(conn);
    return SB_OK;
}

/* The first Finished message: the client's, or the server's when a session is resumed. */
int
sb_conn_tls_unique(sb_conn *conn, char out[64])
{
    sb_error ignored;
    size_t len;

    if (sb_conn_enter(conn, &ignored) != SB_OK)
        return 0;
    if (!SSL_session_reused(conn->ssl) == !conn->is_server)
        len = SSL_get_finished(conn->ssl, out, 64);
    else
        len = SSL_get_peer_finished(conn->ssl, out, 64);
    sb_conn_leave(conn);
    return len <= 64 ? (int)len : 64;
}

/* ---------------------------------------------------------------- certificates */

int
sb_conn_peer_cert(sb_conn *conn, sb_cert **cert, sb_block *der, sb_error *err)
{
    sb_cert *found;
    int status;

    sb_block_init(der);
    *cert = NULL;
    if ((status = sb_conn_enter(conn, err)) != SB_OK)
        return status;
    found = (sb_cert *)SSL_get0_peer_certificate(conn->ssl);
    if (!SSL_is_init_finished(conn->ssl))
        status = SB_WANT_READ;
    else if (found == NULL)
        status = SB_BAD_ARG;
    else
        status = sb_cert_encode(&found, 1, 0, der, err);
    if (status == SB_OK) {
        X509_up_ref((X509 *)found);
        *cert = found;
        status = sb_ctx_verify_mode(conn->ctx) != 0;
    }
    sb_conn_leave(conn);
    return status;
}

int
sb_conn_chain(sb_conn *conn, int verified, sb_cert ***certs, size_t *n, sb_error *err)
{
    STACK_OF(X509) *list;
    X509 *leaf = NULL;
    int status;

    if ((status = sb_conn_enter(conn, err)) != SB_OK)
        return status;
    if (verified) {
        list = SSL_get0_verified_chain(conn->ssl);
    } else {
        list = SSL_get_peer_cert_chain(conn->ssl);
        /* On the server's side the list lacks the peer's own certificate. */
        if (conn->is_server)
            leaf = SSL_get1_peer_certificate(conn->ssl);
    }
    if (list == NULL && leaf == NULL)
        status = SB_FAIL(err, SB_BAD_ARG, "no chain");
    else
        status = sb_cert_list(list, leaf, certs, n, err);
    X509_free(leaf);
    sb_conn_leave(conn);
    return status;
}

/* ---------------------------------------------------------------- changes */

int
sb_conn_set_ctx(sb_conn *conn, sb_ctx *ctx, sb_error *err)
{
    sb_ctx *old;
    int status;

    if ((status = sb_conn_enter(conn, err)) != SB_OK)
        return status;
    sb_ctx_finish_trust(ctx);
    sb_clear_queue();
    sb_ctx_read_lock(ctx);
    if (SSL_set_SSL_CTX(conn->ssl, ctx->ssl_ctx) == NULL)
        status = SB_FAIL_QUEUE(err);
    /* OpenSSL takes the certificate over, but not these (stdlib sets them likewise). */
    conn->message = ctx->message;
    SSL_set_msg_callback(conn->ssl, conn->message ? sb_on_message : NULL);
    pthread_rwlock_unlock(&ctx->lock);
    if (status == SB_OK) {
        sb_ctx_up_ref(ctx);
        old = conn->ctx;
        conn->ctx = ctx;
        sb_ctx_free(old);
    }
    sb_conn_leave(conn);
    return status;
}

int
sb_conn_request_client_cert(sb_conn *conn, sb_error *err)
{
    int status;

    if ((status = sb_conn_enter(conn, err)) != SB_OK)
        return status;
    sb_clear_queue();
    if (SSL_verify_client_post_handshake(conn->ssl) != 1)
        status = SB_FAIL_QUEUE(err);
    else if (conn->course == SB_SETTLED)
        conn->course = SB_UNSETTLED;
    sb_conn_leave(conn);
    return status;
}
