/* The hot path: moving records between a socket, or two memory buffers, and OpenSSL.
 *
 * How it works
 *
 * An operation is a loop of turns. A turn, under the connection's lock, calls one SSL_* function
 * on a transport that never blocks, and classifies the result. When that is "want read" or
 * "want write", the operation waits, with the lock released, and takes another turn, until one
 * deadline for the whole of it. So a thread that waits for data never keeps another from
 * sending, and OpenSSL, which allows one caller at a time, never sees two. Of the threads that
 * wait for the same direction one is in poll(2), the others sleep until it has had its turn.
 * The descriptor's own O_NONBLOCK plays no part: each system call says MSG_DONTWAIT.
 * EINTR ends the operation with sb_again, for Python to run its signal handlers; it then
 * calls again with the time that is left.
 *
 * Receiving
 *
 * One call returns as many whole records as have arrived and fit, yet takes no record from the
 * kernel that it does not deliver: a program that waits in select(2) must not wait while data,
 * or the peer's close_notify, lies in here, and what follows close_notify is not ours at all.
 * OpenSSL is told to read ahead (SSL_CTX_set_read_ahead(3)), so it asks for a buffer full, and
 * gets one record at most: a header, with the body if it is data or lies in memory, else the
 * body when it asks again. So transport_read() always knows where it is. As long as nothing has
 * been delivered, OpenSSL gets whatever it asks for. After that the next header is only peeked
 * at, and the record is begun, header and body in one system call, only if it is data, has
 * arrived whole and fits (may_begin_record()). Its outer type tells what it is; in TLS 1.3,
 * where an alert looks like data from outside, a record of an alert's length is not begun either
 * (RFC 8446 5.2, 6).
 *
 * One thing is taken early: the header behind a large record of data, together with that
 * record's body, for it saves a system call of two. What it announces is still in the kernel or
 * yet to come, so select(2) tells the truth. If it announces data that fit, they are asked for
 * at once, and FIONREAD is not: what of them has not arrived is yet to come as well.
 *
 * Sending
 *
 * OpenSSL's writes always succeed: what send(2) does not take waits in `unsent`, and an
 * operation that sends is not done before that is empty. So OpenSSL never holds half a record,
 * whatever operation comes next, it can begin by sending what waits, and several records can go
 * in one system call. How much of the caller's buffer is encrypted already is kept in
 * `written`, for after SB_WANT_WRITE or SB_TIMEOUT the call is repeated with the same data, as
 * SSL_write(3) demands. Only one thread at a time is in a write, waiting included: the others
 * wait as if the socket were full. A connection whose buffers are pumped is "interrupted" after
 * each batch, for Python to move that on.
 */
#include "internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS; Python ignores SIGPIPE anyway */
#endif

enum {
    HEADER_LEN = 5,     /* RFC 8446 5.1 */
    PLAIN_MAX = 16384,  /* RFC 8446 5.1 */
    RECORD_MAX = 16709, /* header, PLAIN_MAX and 320 of the cipher's: TLS 1.2 CBC at its worst */
    RECORD_EXTRA = 29,  /* header, explicit nonce and tag of TLS 1.2 AES-GCM */
    ALERT_13_LEN = 19,  /* two bytes, content type, tag */
    ALERT_13_CCM8_LEN = 11,
    BUSY = -100,        /* a status of this file: another thread is in a write */
    LARGE = 4096,       /* no alert is padded to this length */
    QUICK = 4096,       /* bytes that take less time than another thread has to be woken in */
    HELD = 512 * 1024, /* with a sink: 0.2 ms with AES, 4 with ARIA, of Python's 5 for a thread */
    UNSENT_MAX = 256 * 1024,
    SECOND = 1000000000,
};

/* ---------------------------------------------------------------- receiving */

/* The result of a system call on the socket: n > 0, 0 with at_eof set, or -1, and then io_errno
 * is 0 if there is just nothing yet. Nor is the end anything behind what this call has to deliver:
 * the next will meet it, and what OpenSSL does about it comes then. */
static int
outcome(sb_conn *conn, ssize_t n)
{
    if (n == 0 && conn->delivered > 0)
        return -1;
    if (n == 0)
        conn->at_eof = 1;
    else if (n > 0)
        conn->moved = 1;
    else if (errno != EAGAIN && errno != EWOULDBLOCK)
        conn->io_errno = errno;
    return (int)n;
}

/* A callback may have closed the connection: the descriptor can be anybody's by now. */
static int
refuse_closed(sb_conn *conn)
{
    if (conn->closed)
        conn->io_errno = EBADF;
    return conn->closed;
}

static int
take(sb_conn *conn, char *buf, size_t len)
{
    ssize_t n;

    if (conn->fd < 0) {
        n = sb_bio_receive(conn->in, buf, len);
        conn->at_eof = n == 0;
        return (int)n;
    }
    if (conn->delivered > 0 && conn->emptied)
        return -1;
    do
        n = recv(conn->fd, buf, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return outcome(conn, n);
}

/* Behind a large record of data there is another record, or nothing yet: never what follows TLS. */
static int
may_take_next_header(const sb_conn *conn, size_t len, size_t cap)
{
    return conn->fd >= 0 && conn->kernel == NULL && conn->is_data && len == conn->record_left &&
           len >= LARGE && len + HEADER_LEN <= cap;
}

/* The rest of a record, with the header behind it if that may be taken already. */
static int
take_rest(sb_conn *conn, char *buf, size_t len, size_t cap)
{
    size_t asked = may_take_next_header(conn, len, cap) ? len + HEADER_LEN : len;
    int n = take(conn, buf, asked);

    if (n <= 0 || conn->fd < 0)
        return n;
    conn->arrived -= conn->arrived < (size_t)n ? conn->arrived : (size_t)n;
    conn->emptied = (size_t)n < asked;
    if ((size_t)n <= len)
        return n;
    memcpy(conn->header, buf + len, HEADER_LEN); /* or less, which header_len says */
    conn->header_len = (size_t)n - len;
    return (int)len;
}

/* How long the body is that a header announces. A client may begin with a hello in the format
 * of SSLv2, whose header is two bytes long (RFC 5246 E.2). */
static size_t
body_length(const unsigned char header[HEADER_LEN])
{
    size_t sslv2 = (size_t)(header[0] & 0x7f) << 8 | header[1];

    if (header[0] & 0x80 && header[2] == 1)
        return sslv2 > 3 ? sslv2 - 3 : 0;
    return (size_t)header[3] << 8 | header[4];
}

/* Is it TLS at all? Of other things OpenSSL gets five bytes, and the rest stays where it is. */
static int
is_record(const unsigned char header[HEADER_LEN])
{
    return header[0] >= SSL3_RT_CHANGE_CIPHER_SPEC && header[0] <= SSL3_RT_APPLICATION_DATA &&
           header[1] == SSL3_VERSION_MAJOR;
}

/* Do so many bytes wait? The kernel is asked only when what it said last is used up, and not when
 * it has just given less than it was asked for. */
static int
has_arrived(sb_conn *conn, size_t len)
{
    int n = 0;

    if (conn->arrived < len && conn->fd >= 0 && !conn->emptied)
        conn->arrived = ioctl(conn->fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
    return conn->arrived >= len;
}

/* Look at the next record in memory, and take it if it is one, whole, and fits. Returns its length,
 * or 0. */
static size_t
look(sb_conn *conn, char *buf, size_t cap)
{
    const char *waiting;
    const unsigned char *header;
    size_t len = 0;

    conn->arrived = sb_bio_hold(conn->in, &waiting);
    header = (const unsigned char *)waiting; /* what has just been copied is slow to load */
    if ((conn->peeked = conn->arrived >= HEADER_LEN)) {
        len = HEADER_LEN + body_length(header);
        if (len > conn->arrived || len > cap || !is_record(header))
            len = 0;
        memcpy(conn->header, header, HEADER_LEN);
    }
    conn->emptied = len > 0 && len == conn->arrived;
    sb_bio_let_go(conn->in, buf, len);
    return len;
}

size_t
sb_whole_records(sb_conn *conn)
{
    const char *waiting;
    unsigned char header[HEADER_LEN];
    size_t n, len = 0, next = 0;

    if (conn->record_left > 0 || conn->header_len > 0) /* the rest of one is not there yet */
        return 0;
    n = sb_bio_hold(conn->in, &waiting);
    while (next <= n) {
        len = next;
        if (n - len < HEADER_LEN)
            break;
        memcpy(header, waiting + len, HEADER_LEN);
        next = len + HEADER_LEN + body_length(header);
    }
    sb_bio_let_go(conn->in, NULL, 0);
    return len;
}

/* Is the next header known? It is taken only as far as it was before. */
static int
know_header(sb_conn *conn)
{
    ssize_t n;

    if (conn->header_len > 0)
        return conn->header_len == HEADER_LEN;
    if (conn->peeked)
        return 1;
    if (conn->fd < 0) {
        if (!conn->emptied)
            look(conn, NULL, 0);
        return conn->peeked;
    }
    if (!has_arrived(conn, HEADER_LEN))
        return 0;
    do
        n = recv(conn->fd, conn->header, HEADER_LEN, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    conn->peeked = n == HEADER_LEN;
    return conn->peeked;
}

/* May OpenSSL begin another record although this call has bytes to deliver already? */
static int
may_begin_record(sb_conn *conn)
{
    size_t body, extra = 16; /* the least that TLS 1.2 adds: a tag, or a nonce and half a tag */

    if (conn->kernel_decrypts) /* it shows no headers */
        return 0;
    if (conn->message) /* if what is called then raises, the bytes are lost */
        return 0;
    if (!know_header(conn) || conn->header[0] != SSL3_RT_APPLICATION_DATA)
        return 0;
    body = body_length(conn->header);
    if (conn->header_len > 0 ? conn->emptied : !has_arrived(conn, HEADER_LEN + body))
        return 0;
    if (SSL_version(conn->ssl) == TLS1_3_VERSION) {
        if (body == ALERT_13_LEN || body == ALERT_13_CCM8_LEN)
            return 0;
        extra = 9; /* half a tag and the inner content type */
    }
    body -= body < extra ? body : extra;
    return (body < PLAIN_MAX ? body : PLAIN_MAX) <= conn->room;
}

/* Behind what this call has delivered only a record that may_begin_record() has seen. */
static int
may_look(const sb_conn *conn)
{
    return conn->fd < 0 && conn->header_len == 0 && (conn->delivered == 0 || conn->peeked);
}

/* Learn the next header. What header_len says of it is taken, all or nothing. */
static int
get_header(sb_conn *conn)
{
    int n;

    if (conn->delivered > 0)
        return may_begin_record(conn) ? HEADER_LEN : -1;
    if (conn->peeked)
        return HEADER_LEN;
    while (conn->header_len < HEADER_LEN) {
        n = take(conn, (char *)conn->header + conn->header_len, HEADER_LEN - conn->header_len);
        if (n <= 0)
            return n;
        conn->header_len += (size_t)n;
    }
    return HEADER_LEN;
}

/* Hand over the rest of a record, or what there is of it. More of the buffer is free. */
static int
read_rest(sb_conn *conn, char *buf, size_t len, size_t cap)
{
    int n;

    if (len > conn->record_left)
        len = conn->record_left;
    n = take_rest(conn, buf, len, cap);
    if (n <= 0)
        return n;
    conn->peeked = 0;
    conn->record_left -= (size_t)n;
    return n;
}

/* Hand over a header, of data with the body, as far as that is there. Without any of it the header
 * stays here, for OpenSSL would ask again at once. */
static int
read_record(sb_conn *conn, char *buf, size_t len)
{
    size_t body, taken, wanted;
    int n;

    if (may_look(conn) && (n = (int)look(conn, buf, len)) > 0) {
        conn->peeked = 0;
        return n;
    }
    if ((n = get_header(conn)) <= 0)
        return n;
    taken = conn->header_len;
    body = body_length(conn->header);
    conn->is_data = conn->header[0] == SSL3_RT_APPLICATION_DATA && !conn->in_handshake;
    wanted = HEADER_LEN - taken + (conn->is_data && len >= HEADER_LEN + body ? body : 0);
    memcpy(buf, conn->header, taken);
    conn->header_len = 0;
    conn->record_left = HEADER_LEN - taken + body;
    if (wanted == 0)
        return HEADER_LEN;
    if ((n = read_rest(conn, buf + taken, wanted, len - taken)) > 0)
        return (int)taken + n;
    conn->header_len = taken;
    conn->record_left = 0;
    return n;
}

int
sb_transport_read(BIO *bio, char *buf, int len)
{
    sb_conn *conn = BIO_get_data(bio);
    int n;

    BIO_clear_retry_flags(bio);
    if (refuse_closed(conn))
        n = -1;
    else if (conn->record_left > 0)
        n = len > 0 ? read_rest(conn, buf, (size_t)len, (size_t)len) : 0;
    else
        n = len >= HEADER_LEN ? read_record(conn, buf, (size_t)len) : 0; /* never less */
    if (n <= 0)
        sb_conn_look(conn);
    if (n < 0 && conn->io_errno == 0)
        BIO_set_retry_read(bio);
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
        conn->moved = 1;
    else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        conn->io_errno = errno;
    return (int)n;
}

__attribute__((noinline)) static int
send_unsent(sb_conn *conn)
{
    int n;

    while (conn->unsent_pos < conn->unsent_len) {
        n = send_some(conn, conn->unsent + conn->unsent_pos, conn->unsent_len - conn->unsent_pos);
        if (n < 0)
            return 0;
        conn->unsent_pos += (size_t)n;
    }
    conn->unsent_pos = conn->unsent_len = 0;
    return 1;
}

/* Send what waits. Returns 1: nothing is left. */
static int
flush(sb_conn *conn)
{
    return conn->unsent_len == 0 || send_unsent(conn);
}

/* What flush() could not send: whether it will, or why not. */
SB_COLD static int
blocked(sb_conn *conn, sb_error *err)
{
    sb_conn_look(conn); /* no failure leaves an error for those who do not look */
    return conn->io_errno != 0 ? SB_FAIL_ERRNO(err, conn->io_errno) : SB_WANT_WRITE;
}

static int
keep_unsent(sb_conn *conn, const char *buf, size_t len)
{
    size_t needed = conn->unsent_len + len;
    size_t cap = conn->collect ? SB_BATCH + SB_BATCH / PLAIN_MAX * RECORD_EXTRA : RECORD_MAX;
    char *moved;

    if (needed > conn->unsent_cap) {
        while (cap < needed)
            cap *= 2;
        if ((moved = realloc(conn->unsent, cap)) == NULL) {
            conn->io_errno = ENOMEM;
            return 0;
        }
        conn->unsent = moved;
        conn->unsent_cap = cap;
    }
    memcpy(conn->unsent + conn->unsent_len, buf, len);
    conn->unsent_len = needed;
    return 1;
}

/* OpenSSL answers an end without close_notify by an alert (RFC 8446 6.1). Whoever reads is to learn
 * of the end, not that nobody was there to hear of that: with AF_UNIX it is EPIPE, which from 3.2
 * on is OpenSSL's newest error. */
SB_COLD static int
refused(sb_conn *conn, int len)
{
    if (!conn->at_eof)
        return -1;
    conn->io_errno = 0;
    return len;
}

static int
write_to_memory(sb_conn *conn, const char *buf, int len)
{
    if (conn->sink != NULL ? conn->sink->take(conn->sink, buf, (size_t)len)
                           : sb_bio_write(conn->out, buf, (size_t)len) == SB_OK)
        return len;
    conn->sink = NULL;
    if (conn->out->around == NULL) /* else OpenSSL has said why */
        conn->io_errno = ENOMEM;
    return -1;
}

__attribute__((noinline)) static int
write_to_socket(BIO *bio, sb_conn *conn, const char *buf, int len)
{
    int n = 0;

    if (!conn->collect && conn->unsent_len > UNSENT_MAX) {
        BIO_set_retry_write(bio); /* a peer that makes us answer but never reads */
        return -1;
    }
    if (!conn->collect && conn->unsent_len == 0) {
        n = send_some(conn, buf, (size_t)len);
        if (n < 0 && conn->io_errno != 0)
            return refused(conn, len);
        if (n < 0)
            n = 0;
    }
    if (n < len && !keep_unsent(conn, buf + n, (size_t)(len - n)))
        return -1;
    return len;
}

int
sb_transport_write(BIO *bio, const char *buf, int len)
{
    sb_conn *conn = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (refuse_closed(conn))
        return -1;
    if (len <= 0)
        return 0;
    return conn->fd < 0 ? write_to_memory(conn, buf, len) : write_to_socket(bio, conn, buf, len);
}

/* ---------------------------------------------------------------- the transport's BIO */

static long
transport_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    switch (command) { /* often, for other things than these two */
    case BIO_CTRL_FLUSH: /* nothing waits here: see sb_transport_write() */
        return 1;
    case BIO_CTRL_EOF:
        return ((sb_conn *)BIO_get_data(bio))->at_eof;
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
    BIO_meth_set_read(method, sb_transport_read);
    BIO_meth_set_write(method, sb_transport_write);
    BIO_meth_set_ctrl(method, transport_ctrl);
}

BIO_METHOD *
sb_transport_method(void)
{
    pthread_once(&method_once, make_method);
    return method;
}

/* ---------------------------------------------------------------- turns */

/* In a child process the threads that were in here are gone, with what they had begun; but not the
 * one that forked, should it have done so in a callback of a turn, which goes on there as well.
 * A turn that does not has left OpenSSL amidst its work, and it would take the next write for the
 * rest of another's: that SSL is given up, with its memory. */
void
sb_conn_begin_in_child(sb_conn *conn)
{
    const uintptr_t forker = sb_forker();
    int goes_on = conn->in_turn && atomic_load(&conn->lock.holder) == forker;

    sb_lock_after_fork(&conn->lock, goes_on);
    sb_cond_init(&conn->changed);
    conn->sleepers = conn->read_watched = conn->write_watched = 0;
    if (conn->writing && conn->writer != forker)
        conn->written = 0; /* of bytes that only that thread had */
    if ((conn->torn |= conn->in_turn && !goes_on && !conn->paused))
        conn->ssl = NULL;
    conn->in_turn = conn->users = goes_on;
    conn->writing = conn->paused = 0;
    conn->held = NULL;
    conn->sink = NULL;
    sb_generation_done(&conn->generation);
}

static void
lock(sb_conn *conn)
{
    sb_conn_go_on(conn);
    sb_lock_take(&conn->lock);
}

static void
unlock(sb_conn *conn)
{
    sb_lock_give(&conn->lock);
}

/* A turn has ended, or what others wait for has changed. */
SB_COLD static void
wake_sleepers(sb_conn *conn)
{
    if (conn->sleepers > 0)
        sb_lock_broadcast(&conn->lock, &conn->changed);
}

/* Sleep, with the lock given back, until that happens, or for ns nanoseconds. Returns 0 then. */
SB_COLD static int
sleep_unlocked(sb_conn *conn, int64_t ns)
{
    int woken;

    conn->sleepers++;
    woken = sb_lock_sleep(&conn->lock, &conn->changed, ns);
    conn->sleepers--;
    return woken;
}

SB_COLD static int
refuse_gone(const sb_conn *conn, sb_error *err)
{
    if (conn->torn)
        return SB_FAIL(err, SB_BAD_ARG, "another thread was using it when the process forked");
    return SB_FAIL(err, SB_CLOSED, "the connection is closed");
}

static inline int
enter(sb_conn *conn, sb_error *err)
{
    lock(conn);
    if (conn->ssl == NULL) {
        unlock(conn);
        return refuse_gone(conn, err);
    }
    conn->users++;
    return SB_OK;
}

SB_COLD static void
release(sb_conn *conn)
{
    SSL *ssl = conn->ssl;

    conn->ssl = NULL;
    unlock(conn);
    sb_free_ssl(ssl);
}

static inline void
leave(sb_conn *conn)
{
    if (--conn->users == 0 && conn->closed && conn->release)
        release(conn);
    else
        unlock(conn);
}

int
sb_conn_enter(sb_conn *conn, sb_error *err)
{
    return enter(conn, err);
}

void
sb_conn_leave(sb_conn *conn)
{
    leave(conn);
}

/* One try at the operation; > 0 or SB_OK when it is done. */
typedef int step_fn(sb_conn *conn, void *arg, sb_error *err);

/* The ephemeral keys of TLS 1.3 are of no use after the handshake, and to be erased (RFC 8446 7.1);
 * OpenSSL keeps them as long as the connection, 7 KB of an ML-KEM. To those that a client offered
 * and the server did not choose, no function leads. See: EVP_PKEY_set_type(3). */
static void
erase_keys(SSL *ssl)
{
    EVP_PKEY *own = NULL, *of_peer = NULL;

    if (SSL_get_tmp_key(ssl, &own))
        EVP_PKEY_set_type(own, EVP_PKEY_X25519);
    if (SSL_get_peer_tmp_key(ssl, &of_peer))
        EVP_PKEY_set_type(of_peer, EVP_PKEY_X25519);
    EVP_PKEY_free(own);
    EVP_PKEY_free(of_peer);
}

SB_COLD static void
end_handshake(SSL *ssl)
{
    if (SSL_version(ssl) == TLS1_3_VERSION)
        erase_keys(ssl);
    sb_clear_queue(); /* what has gone well may have raised some, too */
}

/* Handshakes read the context all along, so it may not change under them; data does not. */
SB_COLD static void
begin_unsettled(sb_conn *conn)
{
    if ((conn->in_handshake = SSL_in_init(conn->ssl)))
        sb_conn_hold_ctx(conn);
    if (conn->in_handshake || conn->course == SB_WARY) {
        sb_conn_look(conn);
    } else {
        SSL_set_info_callback(conn->ssl, sb_on_progress);
        conn->course = SB_SETTLED;
    }
}

static int
turn(sb_conn *conn, step_fn *step, void *arg, sb_error *err)
{
    int status;

    if (conn->closed)
        return SB_FAIL(err, SB_CLOSED, "the connection is closed");
    conn->io_errno = conn->at_eof = conn->moved = 0;
    conn->unlooked = 1;
    if (conn->course != SB_SETTLED)
        begin_unsettled(conn);
    status = step(conn, arg, err);
    if (conn->held != NULL)
        sb_conn_let_go_ctx(conn);
    if (conn->in_handshake && SSL_is_init_finished(conn->ssl))
        end_handshake(conn->ssl);
    conn->delivered = 0;
    conn->room = 0;
    conn->peeked = 0;
    conn->emptied = 0;
    conn->arrived = 0;
    if (conn->unsent != NULL && conn->unsent_len == 0) {
        free(conn->unsent);
        conn->unsent = NULL;
        conn->unsent_cap = 0;
    }
    return status;
}

int64_t
sb_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * SECOND + ts.tv_nsec;
}

/* What an interrupted operation returns is this less the nanoseconds that are left, or less
 * NO_LIMIT; it comes back as the timeout. No address and no timeout is so far from zero. */
const long long sb_again = -(1LL << 62);
static const int64_t NO_LIMIT = 1LL << 61;

static int
is_resumed(double timeout)
{
    return timeout <= (double)sb_again;
}

/* INT64_MAX: no limit. */
static int64_t
deadline_after(double timeout)
{
    if (is_resumed(timeout)) {
        timeout = (double)sb_again - timeout;
        return timeout < (double)NO_LIMIT ? sb_now_ns() + (int64_t)timeout : INT64_MAX;
    }
    /* A limit of thirty years is none, and nanoseconds overflow at three hundred. */
    return timeout < 0 || timeout > 1e9 ? INT64_MAX : sb_now_ns() + (int64_t)(timeout * 1e9);
}

SB_COLD static int
interrupted(int64_t deadline, sb_error *err)
{
    int64_t left = deadline == INT64_MAX ? NO_LIMIT : deadline - sb_now_ns();

    err->again = sb_again - (left > 0 ? left : 0);
    return SB_INTERRUPTED;
}

/* Wait in poll(2), with the lock released. A signal that came just before, or to another thread,
 * does not interrupt it: so no wait is long, and the first, of a call that may have been busy
 * encrypting, is short, for Python to look. */
static int
poll_socket(sb_conn *conn, short events, int64_t deadline, int64_t left, int first, sb_error *err)
{
    const int slice_ms = first ? 50 : 1000;
    struct pollfd pfd = {conn->fd, events, 0};
    int ms = slice_ms, n, failure;

    if (left < (int64_t)slice_ms * 1000000)
        ms = (int)((left + 999999) / 1000000);
    unlock(conn);
    n = poll(&pfd, 1, ms);
    failure = errno;
    sb_lock_take(&conn->lock);
    if (n == 0 && ms == slice_ms)
        return interrupted(deadline, err);
    if (n >= 0)
        return SB_OK; /* in time or not: the next turn, and then wait_for(), find out */
    return failure == EINTR ? interrupted(deadline, err) : SB_FAIL_ERRNO(err, failure);
}

/* Sleep until another thread's turn has ended; from time to time Python must look for signals. */
SB_COLD static int
sleep_until_changed(sb_conn *conn, int64_t deadline, int64_t left, sb_error *err)
{
    const int64_t slice = 50 * 1000000;

    return sleep_unlocked(conn, left < slice ? left : slice) ? SB_OK : interrupted(deadline, err);
}

/* Wait for what the last turn wanted. In each direction one thread watches the socket; the
 * others take a turn after each of its turns, for what it read may have been for them too: data
 * it had no room for, the end of the handshake, the peer's close_notify. */
SB_COLD static int
wait_for(sb_conn *conn, int want, int64_t deadline, int first, sb_error *err)
{
    int64_t left = deadline == INT64_MAX ? INT64_MAX : deadline - sb_now_ns();
    int *watched = want == SB_WANT_READ ? &conn->read_watched : &conn->write_watched;
    short events = want == SB_WANT_READ ? POLLIN : POLLOUT;
    int status;

    if (left <= 0) {
        SB_FAIL(err, SB_TIMEOUT, "timed out");
        err->want = want == SB_WANT_READ ? SB_WANT_READ : SB_WANT_WRITE;
        return SB_TIMEOUT;
    }
    if (conn->closed)
        return SB_OK; /* by a callback; the next turn says so */
    if (want == BUSY || *watched)
        return sleep_until_changed(conn, deadline, left, err);
    if (conn->unsent != NULL)
        events |= POLLOUT;
    *watched = 1;
    status = poll_socket(conn, events, deadline, left, first, err);
    *watched = 0;
    if (status != SB_OK) /* one of the sleepers has to watch from now on */
        wake_sleepers(conn);
    return status;
}

static int
is_done(int status)
{
    return status != SB_WANT_READ && status != SB_WANT_WRITE && status != BUSY;
}

static int
announced_turn(sb_conn *conn, step_fn *step, void *arg, sb_error *err)
{
    int status;

    conn->in_turn = 1;
    status = turn(conn, step, arg, err);
    conn->in_turn = 0;
    if (conn->sleepers > 0 && (is_done(status) || conn->moved))
        wake_sleepers(conn);
    return status;
}

__attribute__((noinline)) static int /* gcc would split it, for 15 instructions more */
run(sb_conn *conn, step_fn *step, void *arg, double timeout, sb_error *err)
{
    int64_t deadline = 0;
    int status;

    if ((status = enter(conn, err)) != SB_OK)
        return status;
    if (conn->in_turn) {
        leave(conn);
        return SB_FAIL(err, SB_BAD_ARG, "not allowed in a callback of the same connection");
    }
    do {
        status = announced_turn(conn, step, arg, err);
        if (is_done(status))
            break;
        if (status == BUSY && conn->fd < 0) {
            /* Pumped, and between two batches: the writer comes back, no event would tell. */
            status = sleep_until_changed(conn, INT64_MAX, INT64_MAX, err);
            continue;
        }
        if (timeout == 0 || conn->fd < 0) {
            /* The peer may be waiting for what is unsent; unless the caller has a write to
             * repeat, nothing else would tell it to come back. */
            if (status == BUSY || (conn->unsent != NULL && conn->written == 0))
                status = SB_WANT_WRITE;
            break;
        }
        if (deadline == 0)
            deadline = deadline_after(timeout);
        status = wait_for(conn, status, deadline, !is_resumed(timeout), err);
    } while (status == SB_OK);
    leave(conn);
    return status;
}

/* Enter it, without waiting for anybody, for a turn that will be over soon. The caller has the GIL,
 * and cffi, which calls Python back, would wait for that in a subinterpreter. */
static int
enter_quickly(sb_conn *conn)
{
    if (conn->fd >= 0 || !sb_is_generation(&conn->generation) || !sb_lock_try(&conn->lock))
        return 0;
    if (conn->ssl != NULL && !conn->in_turn && !conn->writing && !conn->message &&
        (conn->course == SB_SETTLED || !SSL_in_init(conn->ssl))) {
        conn->users++;
        return 1;
    }
    unlock(conn);
    return 0;
}

/* A client that closes right after the handshake leaves the server's TLS 1.3 tickets unread, and
 * the kernel answers unread bytes with a reset, which may cost the server what we sent it
 * (RFC 1122 4.2.2.13). Nobody will miss the tickets. */
static void
drop_tickets(sb_conn *conn)
{
    char sink[4096], type[64]; /* without room for a type, ktls.c's kernel gives data only */
    struct iovec part = {sink, sizeof sink};
    struct msghdr message = {0};
    int i;

    if (conn->fd < 0 || conn->is_server || conn->has_read || conn->ssl == NULL ||
        !SSL_is_init_finished(conn->ssl) || SSL_version(conn->ssl) != TLS1_3_VERSION)
        return;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = type;
    message.msg_controllen = sizeof type;
    for (i = 0; i < 4 && recvmsg(conn->fd, &message, MSG_DONTWAIT) > 0; i++)
        message.msg_controllen = sizeof type;
}

/* A thread in poll(2) must be out of it before the descriptor's number can be used again, and
 * is: the end of the connection wakes it. A process that has forked since may share the socket
 * with its child, and closes no more than its own descriptor. */
void
sb_conn_close(sb_conn *conn, int end, int release)
{
    int64_t limit = sb_now_ns() + SECOND; /* a transport may not wake: that must not hang us */

    lock(conn);
    conn->users++;
    end = end && !conn->in_turn && conn->forks == sb_forks();
    if (end && !conn->closed)
        drop_tickets(conn);
    conn->closed = 1;
    conn->release |= release;
    wake_sleepers(conn);
    if (end && (conn->read_watched || conn->write_watched)) {
        shutdown(conn->fd, SHUT_RDWR);
        while ((conn->read_watched || conn->write_watched) && sb_now_ns() < limit)
            sleep_unlocked(conn, limit - sb_now_ns());
    }
    sb_conn_leave(conn);
}

/* ---------------------------------------------------------------- the operations */

static sb_error no_memory = {.status = SB_NO_MEMORY};

void
sb_error_free(sb_error *err)
{
    if (err != &no_memory)
        free(err);
}

SB_COLD static sb_error *
keep_error(int status, const sb_error *err)
{
    sb_error *kept = malloc(sizeof *kept);

    if (kept == NULL)
        return &no_memory;
    *kept = *err;
    kept->status = status;
    return kept;
}

/* The operations bring their status home as one number: see api.h. An address may have its highest
 * bit set (half of those of 32 bits do, and tagged ones), and must not turn into a count by that,
 * nor into sb_again: a quarter of it does not, and loses nothing. */
static long long
result(int status, size_t count, const sb_error *err)
{
    if (status == SB_OK)
        return (long long)count;
    if (status == SB_WANT_READ || status == SB_WANT_WRITE)
        return status;
    if (status == SB_INTERRUPTED)
        return err->again;
    return -(long long)((uintptr_t)keep_error(status, err) / 4);
}

static int
handshake_step(sb_conn *conn, void *arg, sb_error *err)
{
    int ret;

    (void)arg;
    if (!flush(conn))
        return blocked(conn, err);
    if ((ret = SSL_do_handshake(conn->ssl)) != 1)
        return sb_classify(conn, ret, err, __LINE__);
    return flush(conn) ? SB_OK : blocked(conn, err);
}

long long
sb_conn_handshake(sb_conn *conn, double timeout)
{
    sb_error err;
    int status = run(conn, handshake_step, NULL, timeout, &err);

    return result(status, 0, &err);
}

typedef struct read_args {
    char *buf;
    size_t cap;
    size_t done;
} read_args;

/* A failure behind data that is delivered: the next read meets it. */
static int
postpone(sb_conn *conn, int status, const sb_error *err)
{
    if (status != SB_WANT_READ && status != SB_WANT_WRITE)
        conn->late = keep_error(status, err);
    return SB_OK;
}

static int
read_records(sb_conn *conn, read_args *args, sb_error *err)
{
    size_t n;
    int ret, status, flush_errno = 0;

    if (conn->late != NULL) {
        *err = *conn->late;
        sb_error_free(conn->late);
        conn->late = NULL;
        return err->status;
    }
    if (!flush(conn) && conn->io_errno != 0) { /* it can never go, but what came may be read */
        flush_errno = conn->io_errno;
        conn->io_errno = 0;
        conn->unsent_pos = conn->unsent_len = 0;
    }
    conn->room = args->cap;
    do {
        ret = SSL_read_ex(conn->ssl, args->buf + args->done, args->cap - args->done, &n);
        if (ret != 1) {
            status = sb_classify(conn, ret, err, __LINE__);
            if (status == SB_ABRUPT_EOF && flush_errno != 0)
                status = SB_FAIL_ERRNO(err, flush_errno); /* a reset is no end of the data */
            return args->done > 0 ? postpone(conn, status, err) : status;
        }
        conn->has_read = 1;
        conn->delivered = args->done += n;
        conn->room = args->cap - args->done;
    } while (conn->room > 0 && may_begin_record(conn));
    return SB_OK;
}

/* The session tickets before a server's first data make OpenSSL's client allocate a buffer to write
 * from as well, 16 KiB, which it keeps until it writes: see SSL_free_buffers(3). Never amidst a
 * record (CVE-2024-4741), nor after a failure. */
static void
give_buffers_back(sb_conn *conn)
{
    if (conn->record_left == 0 && !SSL_in_init(conn->ssl) && !SSL_has_pending(conn->ssl) &&
        SSL_free_buffers(conn->ssl))
        conn->may_keep_buffers = !conn->has_read;
}

static int
read_step(sb_conn *conn, void *arg, sb_error *err)
{
    int status = read_records(conn, arg, err);

    if (conn->may_keep_buffers && conn->late == NULL && (status == SB_OK || status == SB_WANT_READ))
        give_buffers_back(conn);
    return status;
}

long long
sb_conn_read(sb_conn *conn, char *buf, size_t cap, double timeout)
{
    read_args args = {buf, cap, 0};
    sb_error err;
    int status = run(conn, read_step, &args, timeout, &err);

    return result(status, args.done, &err);
}

int
sb_conn_read_quickly(sb_conn *conn, char *buf, size_t cap, long long *count)
{
    read_args args = {buf, cap, 0};
    sb_error err;
    int status;

    if (conn->fd >= 0 || sb_bio_pending(conn->in) > QUICK || !enter_quickly(conn))
        return 0;
    status = announced_turn(conn, read_step, &args, &err);
    sb_conn_leave(conn);
    *count = result(status, args.done, &err);
    return 1;
}

typedef struct write_args {
    const char *buf;
    size_t len;
    int is_writer; /* this call has its turn among the threads that write */
} write_args;

static uintptr_t
this_thread(const sb_conn *conn)
{
    return atomic_load_explicit(&conn->lock.holder, memory_order_relaxed);
}

static int
is_own_write(const sb_conn *conn)
{
    return conn->writing && conn->writer == this_thread(conn);
}

/* One thread at a time. Returns SB_OK, or BUSY. */
static int
claim_writing(sb_conn *conn, int *is_writer, sb_error *err)
{
    if (conn->writing && !*is_writer) {
        if (!is_own_write(conn))
            return BUSY;
        conn->refused++;
        return SB_FAIL(err, SB_BAD_ARG, "a signal handler cannot write while a write goes on");
    }
    if (!*is_writer)
        conn->refused = 0;
    conn->writing = *is_writer = 1;
    conn->writer = this_thread(conn);
    return SB_OK;
}

size_t
sb_encrypted_length(size_t len)
{
    return len + (len / PLAIN_MAX + 1) * RECORD_EXTRA;
}

/* Encrypt so much of what is left, and send it. */
static int
write_some(sb_conn *conn, const write_args *args, size_t len, sb_error *err)
{
    size_t n;
    int ret = SSL_write_ex(conn->ssl, args->buf + conn->written, len, &n);

    conn->collect = 0;
    if (ret != 1) {
        ret = conn->unlooked && conn->io_errno != 0 ? SB_FAIL_ERRNO(err, conn->io_errno)
                                                    : sb_classify(conn, ret, err, __LINE__);
        flush(conn); /* the alert, or a handshake message that the answer depends on */
        return ret;
    }
    conn->written += n;
    return flush(conn) ? SB_OK : blocked(conn, err);
}

/* The sink has taken records; others may run. */
static int
pause_writing(sb_conn *conn, sb_error *err)
{
    int went_on;

    conn->paused = 1;
    went_on = conn->sink->pause(conn->sink);
    conn->paused = 0;
    if (went_on)
        return SB_OK;
    conn->sink = NULL;
    conn->written = 0; /* unlike a want, it is not repeated */
    return SB_FAIL(err, SB_NO_MEMORY, "no memory");
}

/* More than a record: batch after batch. */
__attribute__((noinline)) static int
write_batches(sb_conn *conn, const write_args *args, sb_error *err)
{
    int in_batches = conn->fd >= 0 || (conn->pumped && conn->sink == NULL);
    size_t left = args->len - conn->written;
    int status;

    if (in_batches && left > conn->batch)
        left = conn->batch;
    if (conn->fd < 0 && conn->sink == NULL)
        sb_bio_reserve(conn->out, sb_encrypted_length(left));
    for (;;) {
        left = args->len - conn->written;
        if (in_batches && left > PLAIN_MAX) {
            conn->collect = 1;
            left = left < conn->batch ? left : conn->batch;
        }
        if (conn->sink != NULL && left > HELD)
            left = HELD;
        if ((status = write_some(conn, args, left, err)) != SB_OK || conn->written == args->len)
            return status;
        if (conn->sink != NULL && (status = pause_writing(conn, err)) != SB_OK)
            return status;
        if (conn->sink == NULL && conn->pumped)
            return interrupted(INT64_MAX, err);
    }
}

SB_COLD static int
repeated_with_less(sb_error *err)
{
    int status;

    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    status = SB_FAIL_QUEUE(err);
    err->ssl_error = SSL_ERROR_SSL;
    return status;
}

static int
write_step(sb_conn *conn, void *arg, sb_error *err)
{
    write_args *args = arg;
    size_t left;
    int status;

    if ((status = claim_writing(conn, &args->is_writer, err)) != SB_OK)
        return status;
    if (!flush(conn))
        return blocked(conn, err);
    if (args->len < conn->written)
        return repeated_with_less(err);
    left = args->len - conn->written;
    status = left > PLAIN_MAX ? write_batches(conn, args, err) : write_some(conn, args, left, err);
    if (status != SB_OK)
        return status;
    conn->written = 0;
    conn->writing = args->is_writer = 0; /* run() wakes who waits for that */
    return SB_OK;
}

static void
end_writing(sb_conn *conn)
{
    lock(conn);
    if (is_own_write(conn)) {
        conn->writing = 0;
        wake_sleepers(conn);
    }
    unlock(conn);
}

/* Is a call that was interrupted the writer? It may have been waiting for its turn. */
static int
still_writing(sb_conn *conn)
{
    int is_writer;

    lock(conn);
    is_writer = is_own_write(conn);
    unlock(conn);
    return is_writer;
}

long long
sb_conn_write(sb_conn *conn, const char *buf, size_t len, double timeout)
{
    write_args args = {buf, len, 0};
    sb_error err;
    int status;

    if (is_resumed(timeout))
        args.is_writer = still_writing(conn);
    status = run(conn, write_step, &args, timeout, &err);
    if (status != SB_INTERRUPTED && args.is_writer)
        end_writing(conn);
    return result(status, len, &err);
}

/* Records may overtake none that wait in the connection's own buffer, where another thread can put
 * some until the lock is had. */
int
sb_conn_write_quickly(sb_conn *conn, const char *buf, size_t len, sb_sink *sink, long long *count)
{
    write_args args = {buf, len, 0};
    sb_error err;
    int status;

    if ((sink == NULL && len > QUICK) || !enter_quickly(conn))
        return 0;
    if (sink != NULL && sb_bio_pending(conn->out) > 0) {
        sb_conn_leave(conn);
        return 0;
    }
    conn->sink = sink;
    status = announced_turn(conn, write_step, &args, &err);
    conn->writing = 0;
    if (sink != NULL && conn->sink == NULL) /* it has failed, and says why itself */
        *count = 0;
    else
        *count = result(status, len, &err);
    conn->sink = NULL;
    sb_conn_leave(conn);
    return 1;
}

typedef struct sendfile_args {
    int file;
    long long offset;
    size_t size;
    int flags;
    long long sent;
    int is_writer;
} sendfile_args;

static int
sendfile_step(sb_conn *conn, void *arg, sb_error *err)
{
    sendfile_args *args = arg;
    int status;

    if ((status = claim_writing(conn, &args->is_writer, err)) != SB_OK)
        return status;
    if (conn->cut_off) /* as OpenSSL has it for the other operations */
        return SB_FAIL(err, SB_ABRUPT_EOF, "the transport has ended without close_notify");
    if (conn->kernel_encrypts && SSL_in_init(conn->ssl) &&
        (status = handshake_step(conn, NULL, err)) != SB_OK)
        return status;
    if (!flush(conn))
        return blocked(conn, err);
    args->sent = sb_ktls_sendfile(conn, args->file, args->offset, args->size, args->flags, err);
    return args->sent < 0 ? (int)args->sent : SB_OK;
}

long long
sb_conn_sendfile(sb_conn *conn, int file, long long offset, size_t size, int flags, double timeout)
{
    sendfile_args args = {file, offset, size, flags, 0, 0};
    sb_error err;
    int status;

    if (is_resumed(timeout))
        args.is_writer = still_writing(conn);
    status = run(conn, sendfile_step, &args, timeout, &err);
    if (status != SB_INTERRUPTED && args.is_writer)
        end_writing(conn);
    return result(status, (size_t)args.sent, &err);
}

/* A refused one of a signal handler, or of a callback, ends nothing: half a buffer of the write
 * below is under way, and another thread would go on in the middle of its own. */
void
sb_conn_stop_writing(sb_conn *conn)
{
    int was_refused, in_callback;

    lock(conn);
    in_callback = conn->in_turn; /* of this very thread, which has the lock */
    was_refused = !in_callback && is_own_write(conn) && conn->refused > 0;
    conn->refused -= was_refused;
    unlock(conn);
    if (!was_refused && !in_callback)
        end_writing(conn);
}

/* SSL_shutdown() answers 0 once close_notify is sent; the second call waits for the peer's.
 * It is not called more often than that, for its 0 does not say what to wait for. */
static int
shutdown_step(sb_conn *conn, void *arg, sb_error *err)
{
    int ret;

    (void)arg;
    conn->course = SB_WARY;
    sb_conn_look(conn);
    if (!flush(conn))
        return blocked(conn, err);
    if ((ret = SSL_shutdown(conn->ssl)) == 0)
        ret = SSL_shutdown(conn->ssl);
    if (ret < 0)
        return sb_classify(conn, ret, err, __LINE__);
    return flush(conn) ? SB_OK : blocked(conn, err);
}

long long
sb_conn_shutdown(sb_conn *conn, double timeout)
{
    sb_error err;
    int status = run(conn, shutdown_step, NULL, timeout, &err);

    return result(status, 0, &err);
}
