/* The only caller of SSL_get_error() and the only reader of OpenSSL's error queue.
 *
 * SSL_get_error(3) wants the same thread, a queue that was empty before the call, and no other
 * OpenSSL call in between; so sb_classify() runs directly after the operation, under its lock.
 *
 * To look whether the queue is empty takes 3 to 6 % of the time of a small record. A turn that only
 * moves data puts it off until something comes that may fail: the transport has nothing more
 * (sb_transport_read()), or what has come is no data (sb_on_progress()). What may fail before is a
 * record, or a write, that OpenSSL refuses, and of that it says why: its newest error; or a write
 * that the transport refuses, which write_some() tells itself. Only what has failed or ended before
 * fails again without a word: such a connection is wary, and looks first, as handshakes do.
 */
#include "internal.h"

#include <openssl/pem.h>
#include <stdio.h>

void
sb_clear_queue(void)
{
    if (ERR_peek_error() != 0) /* clearing takes its time even with an empty queue */
        ERR_clear_error();
}

void
sb_conn_look(sb_conn *conn)
{
    if (conn->unlooked)
        sb_clear_queue();
    conn->unlooked = 0;
}

unsigned long
sb_leave_queue(void)
{
    unsigned long newest = ERR_peek_last_error();

    if (newest != 0)
        ERR_set_mark();
    return newest;
}

void
sb_back_to_queue(unsigned long newest)
{
    if (newest == 0)
        sb_clear_queue();
    else if (!ERR_pop_to_mark())
        ERR_raise(ERR_GET_LIB(newest), ERR_GET_REASON(newest));
}

int
sb_memory_was_short(void)
{
    unsigned long code;
    int found = 0;

    while ((code = ERR_get_error()) != 0)
        found |= ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    return found;
}

int
sb_no_more_pem(void)
{
    unsigned long code = ERR_peek_last_error();

    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

int
sb_fail_at(sb_error *err, int status, const char *text, int line)
{
    memset(err, 0, sizeof *err);
    err->line = line;
    snprintf(err->text, sizeof err->text, "%s", text);
    ERR_clear_error();
    return status;
}

int
sb_take_errno(sb_error *err, int errno_value, int line)
{
    memset(err, 0, sizeof *err);
    err->line = line;
    err->errno_value = errno_value;
    ERR_clear_error();
    return SB_SYSCALL;
}

/* The newest error is the one that stdlib reports too. */
static unsigned long
take_newest(sb_error *err, int line)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

    memset(err, 0, sizeof *err);
    err->line = line;
    err->code = code;
    err->lib = ERR_GET_LIB(code);
    err->reason = ERR_GET_REASON(code);
    snprintf(err->text, sizeof err->text, "%s", text != NULL ? text : "");
    ERR_clear_error();
    return code;
}

int
sb_take_queue(sb_error *err, int line)
{
    unsigned long code = take_newest(err, line);

    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
        return SB_NO_MEMORY;
    return SB_FAILED;
}

/* Whoever goes on reading meets it again, of which OpenSSL says nothing. */
static int
abrupt_eof(sb_conn *conn, sb_error *err)
{
    conn->cut_off = 1;
    err->ssl_error = 8; /* SSL_ERROR_EOF, a number of stdlib's own */
    return SB_ABRUPT_EOF;
}

/* The transport failed without OpenSSL having a word about it. */
static int
classify_syscall(sb_conn *conn, int failed_before, sb_error *err)
{
    if (err->code != 0) {
        if (ERR_SYSTEM_ERROR(err->code)) {
            err->errno_value = err->reason;
            return SB_SYSCALL;
        }
        return SB_FAILED;
    }
    if (conn->io_errno == 0)
        return conn->at_eof || failed_before ? abrupt_eof(conn, err) : SB_FAILED;
    err->errno_value = conn->io_errno;
    return SB_SYSCALL;
}

static int
classify_failure(sb_conn *conn, sb_error *err)
{
    if (err->lib == ERR_LIB_SSL && err->reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        err->verify_code = (int)SSL_get_verify_result(conn->ssl);
        return SB_VERIFY;
    }
    if (err->lib == ERR_LIB_SSL && err->reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return abrupt_eof(conn, err);
    if (err->code == 0 && conn->cut_off) /* from 4.0 on no SSL_ERROR_SYSCALL: SSL_get_error(3) */
        return abrupt_eof(conn, err);
    if (ERR_SYSTEM_ERROR(err->code)) {
        err->errno_value = err->reason;
        return SB_SYSCALL;
    }
    return SB_FAILED;
}

int
sb_classify(sb_conn *conn, int ret, sb_error *err, int line)
{
    int kind = SSL_get_error(conn->ssl, ret), failed_before = conn->course == SB_WARY;

    if (kind == SSL_ERROR_NONE)
        return SB_OK;
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
        sb_clear_queue(); /* from 4.0 on it need not be empty */
        return kind == SSL_ERROR_WANT_READ ? SB_WANT_READ : SB_WANT_WRITE;
    }
    conn->course = SB_WARY;
    take_newest(err, line);
    if (conn->unlooked && kind == SSL_ERROR_SYSCALL && err->code != 0)
        kind = SSL_ERROR_SSL; /* what it goes by, the oldest, is not of this turn */
    err->ssl_error = kind;
    switch (kind) {
    case SSL_ERROR_ZERO_RETURN:
        err->quiet = SSL_get_shutdown(conn->ssl) == SSL_RECEIVED_SHUTDOWN;
        return SB_ZERO_RETURN;
    case SSL_ERROR_SYSCALL:
        return classify_syscall(conn, failed_before, err);
    case SSL_ERROR_SSL:
        return classify_failure(conn, err);
    case SSL_ERROR_WANT_X509_LOOKUP:
    case SSL_ERROR_WANT_CONNECT:
        return SB_FAILED;
    default:
        return SB_INVALID;
    }
}
