/* The package's C part under callgrind: instructions.py builds this with it, runs it and counts.
 *
 *     instructions DIRECTORY    with server.pem (chain and key) and ca.pem, see scene.py
 *
 * Each operation is collected by itself and dumped under its name and its number of calls, so
 * what comes before it does not count. Only one thread, and nothing waits: counts are repeatable.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <valgrind/callgrind.h>

#include "upcalls.h"

enum { CALLS = 20, PIECE = 256 * 1024, PATIENCE = 60 };

static const char *directory;
static char data[PIECE];
static char got[PIECE];
static sb_error err;

static void
require_at(int ok, const char *what, int line)
{
    if (ok)
        return;
    fprintf(stderr, "instructions.c:%d: %s: %s\n", line, what, err.text);
    exit(1);
}
#define REQUIRE(ok) require_at((ok), #ok, __LINE__)

/* ---------------------------------------------------------------- connections */

typedef struct pair {
    sb_bio *up, *down;
    sb_conn *near, *far;
} pair;

static sb_ctx *client, *server;
static pair memory, sockets, fresh;

static const char *
in_directory(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

/* The numbers are CPython's: PROTOCOL_TLS_CLIENT and _SERVER, CERT_REQUIRED. */
static void
make_contexts(void)
{
    client = sb_ctx_new(16, NULL, TLS1_2_VERSION, &err);
    server = sb_ctx_new(17, NULL, TLS1_2_VERSION, &err);
    REQUIRE(client != NULL && server != NULL);
    REQUIRE(sb_ctx_load_verify(client, in_directory("ca.pem"), NULL, &err) == SB_OK);
    sb_ctx_set_verify_mode(client, 2);
    sb_ctx_set_check_hostname(client, 1);
    REQUIRE(sb_ctx_load_cert_chain(server, in_directory("server.pem"), NULL, NULL, &err) == SB_OK);
}

/* Not TCP: over loopback it is up to the kernel when a segment has arrived. */
static void
make_sockets(int fds[2])
{
    int size = 1 << 20;

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static pair
make_pair(int over_sockets)
{
    pair both = {NULL, NULL, NULL, NULL};
    int fds[2] = {-1, -1};

    if (over_sockets)
        make_sockets(fds);
    else
        REQUIRE((both.up = sb_bio_new()) != NULL && (both.down = sb_bio_new()) != NULL);
    both.near = sb_conn_new(client, 0, "localhost", fds[0], &err);
    both.far = sb_conn_new(server, 1, NULL, fds[1], &err);
    REQUIRE(both.near != NULL && both.far != NULL);
    if (!over_sockets) {
        REQUIRE(sb_conn_set_buffers(both.near, both.down, both.up) == SB_OK);
        REQUIRE(sb_conn_set_buffers(both.far, both.up, both.down) == SB_OK);
    }
    return both;
}

static void
free_pair(pair *both)
{
    sb_conn_free(both->near);
    sb_conn_free(both->far);
    sb_bio_free(both->up);
    sb_bio_free(both->down);
}

static void
shake(pair *both)
{
    long long near = SB_WANT_READ, far = SB_WANT_READ;

    while (near != SB_OK || far != SB_OK) {
        if (near != SB_OK)
            near = sb_conn_handshake(both->near, 0);
        REQUIRE(near == SB_OK || near == SB_WANT_READ);
        if (far != SB_OK)
            far = sb_conn_handshake(both->far, 0);
        REQUIRE(far == SB_OK || far == SB_WANT_READ);
    }
}

/* ---------------------------------------------------------------- operations */

static pair *current;

static void
write_some(long long len)
{
    REQUIRE(sb_conn_write(current->near, data, (size_t)len, PATIENCE) == len);
}

static long long
read_once(size_t cap, double timeout)
{
    return sb_conn_read(current->far, got, cap, timeout);
}

static void
read_some(long long len, size_t cap)
{
    long long left, n;

    for (left = len; left > 0; left -= n)
        REQUIRE((n = read_once(cap, PATIENCE)) > 0);
}

static void
write_64(void)
{
    write_some(64);
}

static void
write_16k(void)
{
    write_some(16384);
}

static void
write_256k(void)
{
    write_some(PIECE);
}

static void
read_64(void)
{
    read_some(64, 64);
}

static void
read_64_more(void)
{
    read_some(64, PIECE);
}

static void
read_16k(void)
{
    read_some(16384, 16384);
}

static void
read_256k(void)
{
    read_some(PIECE, PIECE);
}

static void
read_256k_by_16k(void)
{
    read_some(PIECE, 16384);
}

static void
read_nothing(void)
{
    REQUIRE(read_once(sizeof got, 0) == SB_WANT_READ);
}

static void
take_all(void)
{
    while (read_once(sizeof got, 0) > 0)
        ;
}

static void
make_fresh(void)
{
    free_pair(&fresh);
    fresh = make_pair(0);
}

static void
shake_fresh(void)
{
    shake(&fresh);
}

static void
peer_cert(void)
{
    sb_block block;
    sb_cert *cert;

    REQUIRE(sb_conn_peer_cert(memory.near, &cert, &block, &err) == 1);
    sb_block_clear(&block);
    REQUIRE(sb_cert_fields(&cert, 1, &block, &err) == SB_OK);
    sb_block_clear(&block);
    sb_cert_free(cert);
}

static void
new_ctx(void)
{
    sb_ctx_free(sb_ctx_new(16, NULL, TLS1_2_VERSION, &err));
}

typedef void step(void);

/* Collect `run` only; `before` makes ready what it needs, `after` clears what it left. */
static void
count(const char *name, pair *both, step *before, step *run, step *after)
{
    char title[128];

    current = both;
    for (int i = 0; i <= CALLS; i++) {
        if (before != NULL)
            before();
        if (i == 1)
            CALLGRIND_ZERO_STATS; /* the first time things are set up */
        if (i > 0)
            CALLGRIND_TOGGLE_COLLECT;
        run();
        if (i > 0)
            CALLGRIND_TOGGLE_COLLECT;
        if (after != NULL)
            after();
    }
    snprintf(title, sizeof title, "%d %s", CALLS, name);
    CALLGRIND_DUMP_STATS_AT(title);
}

static void
count_transfers(const char *where, pair *both)
{
    static const struct transfer {
        const char *name;
        step *send, *receive;
    } transfers[] = {
        {"64 read(64)", write_64, read_64},
        {"64 read(262144)", write_64, read_64_more},
        {"16384 read(16384)", write_16k, read_16k},
        {"262144 read(262144)", write_256k, read_256k},
        {"262144 read(16384)", write_256k, read_256k_by_16k},
    };
    char name[64];

    for (size_t i = 0; i < sizeof transfers / sizeof transfers[0]; i++) {
        snprintf(name, sizeof name, "%s %s", where, transfers[i].name);
        count(name, both, transfers[i].send, transfers[i].receive, NULL);
    }
    snprintf(name, sizeof name, "%s write(64)", where);
    count(name, both, NULL, write_64, take_all);
    snprintf(name, sizeof name, "%s write(16384)", where);
    count(name, both, NULL, write_16k, take_all);
    snprintf(name, sizeof name, "%s write(262144)", where);
    count(name, both, NULL, write_256k, take_all);
    snprintf(name, sizeof name, "%s read, nothing there", where);
    count(name, both, NULL, read_nothing, NULL);
}

int
main(int argc, char **argv)
{
    REQUIRE(argc == 2);
    directory = argv[1];
    make_contexts();
    memory = make_pair(0);
    sockets = make_pair(1);
    fresh = make_pair(0);
    shake(&memory);
    shake(&sockets);
    current = &memory;
    take_all();
    current = &sockets;
    take_all();
    count_transfers("memory", &memory);
    count_transfers("socket", &sockets);
    count("handshake, both ends", &fresh, make_fresh, shake_fresh, NULL);
    count("peer certificate", &memory, NULL, peer_cert, NULL);
    count("new context", &memory, NULL, new_ctx, NULL);
    return 0;
}

/* ---------------------------------------------------------------- hooks, none of which is used */

int
sb_py_sni(void *handle, const char *name)
{
    (void)handle, (void)name;
    return -1;
}

void
sb_py_message(void *handle, int write, int version, int type, const char *buf, size_t len)
{
    (void)handle, (void)write, (void)version, (void)type, (void)buf, (void)len;
}

int
sb_py_password(void *handle, char *buf, int cap)
{
    (void)handle, (void)buf, (void)cap;
    return -1;
}

unsigned int
sb_py_psk_client(void *handle, const char *hint, char *identity, unsigned int id_cap, char *psk,
                 unsigned int cap)
{
    (void)handle, (void)hint, (void)identity, (void)id_cap, (void)psk, (void)cap;
    return 0;
}

unsigned int
sb_py_psk_server(void *handle, const char *identity, char *psk, unsigned int cap)
{
    (void)handle, (void)identity, (void)psk, (void)cap;
    return 0;
}
