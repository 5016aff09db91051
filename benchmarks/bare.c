/* What the rows of workloads.py cost without Python: the same work, by OpenSSL alone.
 *
 *     bare serve DIRECTORY    the peer: prints its port, obeys clients until stdin ends
 *     bare ROW DIRECTORY PORT prints "ready" or "unsupported: ...", then, for each number of
 *                             runs read from stdin, what they cost and how many units they were
 *
 * scene.py tells the peer's commands and what DIRECTORY holds, worker.py the same dialogue in
 * Python. Nothing is recovered from: what goes wrong ends the program with a line on stderr.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KIB = 1024, MIB = 1024 * 1024, PIECE = 256 * KIB, RECORD = 16 * KIB };

static const char *directory;
static int peer_port;
static char data[PIECE];

static void
require_at(int ok, const char *what, int line)
{
    if (ok)
        return;
    fprintf(stderr, "bare.c:%d: %s: %s\n", line, what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}
#define REQUIRE(ok) require_at((ok), #ok, __LINE__)

/* ---------------------------------------------------------------- clocks */

static double
seconds(clockid_t clock)
{
    struct timespec ts;

    REQUIRE(clock_gettime(clock, &ts) == 0);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double
cpu(void)
{
    return seconds(CLOCK_THREAD_CPUTIME_ID);
}

static double
process_cpu(void)
{
    return seconds(CLOCK_PROCESS_CPUTIME_ID);
}

static double
elapsed(void)
{
    return seconds(CLOCK_MONOTONIC);
}

/* Bytes of this process in memory; 0 where there is no /proc. */
static double
resident(void)
{
    unsigned long total, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL)
        return 0;
    if (fscanf(file, "%lu %lu", &total, &pages) != 2)
        pages = 0;
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* ---------------------------------------------------------------- contexts, connections */

static char *
in_directory(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static SSL_CTX *
client_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    REQUIRE(ctx != NULL && SSL_CTX_load_verify_locations(ctx, in_directory("ca.pem"), NULL));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

static SSL_CTX *
server_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    char *path = in_directory("server.pem");

    REQUIRE(ctx != NULL && SSL_CTX_use_certificate_chain_file(ctx, path) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) == 1);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"bare", 4);
    return ctx;
}

static SSL *
new_client(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);

    REQUIRE(ssl != NULL && SSL_set_tlsext_host_name(ssl, "localhost"));
    REQUIRE(SSL_set1_host(ssl, "localhost"));
    SSL_set_connect_state(ssl);
    return ssl;
}

static SSL *
new_server(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);

    REQUIRE(ssl != NULL);
    SSL_set_accept_state(ssl);
    return ssl;
}

typedef struct pair {
    SSL *near, *far;
} pair;

static void
free_pair(pair *both)
{
    /* SSL_free(3) makes a session that was not shut down unfit for the next handshake. */
    SSL_set_shutdown(both->near, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(both->near);
    SSL_free(both->far);
}

/* One end's turn in a handshake whose ends are in one thread. */
static int
shaken(SSL *ssl)
{
    int result = SSL_do_handshake(ssl);

    REQUIRE(result == 1 || SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ);
    return result == 1;
}

static void
shake(pair *both)
{
    int near = 0, far = 0;

    while (!near || !far) {
        near = shaken(both->near);
        far = shaken(both->far);
    }
}

static void
write_all(SSL *ssl, const char *buf, int len)
{
    int n;

    while (len > 0) {
        REQUIRE((n = SSL_write(ssl, buf, len)) > 0);
        buf += n;
        len -= n;
    }
}

/* In pieces of `ask`, each without gaps. */
static void
read_all(SSL *ssl, int len, int ask)
{
    static _Thread_local char buf[PIECE];
    int at = 0, n;

    while (len > 0) {
        REQUIRE((n = SSL_read(ssl, buf + at, ask - at)) > 0);
        len -= n;
        at = (at + n) % ask;
    }
}

static void
settle(pair *both)
{
    write_all(both->far, "x", 1);
    read_all(both->near, 1, 1);
}

static pair
memory_pair(SSL_CTX *client, SSL_CTX *server, SSL_SESSION *session)
{
    pair both = {new_client(client), new_server(server)};
    BIO *up = BIO_new(BIO_s_mem()), *down = BIO_new(BIO_s_mem());

    REQUIRE(up != NULL && down != NULL);
    BIO_set_mem_eof_return(up, -1);
    BIO_set_mem_eof_return(down, -1);
    BIO_up_ref(up);
    BIO_up_ref(down);
    SSL_set_bio(both.near, down, up);
    SSL_set_bio(both.far, up, down);
    if (session != NULL)
        REQUIRE(SSL_set_session(both.near, session));
    shake(&both);
    return both;
}

static void
set_blocking(int fd, int on)
{
    int flags = fcntl(fd, F_GETFL);

    REQUIRE(fcntl(fd, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) == 0);
}

static void
tune(int fd)
{
    int on = 1, size = 1 << 22;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int
listen_on(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, 64) == 0);
    REQUIRE(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static int
connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static pair
socket_pair(SSL_CTX *client, SSL_CTX *server)
{
    pair both = {new_client(client), new_server(server)};
    int port, listener = listen_on(&port), fds[2];

    fds[0] = connect_to(port);
    REQUIRE((fds[1] = accept(listener, NULL, NULL)) >= 0);
    close(listener);
    for (int i = 0; i < 2; i++) {
        tune(fds[i]);
        set_blocking(fds[i], 0);
    }
    SSL_set_fd(both.near, fds[0]);
    SSL_set_fd(both.far, fds[1]);
    shake(&both);
    set_blocking(fds[0], 1);
    set_blocking(fds[1], 1);
    settle(&both);
    return both;
}

static SSL *
connect_to_peer(void)
{
    SSL *ssl = new_client(client_ctx());
    int on = 1, fd = connect_to(peer_port);

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SSL_set_fd(ssl, fd);
    REQUIRE(SSL_do_handshake(ssl) == 1);
    return ssl;
}

/* ---------------------------------------------------------------- rows */

static pair ends;
static SSL_CTX *client, *server;
static SSL_SESSION *session;
static X509_STORE *store;

static void
begin_contexts(void)
{
    client = client_ctx();
    server = server_ctx();
}

static void
begin_memory(void)
{
    begin_contexts();
    ends = memory_pair(client, server, NULL);
    settle(&ends);
}

static void
begin_sockets(void)
{
    begin_contexts();
    ends = socket_pair(client, server);
}

static void
begin_resumed(void)
{
    begin_memory();
    session = SSL_get1_session(ends.near);
    SSL_set_shutdown(ends.near, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    ends = memory_pair(client, server, session);
    REQUIRE(SSL_session_reused(ends.near));
}

static void
begin_unread(void)
{
    begin_sockets();
    set_blocking(SSL_get_fd(ends.near), 0);
    set_blocking(SSL_get_fd(ends.far), 0);
}

static void
begin_store(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    REQUIRE(SSL_CTX_set_default_verify_paths(ctx));
    store = SSL_CTX_get_cert_store(ctx);
    X509_STORE_up_ref(store);
    SSL_CTX_free(ctx);
}

static SSL_CTX *
ctx_with_store(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    REQUIRE(ctx != NULL);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set1_cert_store(ctx, store);
    return ctx;
}

static void
default_context(void)
{
    SSL_CTX_free(ctx_with_store());
}

static void
keep_default_context(void)
{
    (void)ctx_with_store();
}

static void
keep_connection(void)
{
    (void)socket_pair(client, server);
}

static void
new_context(void)
{
    SSL_CTX_free(SSL_CTX_new(TLS_client_method()));
}

static void
handshake(void)
{
    pair both = memory_pair(client, server, session);

    free_pair(&both);
}

static void
move(int size, int ask)
{
    write_all(ends.near, data, size);
    read_all(ends.far, size, ask);
}

static void
move_64(void)
{
    move(64, 64);
}

static void
move_16k(void)
{
    move(RECORD, RECORD);
}

static void
move_256k(void)
{
    move(PIECE, PIECE);
}

static void
fill(void)
{
    write_all(ends.far, data, PIECE);
}

static void
receive_by_8k(void)
{
    read_all(ends.near, PIECE, 8192);
}

static void
receive_by_16k(void)
{
    read_all(ends.near, PIECE, RECORD);
}

static void
receive_by_256k(void)
{
    read_all(ends.near, PIECE, PIECE);
}

static void
begin_send(void)
{
    begin_sockets();
    set_blocking(SSL_get_fd(ends.far), 0);
}

/* Below TLS. */
static void
throw_away(void)
{
    static char buf[PIECE];

    while (recv(SSL_get_fd(ends.far), buf, sizeof buf, 0) > 0)
        ;
}

static void
send_64(void)
{
    for (int i = 0; i < 100; i++)
        write_all(ends.near, data, 64);
}

static void
send_16k(void)
{
    for (int i = 0; i < 10; i++)
        write_all(ends.near, data, RECORD);
}

static void
send_256k(void)
{
    write_all(ends.near, data, PIECE);
}

static void
want_read(void)
{
    char byte;
    int result = SSL_read(ends.near, &byte, 1);

    REQUIRE(result < 0 && SSL_get_error(ends.near, result) == SSL_ERROR_WANT_READ);
}

static void
begin_peer(void)
{
    ends.near = connect_to_peer();
}

static void
ask_peer(const char *format, int size)
{
    char line[64];

    write_all(ends.near, line, snprintf(line, sizeof line, format, size));
}

static void
ask_for_mib(void)
{
    ask_peer("send 16384 %d 0\n", MIB);
}

static void
receive_mib(void)
{
    read_all(ends.near, MIB, RECORD);
}

static void
receive_mib_by_256k(void)
{
    read_all(ends.near, MIB, PIECE);
}

static void
download(void)
{
    ask_peer("send 16384 %d 0\n", 4 * MIB);
    read_all(ends.near, 4 * MIB, RECORD);
}

static void
upload(void)
{
    ask_peer("sink %d\n", 4 * MIB);
    for (int i = 0; i < 16; i++)
        write_all(ends.near, data, PIECE);
    read_all(ends.near, 1, 1);
}

static void
paced(void)
{
    ask_peer("send 16384 %d 120000000\n", 24 * MIB);
    read_all(ends.near, 24 * MIB, RECORD);
}

static void
echo(void)
{
    move(64, 64);
    write_all(ends.far, data, 64);
    read_all(ends.near, 64, 64);
}

static pair both_pairs[2];

static void
begin_threads(void)
{
    begin_contexts();
    for (int i = 0; i < 2; i++)
        both_pairs[i] = socket_pair(client, server);
}

static void *
work(void *arg)
{
    pair *both = arg;

    for (int i = 0; i < 64; i++) {
        write_all(both->near, data, 64 * KIB);
        read_all(both->far, 64 * KIB, RECORD);
    }
    return NULL;
}

static void
two_threads(void)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, work, &both_pairs[i]) == 0);
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
}

typedef void step(void);

/* The rows of workloads.py that OpenSSL has without Python. */
static const struct row {
    const char *key;
    step *begin, *before, *run;
    double (*clock)(void);
    double units;
} rows[] = {
    {"default_context", begin_store, NULL, default_context, cpu, 1},
    {"new_context", NULL, NULL, new_context, cpu, 1},
    {"handshake", begin_contexts, NULL, handshake, cpu, 1},
    {"handshake_new", begin_contexts, NULL, handshake, cpu, 1},
    {"resumed", begin_resumed, NULL, handshake, cpu, 1},
    {"default_context_memory", begin_store, NULL, keep_default_context, resident, 1},
    {"idle_memory", begin_contexts, NULL, keep_connection, resident, 2},
    {"object_64", begin_memory, NULL, move_64, cpu, 1},
    {"object_64_more", begin_memory, NULL, move_64, cpu, 1},
    {"object_16k", begin_memory, NULL, move_16k, cpu, 1},
    {"object_16k_more", begin_memory, NULL, move_16k, cpu, 1},
    {"object_256k", begin_memory, NULL, move_256k, cpu, 1},
    {"recv_16k", begin_sockets, fill, receive_by_16k, cpu, 1},
    {"recv_256k", begin_sockets, fill, receive_by_256k, cpu, 1},
    {"recv_into_8k", begin_sockets, fill, receive_by_8k, cpu, 1},
    {"recv_into_256k", begin_sockets, fill, receive_by_256k, cpu, 1},
    {"peer_16k", begin_peer, ask_for_mib, receive_mib, cpu, 1},
    {"peer_256k", begin_peer, ask_for_mib, receive_mib_by_256k, cpu, 1},
    {"http_get", begin_peer, ask_for_mib, receive_mib, cpu, 1},
    {"send_64", begin_send, throw_away, send_64, cpu, 100},
    {"send_16k", begin_send, throw_away, send_16k, cpu, 10},
    {"send_256k", begin_send, throw_away, send_256k, cpu, 1},
    {"echo_64", begin_sockets, NULL, move_64, cpu, 1},
    {"echo_64_timeout", begin_sockets, NULL, move_64, cpu, 1},
    {"want_read", begin_unread, NULL, want_read, cpu, 1},
    {"asyncio_download", begin_peer, NULL, download, cpu, 4},
    {"asyncio_upload", begin_peer, NULL, upload, cpu, 4},
    {"asyncio_echo", begin_sockets, NULL, echo, cpu, 1},
    {"two_threads", begin_threads, NULL, two_threads, process_cpu, 8},
    {"two_threads_elapsed", begin_threads, NULL, two_threads, elapsed, 8},
    {"busy_thread", begin_peer, NULL, paced, elapsed, 24},
};

static void
measure(const struct row *row, long count)
{
    double spent = 0, begin;

    if (row->before == NULL) {
        begin = row->clock();
        for (long i = 0; i < count; i++)
            row->run();
        spent = row->clock() - begin;
    } else {
        for (long i = 0; i < count; i++) {
            row->before();
            begin = row->clock();
            row->run();
            spent += row->clock() - begin;
        }
    }
    printf("%.9g %.9g\n", spent, (double)count * row->units);
    fflush(stdout);
}

static int
take_orders(const char *key)
{
    const struct row *row = NULL;
    long count;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].key, key) == 0)
            row = &rows[i];
    if (row == NULL) {
        puts("unsupported: not in bare.c");
        return 0;
    }
    if (row->begin != NULL)
        row->begin();
    puts("ready");
    fflush(stdout);
    while (scanf("%ld", &count) == 1)
        measure(row, count);
    return 0;
}

/* ---------------------------------------------------------------- the peer */

/* A line without its end, at most cap - 1 bytes; 0 at the end of the stream. */
static int
read_line(SSL *ssl, char *line, size_t cap)
{
    size_t len = 0;

    while (len < cap - 1 && SSL_read(ssl, line + len, 1) == 1) {
        if (line[len] == '\n') {
            line[len] = '\0';
            return 1;
        }
        len++;
    }
    return 0;
}

/* Returns 0 if the client is gone. */
static int
serve_bytes(SSL *ssl, long chunk, long total, double rate)
{
    double begin = elapsed(), ahead;
    long sent = 0;

    while (sent < total) {
        long left = total - sent < chunk ? total - sent : chunk;

        if (SSL_write(ssl, data, (int)left) <= 0)
            return 0;
        sent += left;
        ahead = rate > 0 ? (double)sent / rate - (elapsed() - begin) : 0;
        if (ahead > 0.0005)
            usleep((useconds_t)(ahead * 1e6));
    }
    return 1;
}

static int
sink(SSL *ssl, long total)
{
    char buf[RECORD];
    int n;

    for (; total > 0; total -= n)
        if ((n = SSL_read(ssl, buf, total < RECORD ? (int)total : RECORD)) <= 0)
            return 0;
    return SSL_write(ssl, ".", 1) == 1;
}

static int
serve_http(SSL *ssl, long size)
{
    char line[512];
    int len;

    do
        if (!read_line(ssl, line, sizeof line))
            return 0;
    while (line[0] != '\r' && line[0] != '\0');
    len = snprintf(line, sizeof line, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", size);
    return SSL_write(ssl, line, len) == len && serve_bytes(ssl, RECORD, size, 0);
}

static int
obey(SSL *ssl, const char *line)
{
    long chunk, total;
    double rate;

    if (sscanf(line, "send %ld %ld %lf", &chunk, &total, &rate) == 3 && chunk > 0)
        return serve_bytes(ssl, chunk < PIECE ? chunk : PIECE, total, rate);
    if (sscanf(line, "sink %ld", &total) == 1)
        return sink(ssl, total);
    if (sscanf(line, "GET /%ld", &total) == 1)
        return serve_http(ssl, total);
    return 0;
}

static void *
serve_client(void *arg)
{
    SSL *ssl = arg;
    char line[512];

    if (SSL_do_handshake(ssl) == 1)
        while (read_line(ssl, line, sizeof line) && obey(ssl, line))
            ;
    close(SSL_get_fd(ssl));
    SSL_free(ssl);
    return NULL;
}

static void *
accept_clients(void *arg)
{
    SSL_CTX *ctx = server_ctx();
    int listener = *(int *)arg, fd, on = 1;
    pthread_t thread;
    SSL *ssl;

    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        ssl = new_server(ctx);
        SSL_set_fd(ssl, fd);
        REQUIRE(pthread_create(&thread, NULL, serve_client, ssl) == 0);
        pthread_detach(thread);
    }
    return NULL;
}

static int
serve(void)
{
    int port, listener = listen_on(&port);
    pthread_t thread;

    printf("%d\n", port);
    fflush(stdout);
    REQUIRE(pthread_create(&thread, NULL, accept_clients, &listener) == 0);
    while (getchar() != EOF)
        ;
    return 0;
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    memset(data, 'x', sizeof data);
    if (argc == 3 && strcmp(argv[1], "serve") == 0) {
        directory = argv[2];
        return serve();
    }
    if (argc != 4) {
        fprintf(stderr, "usage: bare serve DIRECTORY | bare ROW DIRECTORY PORT\n");
        return 2;
    }
    directory = argv[2];
    peer_port = atoi(argv[3]);
    return take_orders(argv[1]);
}
