/* Kernel TLS: the way of records when the kernel is to encrypt or decrypt them.
 *
 * OpenSSL hands its keys to the kernel through its own socket BIO, in structures that are no
 * part of its interface. So a connection with OP_ENABLE_KTLS has such a BIO below the transport
 * of io.c, and all that OpenSSL asks of the transport beyond reading and writing goes there.
 * Until the kernel takes the keys of a direction, and for good if it does not (no `tls` module,
 * a cipher it lacks, a Unix socket, a transport that is full at that moment), that direction
 * goes the way it always goes.
 *
 * When the kernel encrypts, what OpenSSL writes is plaintext. Data goes the usual way still, and
 * may wait in `unsent`. Of any other record OpenSSL tells the socket BIO the type, right before
 * it writes it; then that BIO has to write it, once `unsent` is empty.
 *
 * When the kernel decrypts, the socket BIO reads. The kernel shows no header of a record before
 * it gives the record, so a read ends with the first one.
 *
 * The socket BIO and sendfile(2) know no MSG_DONTWAIT. So the descriptor is O_NONBLOCK for the
 * moment of the call, under the connection's lock, and then as it was: the flag belongs to the
 * Python socket, and to all who share it. If a thread sets the socket's timeout in that very
 * moment, the flag may be wrong afterwards, which no operation over TLS notices.
 *
 * A connection that the kernel encrypts stays so until it is closed: after close_notify the
 * socket is no plain one again.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#if SB_HAVE_KTLS

/* Returns the descriptor's flags, for end_moment(). */
static int
begin_moment(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0 && !(flags & O_NONBLOCK))
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    return flags;
}

static void
end_moment(int fd, int flags)
{
    if (flags >= 0 && !(flags & O_NONBLOCK))
        (void)fcntl(fd, F_SETFL, flags);
}

static int
is_again(int failure)
{
    return failure == EAGAIN || failure == EWOULDBLOCK || failure == EINTR;
}

/* The result of a call of the socket BIO, as io.c keeps it. Returns 1: try again later. */
static int
outcome(sb_conn *conn, int n, int failure)
{
    if (n > 0)
        conn->moved = 1;
    else if (n == 0)
        conn->at_eof = 1;
    else if (is_again(failure))
        return 1;
    else
        conn->io_errno = failure;
    return 0;
}

/* As in io.c: the descriptor can be anybody's by now. */
static int
refuse_closed(sb_conn *conn)
{
    if (conn->closed)
        conn->io_errno = EBADF;
    return conn->closed;
}

/* To poll(2) a record's beginning is something to read, which recvmsg(2) then does not give. So
 * after each such try it has to wait for more than there is; a whole record is reported anyway. */
static void
set_mark(sb_conn *conn, int bytes)
{
    if (bytes != conn->kernel_mark &&
        setsockopt(conn->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes) == 0)
        conn->kernel_mark = bytes;
}

static int
kernel_read(BIO *bio, char *buf, int len)
{
    sb_conn *conn = BIO_get_data(bio);
    int n, flags, failure, waiting = 0;

    if (!conn->kernel_decrypts)
        return sb_transport_read(bio, buf, len);
    BIO_clear_retry_flags(bio);
    if (refuse_closed(conn))
        return -1;
    flags = begin_moment(conn->fd);
    n = BIO_read(conn->kernel, buf, len);
    failure = errno;
    end_moment(conn->fd, flags);
    if (outcome(conn, n, failure)) {
        BIO_set_retry_read(bio);
        (void)ioctl(conn->fd, FIONREAD, &waiting);
    }
    set_mark(conn, waiting + 1);
    errno = failure; /* the record layer learns from it what is wrong with a record */
    return n;
}

static int
kernel_write(BIO *bio, const char *buf, int len)
{
    sb_conn *conn = BIO_get_data(bio);
    int n, flags, failure;

    if (!conn->kernel_was_told)
        return sb_transport_write(bio, buf, len);
    BIO_clear_retry_flags(bio);
    if (refuse_closed(conn))
        return -1;
    if (conn->unsent_len > 0) {
        BIO_set_retry_write(bio);
        return -1;
    }
    flags = begin_moment(conn->fd);
    n = BIO_write(conn->kernel, buf, len);
    failure = errno;
    end_moment(conn->fd, flags);
    if (outcome(conn, n, failure))
        BIO_set_retry_write(bio);
    if (n > 0)
        conn->kernel_was_told = 0;
    return n;
}

static long
kernel_ctrl(BIO *bio, int command, long number, void *pointer)
{
    sb_conn *conn = BIO_get_data(bio);
    long ret;

    switch (command) {
    case BIO_CTRL_FLUSH: /* as of transport_ctrl() */
        return 1;
    case BIO_CTRL_EOF:
        return conn->at_eof;
    case BIO_CTRL_PUSH:
    case BIO_CTRL_POP:
        return 0;
    case BIO_CTRL_GET_KTLS_SEND:
        return conn->kernel_encrypts;
    case BIO_CTRL_GET_KTLS_RECV:
        return conn->kernel_decrypts;
    default:
        break;
    }
    conn->kernel_was_told = conn->kernel_encrypts;
    /* What we have encrypted ourselves must be gone before the kernel begins. */
    if (conn->closed || (conn->unsent_len > 0 && !conn->kernel_encrypts))
        return 0;
    /* Not when the connection was made, for the kernel wants to see it connected. */
    if (BIO_get_fd(conn->kernel, NULL) < 0)
        BIO_set_fd(conn->kernel, conn->fd, BIO_NOCLOSE);
    ret = BIO_ctrl(conn->kernel, command, number, pointer);
    conn->kernel_encrypts = BIO_get_ktls_send(conn->kernel);
    conn->kernel_decrypts = BIO_get_ktls_recv(conn->kernel);
    return ret;
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void
make_method(void)
{
    if ((method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sslbind ktls")) == NULL)
        return;
    BIO_meth_set_read(method, kernel_read);
    BIO_meth_set_write(method, kernel_write);
    BIO_meth_set_ctrl(method, kernel_ctrl);
}

/* SSL_sendfile() looks for its descriptor along the chain, and finds the socket BIO's. */
BIO *
sb_ktls_transport(sb_conn *conn)
{
    BIO *bio;

    pthread_once(&method_once, make_method);
    if (method == NULL || (bio = BIO_new(method)) == NULL)
        return NULL;
    if ((conn->kernel = BIO_new(BIO_s_socket())) == NULL) {
        BIO_free(bio);
        return NULL;
    }
    conn->kernel_mark = 1;
    conn->course = SB_WARY; /* kernel_read() does not look */
    return BIO_push(bio, conn->kernel);
}

long long
sb_ktls_sendfile(sb_conn *conn, int file, long long offset, size_t size, int flags, sb_error *err)
{
    int borrowed, failure, status;
    long long sent;

    if (!conn->kernel_encrypts)
        return SB_FAIL(err, SB_FAILED, "Some I/O error occurred in sendfile()");
    if ((off_t)offset != offset)
        return SB_FAIL_ERRNO(err, EOVERFLOW);
    borrowed = begin_moment(conn->fd);
    errno = 0;
    sent = SSL_sendfile(conn->ssl, file, (off_t)offset, size, flags);
    failure = errno;
    end_moment(conn->fd, borrowed);
    if (sent >= 0) {
        conn->moved = sent > 0;
        return sent;
    }
    /* OpenSSL takes every failure of sendfile(2) for a lack of kernel TLS. */
    status = sb_classify(conn, -1, err, __LINE__);
    if (status == SB_FAILED && err->lib == ERR_LIB_SSL && err->reason == SSL_R_UNINITIALIZED &&
        failure != 0)
        return SB_FAIL_ERRNO(err, failure);
    return status;
}

#else

BIO *
sb_ktls_transport(sb_conn *conn)
{
    (void)conn;
    return NULL;
}

long long
sb_ktls_sendfile(sb_conn *conn, int file, long long offset, size_t size, int flags, sb_error *err)
{
    (void)conn;
    (void)file;
    (void)offset;
    (void)size;
    (void)flags;
    return SB_FAIL(err, SB_UNSUPPORTED, "sendfile() needs an OpenSSL with kernel TLS");
}

#endif
