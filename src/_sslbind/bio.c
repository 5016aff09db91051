/* Memory buffers: what MemoryBIO is made of, and what a connection without a socket reads from
 * and writes to. Several threads may use one; each call takes the buffer's own lock.
 *
 * Five times for a word that is written and read, so that it counts what a lock costs: a mutex
 * takes 10 ns more than this one. Threads hardly ever meet here, and each has it for a copy of
 * bytes.
 *
 * One may be around a memory BIO of OpenSSL's (BIO_s_mem(3)), which is what PyPy's MemoryBIO is
 * made of: then its own buffer stays empty, and it is for a connection alone. Whoever else uses
 * that BIO does not take the lock.
 */
#include "internal.h"

#include <stdlib.h>
#include <time.h>

/* Small enough for thousands of idle connections, large enough for a record and its header. */
enum { FIRST_CAP = 17 * 1024 };
/* An empty buffer larger than this is given back. */
enum { KEPT_CAP = 64 * 1024 };

sb_bio *
sb_bio_new(void)
{
    sb_bio *bio = calloc(1, sizeof *bio);

    if (bio == NULL)
        return NULL;
    atomic_flag_clear(&bio->lock);
    atomic_init(&bio->refs, 1);
    atomic_init(&bio->generation, sb_generation());
    return bio;
}

/* Whoever has it may be of lower priority: it must be slept for, and not only yielded to. */
static void
lock(sb_bio *bio)
{
    const struct timespec moment = {0, 20000};

    if (sb_generation_changed(&bio->generation)) {
        atomic_flag_clear(&bio->lock);
        sb_generation_done(&bio->generation);
    }
    while (atomic_flag_test_and_set_explicit(&bio->lock, memory_order_acquire))
        nanosleep(&moment, NULL);
}

static void
unlock(sb_bio *bio)
{
    atomic_flag_clear_explicit(&bio->lock, memory_order_release);
}

void
sb_bio_up_ref(sb_bio *bio)
{
    atomic_fetch_add(&bio->refs, 1);
}

void
sb_bio_free(sb_bio *bio)
{
    if (bio == NULL || atomic_fetch_sub(&bio->refs, 1) > 1)
        return;
    BIO_free(bio->around);
    free(bio->buf);
    free(bio);
}

sb_bio *
sb_bio_around(BIO *around)
{
    sb_bio *bio = NULL;

    if (BIO_up_ref(around) && (bio = sb_bio_new()) == NULL)
        BIO_free(around);
    if (bio != NULL)
        bio->around = around;
    return bio;
}

/* Make room for len more bytes behind `end`: by moving what waits to the front where that is
 * cheap, else by doubling, so that n bytes cost O(n) however they arrive. */
static int
make_room(sb_bio *bio, size_t len)
{
    size_t used = bio->end - bio->start;
    size_t cap = bio->cap;
    char *moved;

    if (len <= bio->cap - bio->end)
        return 1;
    if (len > SIZE_MAX / 4 - used)
        return 0;
    if (used + len <= bio->cap && used <= bio->start) {
        memcpy(bio->buf, bio->buf + bio->start, used);
    } else {
        if (cap == 0)
            cap = len < FIRST_CAP / 4 ? len + 64 : FIRST_CAP;
        while (cap < used + len)
            cap *= 2;
        if ((moved = malloc(cap)) == NULL)
            return 0;
        if (used > 0)
            memcpy(moved, bio->buf + bio->start, used);
        free(bio->buf);
        bio->buf = moved;
        bio->cap = cap;
    }
    bio->start = 0;
    bio->end = used;
    return 1;
}

void
sb_bio_reserve(sb_bio *bio, size_t len)
{
    lock(bio);
    if (bio->around == NULL)
        make_room(bio, len);
    unlock(bio);
}

int
sb_bio_write(sb_bio *bio, const char *buf, size_t len)
{
    int status = SB_OK;

    lock(bio);
    if (len > bio->cap - bio->end && bio->around != NULL) {
        if (BIO_write(bio->around, buf, (int)len) != (int)len)
            status = SB_NO_MEMORY;
    } else if (!make_room(bio, len)) {
        status = SB_NO_MEMORY;
    } else if (len > 0) {
        memcpy(bio->buf + bio->end, buf, len);
        bio->end += len;
    }
    unlock(bio);
    return status;
}

/* With the lock. */
static size_t
take(sb_bio *bio, char *buf, size_t cap)
{
    size_t n = bio->end - bio->start;

    if (n == 0) {
        if (bio->around != NULL)
            BIO_read_ex(bio->around, buf, cap, &n);
        return n;
    }
    if (n > cap)
        n = cap;
    memcpy(buf, bio->buf + bio->start, n);
    bio->start += n;
    if (bio->start == bio->end) {
        bio->start = bio->end = 0;
        if (bio->cap > KEPT_CAP) {
            free(bio->buf);
            bio->buf = NULL;
            bio->cap = 0;
        }
    }
    return n;
}

long long
sb_bio_read(sb_bio *bio, char *buf, size_t cap)
{
    size_t n;

    lock(bio);
    n = take(bio, buf, cap);
    unlock(bio);
    return (long long)n;
}

int
sb_bio_receive(sb_bio *bio, char *buf, size_t cap)
{
    int n;

    lock(bio);
    if (bio->start < bio->end)
        n = (int)take(bio, buf, cap);
    else
        n = bio->around != NULL ? BIO_read(bio->around, buf, (int)cap) : -!bio->eof;
    unlock(bio);
    return n;
}

size_t
sb_bio_read_all(sb_bio *bio, char *buf, size_t cap)
{
    size_t n;

    lock(bio);
    n = bio->end - bio->start;
    if (n > 0 && n <= cap)
        take(bio, buf, n);
    unlock(bio);
    return n;
}

char *
sb_bio_take(sb_bio *bio, size_t *len)
{
    char *memory = NULL;

    lock(bio);
    *len = bio->end - bio->start;
    if (*len > 0) {
        memory = bio->buf;
        if (bio->start > 0)
            memmove(memory, memory + bio->start, *len);
        bio->buf = NULL;
        bio->start = bio->end = bio->cap = 0;
    }
    unlock(bio);
    return memory;
}

/* With the lock. */
static size_t
waiting(sb_bio *bio)
{
    size_t n = bio->end - bio->start;

    return n == 0 && bio->around != NULL ? BIO_ctrl_pending(bio->around) : n;
}

size_t
sb_bio_hold(sb_bio *bio, const char **bytes)
{
    size_t n;

    lock(bio);
    *bytes = bio->buf + bio->start;
    if ((n = waiting(bio)) > 0 && bio->around != NULL)
        BIO_get_mem_data(bio->around, bytes);
    return n;
}

void
sb_bio_let_go(sb_bio *bio, char *buf, size_t len)
{
    if (len > 0)
        take(bio, buf, len);
    unlock(bio);
}

size_t
sb_bio_pending(sb_bio *bio)
{
    size_t n;

    lock(bio);
    n = waiting(bio);
    unlock(bio);
    return n;
}

void
sb_bio_write_eof(sb_bio *bio)
{
    lock(bio);
    bio->eof = 1;
    unlock(bio);
}

int
sb_bio_eof(sb_bio *bio)
{
    int eof;

    lock(bio);
    eof = bio->eof && bio->start == bio->end;
    unlock(bio);
    return eof;
}
