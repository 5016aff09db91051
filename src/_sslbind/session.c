/* TLS sessions: taken from a connection, given to another, described. */
#include "internal.h"

sb_session *
sb_conn_session(sb_conn *conn, sb_error *err)
{
    SSL_SESSION *session, *copy = NULL;

    if (sb_conn_enter(conn, err) != SB_OK)
        return NULL;
    /* A copy, since OpenSSL goes on changing the original: a TLS 1.3 ticket comes in, or the
     * connection ends without close_notify and its session is marked as not resumable. */
    if ((session = SSL_get0_session(conn->ssl)) != NULL &&
        (copy = SSL_SESSION_dup(session)) == NULL)
        err->status = SB_FAIL(err, SB_NO_MEMORY, "no memory");
    sb_clear_queue();
    sb_conn_leave(conn);
    return (sb_session *)copy;
}

int
sb_conn_set_session(sb_conn *conn, sb_session *session, sb_error *err)
{
    SSL_SESSION *copy;
    int status;

    if ((status = sb_conn_enter(conn, err)) != SB_OK)
        return status;
    sb_clear_queue();
    /* A copy: a failed handshake makes OpenSSL mark the session as not resumable. */
    if ((copy = SSL_SESSION_dup((SSL_SESSION *)session)) == NULL ||
        !SSL_set_session(conn->ssl, copy))
        status = SB_FAIL_QUEUE(err);
    SSL_SESSION_free(copy);
    sb_conn_leave(conn);
    return status;
}

/* SSL_free(3) takes the session of a connection that ends without close_notify out of the server's
 * cache: most connections of HTTP could not be resumed. So say that it was sent, as the stdlib does
 * since 3.13.1. What a fatal alert ends (RFC 5246 7.2.2), OpenSSL takes out at once. */
void
sb_free_ssl(SSL *ssl)
{
    if (ssl != NULL)
        SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_get_shutdown(ssl));
    SSL_free(ssl);
}

void
sb_session_free(sb_session *session)
{
    SSL_SESSION_free((SSL_SESSION *)session);
}

void
sb_session_describe(sb_session *session, sb_session_info *out)
{
    const SSL_SESSION *s = (const SSL_SESSION *)session;
    const unsigned char *id = SSL_SESSION_get_id(s, &out->id_len);

    if (out->id_len > sizeof out->id)
        out->id_len = sizeof out->id;
    memcpy(out->id, id, out->id_len);
    out->has_ticket = SSL_SESSION_has_ticket(s);
    out->ticket_lifetime_hint = SSL_SESSION_get_ticket_lifetime_hint(s);
    out->time = (long long)SSL_SESSION_get_time(s);
    out->timeout = (long long)SSL_SESSION_get_timeout(s);
}
