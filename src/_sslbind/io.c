/* The hot path: moving records between a socket, or two memory buffers, and OpenSSL.
 *
 * How it works
 *
 * An operation is a loop of turns. A turn locks the connection, calls one SSL_* function on a
 * transport that never blocks, classifies the result and unlocks. When the result is "want
 * read" or "want write", the operation waits in poll(2), holding no lock, and takes another
 * turn, until one deadline for the whole of it. So a thread that waits for data never keeps
 * another from sending, and OpenSSL, which allows one caller at a time, never sees two.
 * The descriptor's own O_NONBLOCK plays no part: each system call says MSG_DONTWAIT.
 * EINTR ends the operation with SB_INTERRUPTED, for Python to run its signal handlers; it then
 * calls again with the time that is left.
 *
 * Receiving
 *
 * One call returns as many whole records as have arrived and fit, yet takes nothing from the
 * kernel that it does not deliver: select(2) must still report the rest, and what follows
 * close_notify is not ours at all. So a turn peeks at a window of the socket's queue
 * (MSG_PEEK), lets OpenSSL read from the window, and at its end removes from the queue just
 * what OpenSSL took (discard()). As long as nothing has been delivered, OpenSSL may read
 * whatever it asks for, as it would from the socket itself. Once something has been delivered,
 * a further record is begun only if it is application data, lies in the window whole, and
 * fits (may_begin_record()). Its outer type tells; in TLS 1.3, where an alert looks like data
 * from outside, a record of an alert's length is not begun either (RFC 8446 5.2, 6).
 * This relies on OpenSSL asking for five bytes of header and then for just the body, which it
 * does without read-ahead, SSL_CTX_set_read_ahead(3).
 *
 * Sending
 *
 * sb_conn_write() passes each record through to send(2) and leaves what does not go to
 * OpenSSL's own retry rule: the caller repeats the call with the same data. sb_conn_sendall()
 * promises nothing to a caller that it fails, so it collects records and hands them to send(2)
 * in batches; what a timeout or a signal leaves of a batch is sent first by whatever comes next.
 */
#include "internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS; Python ignores SIGPIPE anyway */
#endif

enum {
    HEADER_LEN = 5,       /* RFC 8446 5.1 */
    PLAIN_MAX = 16384,    /* RFC 8446 5.1 */
    RECORD_MAX = 16709,   /* header, PLAIN_MAX and 320 of the cipher's: TLS 1.2 CBC at its worst */
    RECORD_EXTRA = 29,    /* header, explicit nonce and tag of TLS 1.2 AES-GCM */
    ALERT_13_LEN = 19,    /* two bytes, content type, tag */
    WINDOW_MAX = 64 * 1024 + 4 * RECORD_EXTRA,
    BATCH = 64 * 1024,    /* larger ones fall out of the second-level cache */
};

/* ---------------------------------------------------------------- the window */

/* How many bytes to peek at: what the user's buffer could take, but never less than the record
 * before measured, for the next is likely to need as much to be decrypted at all. */
static size_t
window_size(const sb_conn *conn)
{
    size_t wanted = WINDOW_MAX;

    if (conn->room < WINDOW_MAX)
        wanted = conn->room + (conn->room / PLAIN_MAX + 1) * RECORD_EXTRA;
    if (wanted < conn->record_hint)
        wanted = conn->record_hint;
    return wanted < WINDOW_MAX ? wanted : WINDOW_MAX;
}

/* Take from the kernel what OpenSSL took from the window. */
static void
discard(sb_conn *conn)
{
    size_t left = conn->window_pos;
    ssize_t n;

    while (left > 0) {
#ifdef __linux__
        if (conn->is_tcp) /* the kernel drops the bytes without copying them, tcp(7) */
            n = recv(conn->fd, NULL, left, MSG_TRUNC | MSG_DONTWAIT);
        else
#endif
            n = recv(conn->fd, conn->window, left, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* the queue was cut off under us; the next read meets the reason */
        left -= (size_t)n;
    }
    conn->window_pos = conn->window_len = 0;
}

/* Peek at the socket. Returns > 0, or 0 with at_eof or io_errno set; EAGAIN sets neither. */
static size_t
fill_window(sb_conn *conn)
{
    size_t size = window_size(conn);
    ssize_t n;

    if (conn->window_cap < size) {
        free(conn->window);
        conn->window_cap = 0;
        if ((conn->window = malloc(size)) == NULL) {
            conn->io_errno = ENOMEM;
            return 0;
        }
        conn->window_cap = size;
    }
    do
        n = recv(conn->fd, conn->window, size, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            conn->io_errno = errno;
        return 0;
    }
    if (n == 0)
        conn->at_eof = 1;
    conn->window_pos = 0;
    conn->window_len = (size_t)n;
    conn->window_full = conn->window_len == size;
    return (size_t)n;
}

/* ---------------------------------------------------------------- receiving */

/* Copy the header of the next record; returns how many bytes lie ready, it included. */
static size_t
peek_header(sb_conn *conn, unsigned char header[HEADER_LEN])
{
    size_t ready;

    if (conn->fd < 0)
        return sb_bio_peek(conn->in, header, HEADER_LEN);
    ready = conn->window_len - conn->window_pos;
    if (ready >= HEADER_LEN)
        memcpy(header, conn->window + conn->window_pos, HEADER_LEN);
    return ready;
}

/* May OpenSSL begin another record although this call has bytes to deliver already? */
static int
may_begin_record(sb_conn *conn)
{
    unsigned char header[HEADER_LEN];
    size_t ready = peek_header(conn, header);
    size_t body, extra = 16; /* the least that a cipher adds: its tag */

    if (ready < HEADER_LEN || header[0] != SSL3_RT_APPLICATION_DATA)
        return 0;
    body = (size_t)header[3] << 8 | header[4];
    if (ready < HEADER_LEN + body || body <= extra)
        return 0;
    if (SSL_version(conn->ssl) == TLS1_3_VERSION) {
        if (body == ALERT_13_LEN)
            return 0;
        extra++; /* the inner content type */
    }
    body -= extra;
    if ((body < PLAIN_MAX ? body : PLAIN_MAX) > conn->room)
        return 0;
    conn->body_left = HEADER_LEN + body + extra;
    return 1;
}

/* The same, after looking whether the kernel holds more than the window showed. */
static int
more_is_ready(sb_conn *conn)
{
    if (may_begin_record(conn))
        return 1;
    if (conn->fd < 0 || !conn->window_full)
        return 0;
    discard(conn);
    return fill_window(conn) > 0 && may_begin_record(conn);
}

static int
recv_direct(sb_conn *conn, char *buf, size_t len)
{
    ssize_t n;

    do
        n = recv(conn->fd, buf, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        conn->at_eof = 1;
    else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        conn->io_errno = errno;
    return (int)n;
}

/* From the window; once it is used up, the rest of a record goes straight where it is wanted. */
static int
take_from_socket(sb_conn *conn, char *buf, size_t len)
{
    if (conn->window_pos == conn->window_len) {
        if (conn->window_len > 0) {
            discard(conn);
            return recv_direct(conn, buf, len);
        }
        if (fill_window(conn) == 0)
            return conn->at_eof ? 0 : -1;
    }
    if (len > conn->window_len - conn->window_pos)
        len = conn->window_len - conn->window_pos;
    memcpy(buf, conn->window + conn->window_pos, len);
    conn->window_pos += len;
    return (int)len;
}

static int
take_from_memory(sb_conn *conn, char *buf, size_t len)
{
    int n = (int)sb_bio_read(conn->in, buf, len);

    if (n > 0)
        return n;
    conn->at_eof = sb_bio_eof(conn->in);
    return conn->at_eof ? 0 : -1;
}

static int
transport_read(BIO *bio, char *buf, int len)
{
    sb_conn *conn = BIO_get_data(bio);
    int n;

    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    if (conn->delivered > 0 && conn->body_left == 0 && !may_begin_record(conn)) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (conn->fd < 0)
        n = take_from_memory(conn, buf, (size_t)len);
    else
        n = take_from_socket(conn, buf, (size_t)len);
    if (n < 0 && conn->io_errno == 0)
        BIO_set_retry_read(bio);
    if (n == HEADER_LEN && len == HEADER_LEN)
        conn->record_hint = HEADER_LEN + ((size_t)(unsigned char)buf[3] << 8) + (unsigned char)buf[4];
    if (conn->record_hint > RECORD_MAX)
        conn->record_hint = RECORD_MAX;
    if (conn->delivered > 0 && n > 0)
        conn->body_left -= (size_t)n;
    return n;
}

/* ---------------------------------------------------------------- sending */

static int
send_some(sb_conn *conn, const char *buf, size_t len)
{
    ssize_t n;

    do
        n = send(conn->fd, buf, len < INT_MAX ? len : INT_MAX, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        conn->progress = 1;
    else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        conn->io_errno = errno;
    return (int)n;
}

/* Send what a batch left behind. Returns 1: nothing is left. */
static int
flush(sb_conn *conn)
{
    while (conn->unsent_pos < conn->unsent_len) {
        int n = send_some(conn, conn->unsent + conn->unsent_pos,
                          conn->unsent_len - conn->unsent_pos);

        if (n < 0)
            return 0;
        conn->unsent_pos += (size_t)n;
    }
    conn->unsent_pos = conn->unsent_len = 0;
    return 1;
}

static int
collect(sb_conn *conn, const char *buf, size_t len)
{
    size_t needed = conn->unsent_len + len;
    size_t cap = BATCH + RECORD_MAX;
    char *moved;

    if (needed > conn->unsent_cap) {
        while (cap < needed)
            cap *= 2;
        if ((moved = realloc(conn->unsent, cap)) == NULL) {
            conn->io_errno = ENOMEM;
            return -1;
        }
        conn->unsent = moved;
        conn->unsent_cap = cap;
    }
    memcpy(conn->unsent + conn->unsent_len, buf, len);
    conn->unsent_len = needed;
    return (int)len;
}

static int
transport_write(BIO *bio, const char *buf, int len)
{
    sb_conn *conn = BIO_get_data(bio);
    int n = -1;

    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    if (conn->fd < 0) {
        if (sb_bio_write(conn->out, buf, (size_t)len) == SB_OK)
            return len;
        conn->io_errno = ENOMEM;
        return -1;
    }
    if (conn->collect)
        return collect(conn, buf, (size_t)len);
    if (flush(conn))
        n = send_some(conn, buf, (size_t)len);
    if (n < 0 && conn->io_errno == 0)
        BIO_set_retry_write(bio);
    return n;
}

/* ---------------------------------------------------------------- the transport's BIO */

static long
transport_ctrl(BIO *bio, int command, long number, void *pointer)
{
    sb_conn *conn = BIO_get_data(bio);

    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH: /* nothing waits here: see transport_write() */
        return 1;
    case BIO_CTRL_EOF:
        return conn->at_eof;
    default:
        return 0;
    }
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void
make_method(void)
{
    if ((method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sslbind")) == NULL)
        return;
    BIO_meth_set_read(method, transport_read);
    BIO_meth_set_write(method, transport_write);
    BIO_meth_set_ctrl(method, transport_ctrl);
}

BIO_METHOD *
sb_transport_method(void)
{
    pthread_once(&method_once, make_method);
    return method;
}

/* ---------------------------------------------------------------- turns */

int
sb_conn_enter(sb_conn *conn, sb_error *err)
{
    pthread_mutex_lock(&conn->lock);
    if (conn->ssl == NULL) {
        pthread_mutex_unlock(&conn->lock);
        return SB_FAIL(err, SB_CLOSED, "the connection is closed");
    }
    conn->users++;
    return SB_OK;
}

void
sb_conn_leave(sb_conn *conn)
{
    SSL *ssl = NULL;

    if (--conn->users == 0 && conn->closed && conn->release) {
        ssl = conn->ssl;
        conn->ssl = NULL;
    }
    pthread_mutex_unlock(&conn->lock);
    SSL_free(ssl);
}

static void
end_turn(sb_conn *conn)
{
    if (conn->window_len > 0)
        discard(conn);
    free(conn->window);
    conn->window = NULL;
    conn->window_cap = 0;
    conn->window_full = 0;
    conn->delivered = 0;
    conn->room = 0;
    conn->body_left = 0;
    conn->collect = 0;
    if (conn->unsent != NULL && conn->unsent_len == 0) {
        free(conn->unsent);
        conn->unsent = NULL;
        conn->unsent_cap = 0;
    }
}

static int64_t
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* No limit is INT64_MAX; neither is a limit of more than a hundred years. */
static int64_t
deadline_after(double timeout)
{
    if (timeout < 0 || timeout > 3e9)
        return INT64_MAX;
    return now_ns() + (int64_t)(timeout * 1e9);
}

static int
wait_until_ready(int fd, short events, int64_t deadline, sb_error *err)
{
    struct pollfd pfd = {fd, events, 0};
    int64_t left = deadline == INT64_MAX ? INT64_MAX : deadline - now_ns();
    int ms, n;

    if (left <= 0)
        goto timed_out;
    if (deadline == INT64_MAX)
        ms = -1;
    else
        ms = left > (int64_t)INT_MAX * 1000000 ? INT_MAX : (int)((left + 999999) / 1000000);
    n = poll(&pfd, 1, ms);
    if (n > 0)
        return SB_OK;
    if (n < 0 && errno != EINTR)
        return SB_FAIL_ERRNO(err, errno);
    left = deadline == INT64_MAX ? -1 : deadline - now_ns();
    if (n < 0) {
        err->remaining = left < 0 && deadline != INT64_MAX ? 1e-9 : (double)left / 1e9;
        return SB_INTERRUPTED;
    }
    if (left > 0)
        return SB_OK; /* a deadline farther off than poll can count */
timed_out:
    return SB_FAIL(err, SB_TIMEOUT, "timed out");
}

/* One try at the operation; > 0 or SB_OK when it is done. */
typedef int step_fn(sb_conn *conn, void *arg, sb_error *err);

static int
turn(sb_conn *conn, step_fn *step, void *arg, sb_error *err)
{
    int status;

    if (conn->closed)
        return SB_FAIL(err, SB_CLOSED, "the connection is closed");
    conn->io_errno = conn->at_eof = conn->progress = 0;
    ERR_clear_error();
    status = step(conn, arg, err);
    end_turn(conn);
    return status;
}

static int
run(sb_conn *conn, step_fn *step, void *arg, double timeout, sb_error *err)
{
    int64_t deadline = 0;
    int status, want, progress;
    short events;

    for (;;) {
        if ((status = sb_conn_enter(conn, err)) != SB_OK)
            return status;
        want = turn(conn, step, arg, err);
        progress = conn->progress;
        events = want == SB_WANT_READ ? POLLIN : POLLOUT;
        if (conn->unsent != NULL)
            events |= POLLOUT;
        sb_conn_leave(conn);
        if ((want != SB_WANT_READ && want != SB_WANT_WRITE) || timeout == 0 || conn->fd < 0)
            return want;
        if (deadline == 0 || progress)
            deadline = deadline_after(timeout);
        if ((status = wait_until_ready(conn->fd, events, deadline, err)) != SB_OK) {
            err->want = want;
            return status;
        }
    }
}

/* ---------------------------------------------------------------- the operations */

static int
handshake_step(sb_conn *conn, void *arg, sb_error *err)
{
    int ret;

    (void)arg;
    conn->record_hint = RECORD_MAX;
    ret = SSL_do_handshake(conn->ssl);
    return ret == 1 ? SB_OK : sb_classify(conn, ret, err, __LINE__);
}

int
sb_conn_handshake(sb_conn *conn, double timeout, sb_error *err)
{
    return run(conn, handshake_step, NULL, timeout, err);
}

typedef struct read_args {
    char *buf;
    size_t cap;
    size_t done;
} read_args;

static int
read_step(sb_conn *conn, void *arg, sb_error *err)
{
    read_args *args = arg;
    size_t n;
    int ret, status = SB_OK;

    if (conn->late_status != SB_OK) {
        status = conn->late_status;
        conn->late_status = SB_OK;
        *err = conn->late_error;
        return status;
    }
    if (conn->unsent != NULL)
        flush(conn); /* if it does not all go now, the wait below watches for that too */
    conn->room = args->cap;
    do {
        n = 0;
        conn->body_left = 0;
        ret = SSL_read_ex(conn->ssl, args->buf + args->done, args->cap - args->done, &n);
        if (ret != 1) {
            status = sb_classify(conn, ret, err, __LINE__);
            break;
        }
        conn->delivered = args->done += n;
        conn->room = args->cap - args->done;
    } while (conn->room > 0 && more_is_ready(conn));
    if (args->done == 0 || status == SB_OK)
        return status;
    if (status != SB_WANT_READ && status != SB_WANT_WRITE) {
        conn->late_status = status;
        conn->late_error = *err;
    }
    return SB_OK;
}

long long
sb_conn_read(sb_conn *conn, char *buf, size_t cap, double timeout, sb_error *err)
{
    read_args args = {buf, cap, 0};
    int status = run(conn, read_step, &args, timeout, err);

    return status == SB_OK ? (long long)args.done : status;
}

typedef struct write_args {
    const char *buf;
    size_t len;
    size_t done;
} write_args;

static int
write_step(sb_conn *conn, void *arg, sb_error *err)
{
    write_args *args = arg;
    int ret = SSL_write_ex(conn->ssl, args->buf, args->len, &args->done);

    conn->retry_write = ret != 1;
    return ret == 1 ? SB_OK : sb_classify(conn, ret, err, __LINE__);
}

long long
sb_conn_write(sb_conn *conn, const char *buf, size_t len, double timeout, sb_error *err)
{
    write_args args = {buf, len, 0};
    int status = run(conn, write_step, &args, timeout, err);

    return status == SB_OK ? (long long)args.done : status;
}

/* Batch after batch, beginning with what is left of the last one. A single record needs no
 * collecting, and a write that OpenSSL is in the middle of must be offered whole again. */
static int
sendall_step(sb_conn *conn, void *arg, sb_error *err)
{
    write_args *args = arg;
    size_t n, left;
    int ret;

    for (;;) {
        if (!flush(conn))
            return conn->io_errno != 0 ? SB_FAIL_ERRNO(err, conn->io_errno) : SB_WANT_WRITE;
        if ((left = args->len - args->done) == 0)
            return SB_OK;
        conn->collect = conn->fd >= 0 && left > PLAIN_MAX && !conn->retry_write;
        if (conn->collect && left > BATCH)
            left = BATCH;
        ret = SSL_write_ex(conn->ssl, args->buf + args->done, left, &n);
        conn->collect = 0;
        conn->retry_write = ret != 1;
        if (ret != 1)
            return sb_classify(conn, ret, err, __LINE__);
        args->done += n;
    }
}

int
sb_conn_sendall(sb_conn *conn, const char *buf, size_t len, size_t *done, double timeout,
                sb_error *err)
{
    write_args args = {buf, len, *done};
    int status = run(conn, sendall_step, &args, timeout, err);

    *done = args.done;
    return status;
}

/* SSL_shutdown() answers 0 once close_notify is sent; the second call waits for the peer's.
 * It is not called more often than that, for its 0 does not say what to wait for. */
static int
shutdown_step(sb_conn *conn, void *arg, sb_error *err)
{
    int ret;

    (void)arg;
    if (!flush(conn))
        return conn->io_errno != 0 ? SB_FAIL_ERRNO(err, conn->io_errno) : SB_WANT_WRITE;
    ret = SSL_shutdown(conn->ssl);
    if (ret == 0)
        ret = SSL_shutdown(conn->ssl);
    return ret >= 0 ? SB_OK : sb_classify(conn, ret, err, __LINE__);
}

int
sb_conn_shutdown(sb_conn *conn, double timeout, sb_error *err)
{
    return run(conn, shutdown_step, NULL, timeout, err);
}
