#include "harness.h"

#include "upcalls.h"

#include <stdio.h>
#include <stdlib.h>

const char *directory;

void
require_at(int ok, const char *what, const sb_error *err, const char *file, int line)
{
    if (ok)
        return;
    fprintf(stderr, "%s:%d: %s: %s (line %d, errno %d)\n", file, line, what,
            err != NULL ? err->text : "", err != NULL ? err->line : 0,
            err != NULL ? err->errno_value : 0);
    exit(1);
}

const char *
in_directory(const char *name, char out[512])
{
    snprintf(out, 512, "%s/%s", directory, name);
    return out;
}

/* ---------------------------------------------------------------- operations */

/* What Python does with the result of an operation. */
static long long
unpack(long long result, sb_error *err)
{
    sb_error *kept;

    if (result > -SB_PLAIN)
        return result;
    kept = (sb_error *)((uintptr_t)-result * 4);
    *err = *kept;
    sb_error_free(kept);
    return err->status;
}

static long long
repeat(long long (*call)(sb_conn *, double), sb_conn *conn, double timeout, sb_error *err)
{
    long long status = call(conn, timeout);

    while (status <= sb_again)
        status = call(conn, (double)status);
    return unpack(status, err);
}

long long
handshake(sb_conn *conn, double timeout, sb_error *err)
{
    return repeat(sb_conn_handshake, conn, timeout, err);
}

long long
end(sb_conn *conn, double timeout, sb_error *err)
{
    return repeat(sb_conn_shutdown, conn, timeout, err);
}

long long
read_some(sb_conn *conn, char *buf, size_t cap, double timeout, sb_error *err)
{
    long long n = sb_conn_read(conn, buf, cap, timeout);

    while (n <= sb_again)
        n = sb_conn_read(conn, buf, cap, (double)n);
    return unpack(n, err);
}

long long
write_all(sb_conn *conn, const char *buf, size_t len, double timeout, sb_error *err)
{
    long long n = sb_conn_write(conn, buf, len, timeout);

    while (n <= sb_again)
        n = sb_conn_write(conn, buf, len, (double)n);
    return unpack(n, err);
}

/* ---------------------------------------------------------------- what stands for Python */

int (*on_sni)(void *handle);

int
sb_py_sni(void *handle, const char *name)
{
    (void)name;
    return on_sni != NULL ? on_sni(handle) : -1;
}

void
sb_py_message(void *handle, int write, int version, int type, const char *buf, size_t len)
{
    (void)handle;
    (void)write;
    (void)version;
    (void)type;
    (void)buf;
    (void)len;
}

int
sb_py_password(void *handle, char *buf, int cap)
{
    (void)handle;
    (void)buf;
    (void)cap;
    return -1;
}

unsigned int
sb_py_psk_client(void *handle, const char *hint, char *identity, unsigned int id_cap, char *psk,
                 unsigned int cap)
{
    (void)handle;
    (void)hint;
    (void)identity;
    (void)id_cap;
    (void)psk;
    (void)cap;
    return 0;
}

unsigned int
sb_py_psk_server(void *handle, const char *identity, char *psk, unsigned int cap)
{
    (void)handle;
    (void)identity;
    (void)psk;
    (void)cap;
    return 0;
}
