/* What comes of it when there is no memory: each allocation of a conversation fails once, OpenSSL's
 * and ours. Built with `ld --wrap` of malloc(), calloc() and realloc(): see `.ci/native`.
 *
 *     memory DIRECTORY
 *
 * DIRECTORY holds certificates as .crt and, with their keys, as .pem: one and two are for
 * localhost, and other, whose subject's name is localhost, for elsewhere.example and 10.0.0.1.
 * Prints a line a conversation, and one of what goes by way of a memory BIO. Exits 1 if a server
 * was accepted that should be refused, if bytes or the fields of a certificate were not the same as
 * with memory, and if there was no conversation afterwards.
 */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ROUND_TRIPS = 8, /* more than a handshake takes */
    WORDS = 20000, /* bytes: two records */
    PIECE = 70000, /* bytes at most */
    OFTEN = 100, /* of so many failures one is followed by a conversation that must succeed */
};

/* ---------------------------------------------------------------- the allocation that fails */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

static long countdown; /* to the one that fails; 0: none does */

static int
fails(void)
{
    if (countdown == 0 || --countdown > 0)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

static void *
openssl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return __wrap_malloc(size);
}

/* OpenSSL 3.2 to 3.5 report what their own functions were refused, but not what this one was. */
static void *
openssl_realloc(void *old, size_t size, const char *file, int line)
{
    void *moved = __wrap_realloc(old, size);

    (void)file;
    (void)line;
    if (moved == NULL && old == NULL)
        ERR_raise(ERR_LIB_CRYPTO, ERR_R_MALLOC_FAILURE);
    return moved;
}

static void
openssl_free(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

/* ---------------------------------------------------------------- a conversation */

typedef struct conversation {
    const char *what;
    const char *trusted; /* the client's only authority */
    const char *shown; /* the server's certificate */
    const char *host;
    int version;
    int accepted;
    sb_ctx *client;
    sb_ctx *server;
    sb_block fields; /* of the server's certificate, with memory */
} conversation;

static sb_ctx *
make_ctx(int protocol, int version)
{
    sb_error err;
    sb_ctx *ctx = sb_ctx_new(protocol, NULL, TLS1_2_VERSION, &err);

    REQUIRE(ctx != NULL, &err);
    REQUIRE(sb_ctx_set_version_limit(ctx, 1, version, &err) == SB_OK, &err);
    return ctx;
}

static sb_conn *
make_end(sb_ctx *ctx, const char *host, sb_bio *in, sb_bio *out)
{
    sb_error err;
    sb_conn *conn = sb_conn_new(ctx, host == NULL, host, -1, &err);

    if (conn != NULL)
        REQUIRE(sb_conn_set_buffers(conn, in, out) == SB_OK, NULL);
    return conn;
}

static int
shake(const conversation *c, sb_conn *client, sb_conn *server)
{
    long long mine = SB_WANT_READ, theirs = SB_WANT_READ;
    sb_error err;
    int i;

    for (i = 0; i < ROUND_TRIPS && (mine != SB_OK || theirs != SB_OK); i++) {
        mine = handshake(client, 0, &err);
        REQUIRE(mine != SB_OK || c->accepted, NULL);
        if (mine != SB_OK && mine != SB_WANT_READ)
            return 0;
        theirs = handshake(server, 0, &err);
        if (theirs != SB_OK && theirs != SB_WANT_READ)
            return 0;
    }
    return mine == SB_OK && theirs == SB_OK;
}

static int
talk(sb_conn *from, sb_conn *to)
{
    static char said[WORDS], heard[WORDS];
    long long n;
    sb_error err;
    size_t i;

    for (i = 0; i < WORDS; i++)
        said[i] = (char)(i * 7 + i / 251);
    if (write_all(from, said, WORDS, 0, &err) != WORDS)
        return 0;
    for (i = 0; i < WORDS; i += (size_t)n)
        if ((n = read_some(to, heard + i, WORDS - i, 0, &err)) <= 0)
            return 0;
    REQUIRE(memcmp(said, heard, WORDS) == 0, NULL);
    return 1;
}

/* The fields of the server's certificate are compared with those of the first time. */
static int
look(conversation *c, sb_conn *client)
{
    sb_block der, fields;
    sb_cert *cert;
    sb_error err;
    int ok;

    if (sb_conn_peer_cert(client, &cert, &der, &err) < 0)
        return 0;
    sb_block_clear(&der);
    ok = sb_cert_fields(&cert, 1, &fields, &err) == SB_OK;
    sb_cert_free(cert);
    if (ok && c->fields.data == NULL) {
        c->fields = fields;
        return 1;
    }
    if (ok) {
        REQUIRE(fields.len == c->fields.len, NULL);
        REQUIRE(memcmp(fields.data, c->fields.data, fields.len) == 0, NULL);
    }
    sb_block_clear(&fields);
    return ok;
}

static int
describe(sb_conn *client)
{
    sb_error err = {0};
    sb_session *session = sb_conn_session(client, &err);

    REQUIRE(session != NULL || err.status == SB_NO_MEMORY, &err);
    sb_session_free(session);
    return session != NULL;
}

/* Returns 1 if all of it succeeded. */
static int
converse(conversation *c)
{
    sb_bio *up = sb_bio_new(), *down = sb_bio_new();
    sb_conn *client = NULL, *server = NULL;
    int ok = 0;

    if (up != NULL && down != NULL) {
        client = make_end(c->client, c->host, down, up);
        server = make_end(c->server, NULL, up, down);
    }
    if (client != NULL && server != NULL)
        ok = shake(c, client, server) && talk(client, server) && talk(server, client) &&
             look(c, client) && describe(client);
    sb_conn_free(client);
    sb_conn_free(server);
    sb_bio_free(up);
    sb_bio_free(down);
    return ok;
}

/* ---------------------------------------------------------------- another module's buffer */

static char
nth(size_t i)
{
    return (char)(i * 7 + i / 251);
}

/* Returns how many bytes there was memory for: all or none. */
static size_t
put(sb_bio *from, size_t said, size_t len)
{
    static char piece[PIECE];
    size_t i;

    for (i = 0; i < len; i++)
        piece[i] = nth(said + i);
    return sb_bio_write(from, piece, len) == SB_OK ? len : 0;
}

static size_t
get(sb_bio *to, size_t heard, size_t len)
{
    static char piece[PIECE];
    size_t n = (size_t)sb_bio_read(to, piece, len), i;

    for (i = 0; i < n; i++)
        REQUIRE(piece[i] == nth(heard + i), NULL);
    return n;
}

/* What goes by way of a memory BIO comes whole and in order, with the nth allocation failing.
 * Returns 0: there were not so many. */
static int
carry(long n)
{
    static const size_t lens[] = {100, 30000, 5000, 4096, 4097, PIECE, 1, 17000};
    sb_bio *from = sb_bio_new(), *to = sb_bio_new();
    BIO *mem = BIO_new(BIO_s_mem());
    size_t said = 0, heard = 0, i;
    int has_failed;

    countdown = n;
    for (i = 0; i < 64; i++) {
        if (i % 3 != 0)
            sb_bio_borrow(from, mem, lens[i % 8], i % 3 == 1);
        said += put(from, said, lens[i % 8]);
        if (i % 5 != 0)
            sb_bio_drain(from, mem);
        if (i % 7 < 3)
            continue;
        sb_bio_fill(to, mem);
        heard += get(to, heard, lens[i % 5] * 2);
        sb_bio_give_back(to, mem);
    }
    has_failed = countdown == 0;
    countdown = 0;
    REQUIRE(sb_bio_drain(from, mem) == SB_OK && sb_bio_fill(to, mem) >= 0, NULL);
    while (heard < said)
        heard += get(to, heard, PIECE);
    REQUIRE(sb_bio_pending(to) == 0 && !sb_bio_has_ended(mem), NULL);
    BIO_set_mem_eof_return(mem, 0);
    REQUIRE(sb_bio_has_ended(mem) && ERR_peek_error() == 0, NULL);
    sb_bio_free(from);
    sb_bio_free(to);
    BIO_free(mem);
    return has_failed;
}

/* Each allocation in its turn, until one is out of reach. */
static void
without_memory(conversation *c)
{
    char path[512];
    sb_error err;
    long n, refused = 0;

    c->client = make_ctx(16, c->version);
    c->server = make_ctx(17, c->version);
    REQUIRE(sb_ctx_load_verify(c->client, in_directory(c->trusted, path), NULL, &err) == SB_OK,
            &err);
    in_directory(c->shown, path);
    REQUIRE(sb_ctx_load_cert_chain(c->server, path, NULL, NULL, &err) == SB_OK, &err);
    REQUIRE(converse(c) == c->accepted, NULL);
    for (n = 1;; n++) {
        int ok;

        countdown = n;
        ok = converse(c);
        if (countdown != 0)
            break;
        refused += !ok;
        REQUIRE(n % OFTEN != 0 || converse(c) == c->accepted, NULL);
    }
    countdown = 0;
    REQUIRE(n > OFTEN, NULL);
    REQUIRE(converse(c) == c->accepted, NULL);
    printf("%s, TLS 1.%d: refused for %ld of %ld allocations\n", c->what,
           c->version == TLS1_3_VERSION ? 3 : 2, refused, n - 1);
    fflush(stdout);
    sb_block_clear(&c->fields);
    sb_ctx_free(c->client);
    sb_ctx_free(c->server);
}

int
main(int argc, char **argv)
{
    static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
    static const conversation all[] = {
        {.what = "the server's name",
         .trusted = "one.crt",
         .shown = "one.pem",
         .host = HOST,
         .accepted = 1},
        {.what = "another name", .trusted = "one.crt", .shown = "one.pem", .host = "example.org"},
        {.what = "the subject's name", .trusted = "other.crt", .shown = "other.pem", .host = HOST},
        {.what = "another address",
         .trusted = "other.crt",
         .shown = "other.pem",
         .host = "10.0.0.2"},
        {.what = "another authority", .trusted = "two.crt", .shown = "one.pem", .host = HOST},
    };
    size_t i, j;
    long n;

    REQUIRE(argc == 2, NULL);
    directory = argv[1];
    REQUIRE(CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free), NULL);
    for (i = 0; i < sizeof versions / sizeof *versions; i++)
        for (j = 0; j < sizeof all / sizeof *all; j++) {
            conversation c = all[j];

            c.version = versions[i];
            without_memory(&c);
        }
    for (n = 1; carry(n); n++)
        ;
    printf("another module's buffer: %ld allocations\n", n - 1);
    return 0;
}
