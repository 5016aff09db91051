/* What OpenSSL calls back: on_* functions. They stay in C where Python is not needed (ALPN, NPN,
 * key log); the others go on to sb_py_*. They run inside a connection's operation, under its
 * lock and with its context held; Python runs with the context let go, for it may change it.
 * Whatever goes wrong in them ends in a failure of the handshake, never in success. */
#include "internal.h"
#include "upcalls.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* What is kept while Python runs. */
typedef struct kept {
    int held;
    unsigned long error;
} kept;

/* Around each way into Python: returns the handle to call it with. */
static void *
leave_c(const SSL *ssl, kept *kept)
{
    sb_conn *conn = SSL_get_app_data(ssl);

    kept->held = conn->held != NULL;
    kept->error = sb_leave_queue();
    sb_conn_let_go_ctx(conn);
    atomic_store(&conn->called_python, 1);
    return conn->handle;
}

static void
back_in_c(const SSL *ssl, const kept *kept)
{
    sb_conn *conn = SSL_get_app_data(ssl);

    sb_conn_go_on(conn);
    sb_back_to_queue(kept->error);
    if (kept->held)
        sb_conn_hold_ctx(conn);
}

/* ---------------------------------------------------------------- ALPN, NPN */

int
sb_on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
           unsigned int in_len, void *arg)
{
    sb_ctx *ctx = arg;
    unsigned char *ours = NULL;
    unsigned int i;
    int chosen;

    (void)ssl;
    chosen = ctx->alpn_len == 0 ? OPENSSL_NPN_NO_OVERLAP
                                : SSL_select_next_proto(&ours, out_len, ctx->alpn,
                                                        (unsigned int)ctx->alpn_len, in, in_len);
    if (chosen == OPENSSL_NPN_NEGOTIATED) {
        /* OpenSSL copies it before this turn ends; the client's list lives that long anyway. */
        for (i = 0; i < in_len; i += 1u + in[i])
            if (in[i] == *out_len && memcmp(in + i + 1, ours, *out_len) == 0)
                break;
        *out = in + i + 1;
    }
    return chosen == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

#if SB_HAVE_NPN
/* OpenSSL reads the list after the callback has returned, when another thread may be replacing
 * the context's: the connection keeps a copy. */
static size_t
copy_npn(SSL *ssl, sb_ctx *ctx)
{
    sb_conn *conn = SSL_get_app_data(ssl);
    size_t len = 0;

    free(conn->npn);
    if ((conn->npn = malloc(ctx->npn_len + 1)) != NULL) {
        len = ctx->npn_len;
        memcpy(conn->npn, ctx->npn, len);
    }
    return len;
}

int
sb_on_npn_advertise(SSL *ssl, const unsigned char **out, unsigned int *out_len, void *arg)
{
    sb_conn *conn = SSL_get_app_data(ssl);

    *out_len = (unsigned int)copy_npn(ssl, arg);
    *out = conn->npn;
    return *out_len > 0 ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

int
sb_on_npn_select(SSL *ssl, unsigned char **out, unsigned char *out_len, const unsigned char *in,
                 unsigned int in_len, void *arg)
{
    sb_conn *conn = SSL_get_app_data(ssl);
    size_t len = copy_npn(ssl, arg);

    if (len == 0)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_select_next_proto(out, out_len, in, in_len, conn->npn, (unsigned int)len);
    return SSL_TLSEXT_ERR_OK;
}
#endif

/* ---------------------------------------------------------------- into Python */

int
sb_on_sni(SSL *ssl, int *alert, void *arg)
{
    kept kept;
    int answer;
    void *handle = leave_c(ssl, &kept);

    (void)arg;
    answer = sb_py_sni(handle, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    back_in_c(ssl, &kept);
    if (answer < 0)
        return SSL_TLSEXT_ERR_OK;
    *alert = answer > 0 ? answer - 1 : SSL_AD_INTERNAL_ERROR;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

void
sb_on_message(int write, int version, int type, const void *buf, size_t len, SSL *ssl, void *arg)
{
    kept kept;
    void *handle = leave_c(ssl, &kept);

    (void)arg;
    sb_py_message(handle, write, version, type, buf, len);
    back_in_c(ssl, &kept);
}

int
sb_on_password(char *buf, int cap, int writing, void *handle)
{
    (void)writing;
    return sb_py_password(handle, buf, cap);
}

#if SB_HAVE_PSK
unsigned int
sb_on_psk_client(SSL *ssl, const char *hint, char *identity, unsigned int id_cap,
                 unsigned char *psk, unsigned int cap)
{
    kept kept;
    void *handle = leave_c(ssl, &kept);
    unsigned int len = sb_py_psk_client(handle, hint, identity, id_cap, (char *)psk, cap);

    back_in_c(ssl, &kept);
    return len;
}

unsigned int
sb_on_psk_server(SSL *ssl, const char *identity, unsigned char *psk, unsigned int cap)
{
    kept kept;
    void *handle = leave_c(ssl, &kept);
    unsigned int len = sb_py_psk_server(handle, identity, (char *)psk, cap);

    back_in_c(ssl, &kept);
    return len;
}
#endif

/* ---------------------------------------------------------------- what is no data */

/* After the handshake: before OpenSSL does something about an alert or another handshake message.
 * Its own alerts, and the end of a handshake, may come with an error that it has just raised.
 * SSL_CTX_set_info_callback(3) */
void
sb_on_progress(const SSL *ssl, int where, int value)
{
    sb_conn *conn = SSL_get_app_data(ssl);

    (void)value;
    if (where != SSL_CB_READ_ALERT && !(where & SSL_CB_LOOP))
        return;
    sb_conn_look(conn);
    if (conn->course == SB_SETTLED)
        conn->course = SB_UNSETTLED;
}

/* ---------------------------------------------------------------- key log */

/* One write(2) a line, to a file opened for appending: lines of several processes do not mix. */
void
sb_on_keylog(const SSL *ssl, const char *line)
{
    const sb_conn *conn = SSL_get_app_data(ssl);
    const sb_ctx *ctx = conn->ctx;
    size_t len = strlen(line);
    char *copy;
    ssize_t n;

    if (!atomic_load(&ctx->keylog) || (copy = malloc(len + 1)) == NULL)
        return;
    memcpy(copy, line, len);
    copy[len] = '\n';
    do
        n = write(ctx->keylog_fd, copy, len + 1);
    while (n < 0 && errno == EINTR);
    OPENSSL_cleanse(copy, len);
    free(copy);
}
