/* Threads on one connection, and on one context, over the C functions alone: `.ci/native` builds
 * this with ThreadSanitizer, which reports what a wrong lock lets through.
 *
 *     threads DIRECTORY [ROUNDS]
 *
 * DIRECTORY holds one.pem and two.pem (each a certificate for localhost with its key, P-256) and
 * ca.pem (both certificates). Prints a line a scenario; exits 1 at the first broken promise.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST_SENDERS = 4,
    SENDS = 4,           /* of each sender */
    PIECE = 1000000,     /* bytes of a send: more than a socket takes, and a part of a record */
    REPLY = 1024 * 1024, /* bytes the server sends meanwhile */
    PACKET = 40000, /* bytes of a send over memory */
    HANDSHAKERS = 64,
    LOADS = 40, /* of each thread: more than there are sets that are kept */
    PATIENCE = 60, /* seconds, for every operation */
};

/* ---------------------------------------------------------------- small things */

static pthread_t
start(void *(*body)(void *), void *arg)
{
    pthread_t thread;

    REQUIRE(pthread_create(&thread, NULL, body, arg) == 0, NULL);
    return thread;
}

static void
finish(pthread_t thread)
{
    REQUIRE(pthread_join(thread, NULL) == 0, NULL);
}

/* A context that verifies its peers on the client's side, with a certificate on both. */
static sb_ctx *
make_ctx(int server_side)
{
    sb_error err;
    char path[512];
    sb_ctx *ctx = sb_ctx_new(server_side ? 17 : 16, "DEFAULT", TLS1_2_VERSION, &err);

    REQUIRE(ctx != NULL, &err);
    REQUIRE(sb_ctx_load_cert_chain(ctx, in_directory("one.pem", path), NULL, NULL, &err) == SB_OK,
            &err);
    REQUIRE(sb_ctx_load_verify(ctx, in_directory("ca.pem", path), NULL, &err) == SB_OK, &err);
    sb_ctx_set_verify_mode(ctx, server_side ? 1 : 2);
    sb_ctx_set_check_hostname(ctx, !server_side);
    REQUIRE(sb_ctx_set_alpn(ctx, "\2h2\10http/1.1", 12, &err) == SB_OK, &err);
    REQUIRE(sb_ctx_set_npn(ctx, "\2h2\10http/1.1", 12, &err) == SB_OK, &err);
    return ctx;
}

static void
make_sockets(int family, int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int listener;

    if (family == AF_UNIX) {
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, NULL);
        return;
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(bind(listener, (struct sockaddr *)&address, len) == 0, NULL);
    REQUIRE(listen(listener, 1) == 0, NULL);
    REQUIRE(getsockname(listener, (struct sockaddr *)&address, &len) == 0, NULL);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(connect(fds[0], (struct sockaddr *)&address, len) == 0, NULL);
    REQUIRE((fds[1] = accept(listener, NULL, NULL)) >= 0, NULL);
    close(listener);
}

/* ---------------------------------------------------------------- one connection */

typedef struct duplex {
    sb_conn *client;
    sb_conn *server;
    int orderly; /* close only after everything has arrived */
    atomic_int over;
    atomic_int senders; /* how many have begun: each sends its number only */
    atomic_size_t client_got;
    atomic_size_t server_got;
} duplex;

static void *
shake(void *arg)
{
    sb_error err;

    REQUIRE(handshake(arg, PATIENCE, &err) == SB_OK, &err);
    return NULL;
}

/* Read until the connection ends, one way or another. What was sent in a piece must be in one. */
static void
drain(sb_conn *conn, size_t piece, atomic_size_t *got)
{
    char *buf = malloc(256 * 1024);
    char expected = 0;
    size_t total = 0;
    sb_error err;
    long long n, i;

    while ((n = read_some(conn, buf, 256 * 1024, PATIENCE, &err)) > 0) {
        for (i = 0; i < n; i++, total++) {
            if (total % piece == 0)
                expected = buf[i];
            REQUIRE(buf[i] == expected, NULL);
        }
        atomic_store(got, total);
    }
    REQUIRE(n != SB_TIMEOUT && n != SB_INVALID, &err);
    free(buf);
}

static void *
read_client(void *arg)
{
    duplex *d = arg;

    drain(d->client, REPLY / 8, &d->client_got);
    return NULL;
}

static void *
read_server(void *arg)
{
    duplex *d = arg;
    sb_error err;

    usleep(150 * 1000); /* long enough for all senders but one to wait for their turns */
    drain(d->server, PIECE, &d->server_got);
    end(d->server, PATIENCE, &err);
    return NULL;
}

static void
send_all(duplex *d, sb_conn *conn, size_t total, size_t piece)
{
    char *buf = malloc(piece);
    sb_error err;
    long long n;

    memset(buf, atomic_fetch_add(&d->senders, 1), piece);
    for (; total > 0; total -= piece) {
        n = write_all(conn, buf, piece, PATIENCE, &err);
        REQUIRE(n == (long long)piece || !d->orderly, &err);
        if (n < 0)
            break;
    }
    free(buf);
}

static void *
send_client(void *arg)
{
    duplex *d = arg;

    send_all(d, d->client, (size_t)SENDS * PIECE, PIECE);
    return NULL;
}

static void *
send_server(void *arg)
{
    duplex *d = arg;

    send_all(d, d->server, REPLY, REPLY / 8);
    return NULL;
}

static void
free_certs(sb_cert **certs, size_t n)
{
    while (n > 0)
        sb_cert_free(certs[--n]);
    sb_free(certs);
}

typedef struct watch {
    sb_conn *conn;
    atomic_int *over;
} watch;

/* Everything that looks at a connection without moving data. */
static void *
describe(void *arg)
{
    watch *w = arg;
    sb_conn *conn = w->conn;

    while (!atomic_load(w->over)) {
        char text[256];
        const char *name;
        sb_cipher cipher;
        sb_block block;
        sb_error err;
        sb_cert *cert, **certs;
        size_t n;
        int verified;

        sb_conn_version(conn);
        sb_conn_cipher(conn, &cipher);
        sb_conn_pending(conn);
        sb_conn_alpn(conn, text);
        sb_conn_tls_unique(conn, text);
        sb_conn_handshake_done(conn);
        sb_conn_session_reused(conn);
        sb_conn_group(conn, &name, &err);
        sb_session_free(sb_conn_session(conn, &err));
        if (sb_conn_peer_cert(conn, &cert, &block, &err) >= 0) {
            sb_block_clear(&block);
            sb_cert_free(cert);
        }
        for (verified = 0; verified < 2; verified++)
            if (sb_conn_chain(conn, verified, &certs, &n, &err) == SB_OK)
                free_certs(certs, n);
        usleep(500);
    }
    return NULL;
}

static void *
unwrap(void *arg)
{
    sb_error err;

    end(((duplex *)arg)->client, PATIENCE, &err);
    return NULL;
}

static void *
close_client(void *arg)
{
    sb_conn_close(((duplex *)arg)->client, 1, 1);
    return NULL;
}

static void
one_connection(int family, int version, int orderly, int senders)
{
    sb_ctx *client_ctx = make_ctx(0), *server_ctx = make_ctx(1);
    duplex d = {.orderly = orderly};
    watch watches[2];
    pthread_t threads[MOST_SENDERS], readers[2], describers[2], shaker, replier, closer, unwrapper;
    sb_error err;
    int fds[2], i;

    REQUIRE(sb_ctx_set_version_limit(client_ctx, 1, version, &err) == SB_OK, &err);
    make_sockets(family, fds);
    d.client = sb_conn_new(client_ctx, 0, HOST, fds[0], &err);
    REQUIRE(d.client != NULL, &err);
    d.server = sb_conn_new(server_ctx, 1, NULL, fds[1], &err);
    REQUIRE(d.server != NULL, &err);
    sb_ctx_free(client_ctx);
    sb_ctx_free(server_ctx);

    for (i = 0; i < 2; i++) {
        watches[i] = (watch){i == 0 ? d.client : d.server, &d.over};
        describers[i] = start(describe, &watches[i]);
    }
    shaker = start(shake, d.server);
    shake(d.client);
    finish(shaker);

    readers[0] = start(read_client, &d);
    readers[1] = start(read_server, &d);
    replier = start(send_server, &d);
    for (i = 0; i < senders; i++)
        threads[i] = start(send_client, &d);
    if (orderly) {
        for (i = 0; i < senders; i++)
            finish(threads[i]);
        finish(replier);
        while (atomic_load(&d.client_got) < REPLY)
            usleep(1000);
    } else {
        while (atomic_load(&d.server_got) < PIECE)
            usleep(100);
    }
    unwrapper = start(unwrap, &d);
    if (orderly)
        finish(unwrapper);
    closer = start(close_client, &d);
    finish(closer);
    if (!orderly) {
        shutdown(fds[0], SHUT_RDWR);
        finish(unwrapper);
        for (i = 0; i < senders; i++)
            finish(threads[i]);
        finish(replier);
    }
    finish(readers[0]);
    finish(readers[1]);
    atomic_store(&d.over, 1);
    for (i = 0; i < 2; i++)
        finish(describers[i]);
    if (orderly)
        REQUIRE(atomic_load(&d.server_got) == (size_t)senders * SENDS * PIECE, NULL);
    sb_conn_free(d.client);
    sb_conn_free(d.server);
    close(fds[0]);
    close(fds[1]);
}

/* ---------------------------------------------------------------- several that wait */

static void *
read_one(void *arg)
{
    sb_error err;
    char byte;

    REQUIRE(read_some(arg, &byte, 1, PATIENCE, &err) == 1, &err);
    return NULL;
}

/* Threads that wait for the same connection take no time of the processor. */
static void
waiting_is_free(int family)
{
    sb_ctx *client_ctx = make_ctx(0), *server_ctx = make_ctx(1);
    pthread_t readers[3], shaker;
    sb_conn *client, *server;
    sb_error err;
    clock_t begin;
    int fds[2], i;

    make_sockets(family, fds);
    client = sb_conn_new(client_ctx, 0, HOST, fds[0], &err);
    server = sb_conn_new(server_ctx, 1, NULL, fds[1], &err);
    REQUIRE(client != NULL && server != NULL, &err);
    shaker = start(shake, server);
    shake(client);
    finish(shaker);
    for (i = 0; i < 3; i++)
        readers[i] = start(read_one, client);
    usleep(50 * 1000);
    begin = clock();
    usleep(200 * 1000);
    REQUIRE(clock() - begin < CLOCKS_PER_SEC / 20, NULL);
    for (i = 0; i < 3; i++)
        REQUIRE(write_all(server, "x", 1, PATIENCE, &err) == 1, &err);
    for (i = 0; i < 3; i++)
        finish(readers[i]);
    sb_conn_free(client);
    sb_conn_free(server);
    sb_ctx_free(client_ctx);
    sb_ctx_free(server_ctx);
    close(fds[0]);
    close(fds[1]);
}

/* ---------------------------------------------------------------- one context */

typedef struct contexts {
    sb_ctx *client;
    sb_ctx *server;
    atomic_int over;
} contexts;

/* Without a host name: a server. */
static sb_conn *
in_memory(sb_ctx *ctx, const char *host, sb_bio *in, sb_bio *out, sb_error *err)
{
    sb_conn *conn = sb_conn_new(ctx, host == NULL, host, -1, err);

    REQUIRE(conn != NULL && sb_conn_set_buffers(conn, in, out) == SB_OK, err);
    return conn;
}

/* Both ends in one thread. */
static void
shake_both(sb_conn *client, sb_conn *server)
{
    long long mine = SB_WANT_READ, theirs = SB_WANT_READ;
    sb_error err;

    while (mine != SB_OK || theirs != SB_OK) {
        mine = handshake(client, 0, &err);
        REQUIRE(mine == SB_OK || mine == SB_WANT_READ, &err);
        theirs = handshake(server, 0, &err);
        REQUIRE(theirs == SB_OK || theirs == SB_WANT_READ, &err);
    }
}

/* Over memory: as asyncio's transports do it. */
static void
shake_in_memory(contexts *c)
{
    sb_bio *up = sb_bio_new(), *down = sb_bio_new();
    sb_error err;
    sb_conn *client = in_memory(c->client, HOST, down, up, &err);
    sb_conn *server = in_memory(c->server, NULL, up, down, &err);
    static char text[20000];
    char got_text[sizeof text];
    size_t got = 0;

    shake_both(client, server);
    REQUIRE(write_all(client, text, sizeof text, 0, &err) == sizeof text, &err);
    while (got < sizeof text) {
        long long n = read_some(server, got_text, sizeof got_text, 0, &err);

        REQUIRE(n > 0, &err);
        got += (size_t)n;
    }
    sb_conn_free(client);
    sb_conn_free(server);
    sb_bio_free(up);
    sb_bio_free(down);
}

static void
shake_on_sockets(contexts *c)
{
    sb_error err;
    sb_conn *client, *server;
    pthread_t shaker;
    char text[16] = {0};
    int fds[2];

    make_sockets(AF_UNIX, fds);
    client = sb_conn_new(c->client, 0, HOST, fds[0], &err);
    server = sb_conn_new(c->server, 1, NULL, fds[1], &err);
    REQUIRE(client != NULL && server != NULL, &err);
    shaker = start(shake, server);
    shake(client);
    finish(shaker);
    REQUIRE(write_all(server, text, sizeof text, PATIENCE, &err) == sizeof text, &err);
    REQUIRE(read_some(client, text, sizeof text, PATIENCE, &err) == sizeof text, &err);
    sb_conn_free(client);
    sb_conn_free(server);
    close(fds[0]);
    close(fds[1]);
}

static void *
handshakes_in_memory(void *arg)
{
    shake_in_memory(arg);
    shake_in_memory(arg);
    return NULL;
}

static void *
handshakes_on_sockets(void *arg)
{
    shake_on_sockets(arg);
    shake_on_sockets(arg);
    return NULL;
}

/* Replace everything that can be replaced while others shake hands. */
static void *
reload(void *arg)
{
    contexts *c = arg;
    unsigned long long options = sb_ctx_options(c->server);
    char path[512];
    sb_error err;
    int i;

    for (i = 0; !atomic_load(&c->over); i++) {
        const char *pem = in_directory(i % 2 ? "one.pem" : "two.pem", path);

        REQUIRE(sb_ctx_load_cert_chain(c->server, pem, NULL, NULL, &err) == SB_OK, &err);
        if (i % 2) {
            REQUIRE(sb_ctx_set_alpn(c->server, "\2h2", 3, &err) == SB_OK, &err);
            REQUIRE(sb_ctx_set_npn(c->server, "\2h2", 3, &err) == SB_OK, &err);
        } else {
            REQUIRE(sb_ctx_set_alpn(c->server, "\10http/1.1\2h2", 12, &err) == SB_OK, &err);
            REQUIRE(sb_ctx_set_npn(c->server, "\10http/1.1\2h2", 12, &err) == SB_OK, &err);
        }
        sb_ctx_set_options(c->server, i % 2 ? options : options | SSL_OP_NO_TICKET);
        REQUIRE(sb_ctx_set_ciphers(c->server, i % 2 ? "HIGH" : "DEFAULT", &err) == SB_OK, &err);
        REQUIRE(sb_ctx_set_groups(c->server, i % 2 ? "P-256:X25519" : "X25519:P-256", &err) ==
                    SB_OK,
                &err);
        REQUIRE(sb_ctx_set_num_tickets(c->server, (size_t)(i % 3), &err) == SB_OK, &err);
        REQUIRE(sb_ctx_set_version_limit(c->server, 1, i % 2 ? 0 : TLS1_2_VERSION, &err) == SB_OK,
                &err);
        REQUIRE(sb_ctx_load_verify(c->client, in_directory("ca.pem", path), NULL, &err) == SB_OK,
                &err);
        sb_ctx_set_verify_mode(c->server, i % 2);
        sb_ctx_set_sni(c->server, i % 2);
        sb_ctx_set_message(c->server, i % 2);
        sb_ctx_set_keylog(c->server, i % 2 ? open("/dev/null", O_WRONLY | O_APPEND) : -1);
    }
    return NULL;
}

static void *
look(void *arg)
{
    contexts *c = arg;
    int trust[3];
    long stats[11];
    sb_block block;
    sb_error err;
    sb_cert **certs;
    size_t n;

    while (!atomic_load(&c->over)) {
        sb_ctx_options(c->server);
        sb_ctx_verify_mode(c->server);
        sb_ctx_verify_flags(c->server);
        sb_ctx_num_tickets(c->server);
        sb_ctx_version_limit(c->server, 1);
        sb_ctx_trust_stats(c->client, trust);
        sb_ctx_session_stats(c->server, stats);
        REQUIRE(sb_ctx_ciphers(c->server, &block, &err) == SB_OK, &err);
        sb_block_clear(&block);
        REQUIRE(sb_ctx_ca_certs(c->client, &certs, &n, &err) == SB_OK, &err);
        free_certs(certs, n);
        usleep(1000);
    }
    return NULL;
}

static void
one_context(void)
{
    contexts c = {.client = make_ctx(0), .server = make_ctx(1)};
    pthread_t threads[HANDSHAKERS], reloader, looker;
    int i;

    reloader = start(reload, &c);
    looker = start(look, &c);
    for (i = 0; i < HANDSHAKERS; i++)
        threads[i] = start(i % 2 ? handshakes_in_memory : handshakes_on_sockets, &c);
    for (i = 0; i < HANDSHAKERS; i++)
        finish(threads[i]);
    atomic_store(&c.over, 1);
    finish(reloader);
    finish(looker);
    sb_ctx_free(c.client);
    sb_ctx_free(c.server);
}

/* ---------------------------------------------------------------- two threads, two buffers */

typedef struct driver {
    sb_conn *conn;
    size_t to_send;
    size_t to_get;
} driver;

static void *
drive(void *arg)
{
    driver *e = arg;
    char buf[PACKET] = {0};
    sb_error err;
    long long status;

    while ((status = handshake(e->conn, 0, &err)) == SB_WANT_READ)
        usleep(50);
    REQUIRE(status == SB_OK, &err);
    while (e->to_send > 0 || e->to_get > 0) {
        long long n;

        if (e->to_send > 0) {
            REQUIRE(write_all(e->conn, buf, sizeof buf, 0, &err) == PACKET, &err);
            e->to_send -= sizeof buf;
        }
        n = read_some(e->conn, buf, sizeof buf, 0, &err);
        REQUIRE(n > 0 || n == SB_WANT_READ, &err);
        if (n > 0)
            e->to_get -= (size_t)n;
        else
            usleep(50);
    }
    return NULL;
}

static void
two_buffers(void)
{
    sb_ctx *client_ctx = make_ctx(0), *server_ctx = make_ctx(1);
    sb_bio *up = sb_bio_new(), *down = sb_bio_new();
    sb_error err;
    driver ends[2] = {
        {in_memory(client_ctx, HOST, down, up, &err), 40 * PACKET, 20 * PACKET},
        {in_memory(server_ctx, NULL, up, down, &err), 20 * PACKET, 40 * PACKET},
    };
    atomic_int over = 0;
    watch w = {ends[0].conn, &over};
    pthread_t thread, describer;

    describer = start(describe, &w);
    thread = start(drive, &ends[1]);
    drive(&ends[0]);
    finish(thread);
    atomic_store(&over, 1);
    finish(describer);
    sb_conn_free(ends[0].conn);
    sb_conn_free(ends[1].conn);
    sb_bio_free(up);
    sb_bio_free(down);
    sb_ctx_free(client_ctx);
    sb_ctx_free(server_ctx);
}

/* ---------------------------------------------------------------- contexts with the same trust */

/* Sets that all threads share, sets that push others out, files and texts that are none. */
static void *
load_trust(void *arg)
{
    char path[512], text[8192];
    FILE *file = fopen(in_directory("ca.pem", path), "r");
    size_t len, newlines;
    sb_error err;
    int out[3];

    (void)arg;
    REQUIRE(file != NULL, NULL);
    len = fread(text, 1, sizeof text / 2, file);
    fclose(file);
    memset(text + len, '\n', sizeof text - len);
    for (newlines = 0; newlines < LOADS; newlines++) {
        sb_ctx *ctx = sb_ctx_new(newlines & 1 ? 17 : 16, "DEFAULT", TLS1_2_VERSION, &err);

        REQUIRE(ctx != NULL, &err);
        REQUIRE(sb_ctx_load_default_verify(ctx, &err) == SB_OK, &err);
        REQUIRE(sb_ctx_add_certs(ctx, text, len + newlines, 1, &err) == SB_OK, &err);
        REQUIRE(sb_ctx_load_verify(ctx, path, NULL, &err) == SB_OK, &err);
        REQUIRE(sb_ctx_load_verify(ctx, directory, directory, &err) != SB_OK, &err);
        REQUIRE(sb_ctx_add_certs(ctx, text, len - 60, 1, &err) != SB_OK, &err);
        REQUIRE(sb_ctx_add_certs(ctx, text, len, 0, &err) == SB_BAD_ARG, &err);
        if (newlines % 3 == 0) {
            sb_ctx_trust_stats(ctx, out);
            REQUIRE(out[0] >= 2 && out[1] == 0, NULL);
        }
        sb_ctx_free(ctx);
    }
    return NULL;
}

static void
same_trust(void)
{
    pthread_t threads[4];
    size_t i;

    for (i = 0; i < 4; i++)
        threads[i] = start(load_trust, NULL);
    for (i = 0; i < 4; i++)
        finish(threads[i]);
}

/* ---------------------------------------------------------------- the first thread of a process */

static atomic_int has_asked;
static pthread_t first;

static void *
ask(void *arg)
{
    REQUIRE(sb_conn_pending(arg) == 0, NULL);
    atomic_store(&has_asked, 1);
    return NULL;
}

/* The connection was locked when there was nobody to lock out. It is this thread's all the same,
 * and only this one's. */
static int
start_the_first(void *conn)
{
    first = start(ask, conn);
    REQUIRE(!sb_conn_handshake_done(conn), NULL);
    usleep(20000);
    REQUIRE(!atomic_load(&has_asked), NULL);
    return -1;
}

static void
first_thread(void)
{
    sb_ctx *client_ctx = make_ctx(0), *server_ctx = make_ctx(1);
    sb_bio *up = sb_bio_new(), *down = sb_bio_new();
    sb_error err;
    sb_conn *client = in_memory(client_ctx, HOST, down, up, &err);
    sb_conn *server;

    sb_ctx_set_sni(server_ctx, 1);
    server = in_memory(server_ctx, NULL, up, down, &err);
    sb_conn_set_handle(server, server);
    on_sni = start_the_first;
    shake_both(client, server);
    finish(first);
    on_sni = NULL;
    sb_conn_free(client);
    sb_conn_free(server);
    sb_bio_free(up);
    sb_bio_free(down);
    sb_ctx_free(client_ctx);
    sb_ctx_free(server_ctx);
}

int
main(int argc, char **argv)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const int families[] = {AF_INET, AF_UNIX};
    int rounds = argc > 2 ? atoi(argv[2]) : 3;
    int round, i;

    REQUIRE(argc > 1, NULL);
    directory = argv[1];
    first_thread();
    printf("the first thread\n");
    for (round = 1; round <= rounds; round++) {
        for (i = 0; i < 16; i++)
            one_connection(families[i & 1], versions[i >> 1 & 1], i >> 2 & 1, i & 8 ? 4 : 2);
        printf("round %d: one connection\n", round);
        for (i = 0; i < 2; i++)
            waiting_is_free(families[i]);
        printf("round %d: waiting is free\n", round);
        two_buffers();
        printf("round %d: two buffers\n", round);
        one_context();
        printf("round %d: one context\n", round);
        same_trust();
        printf("round %d: the same trust\n", round);
        fflush(stdout);
    }
    return 0;
}
