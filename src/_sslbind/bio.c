/* Memory buffers: what MemoryBIO is made of, and what a connection without a socket reads from
 * and writes to. Several threads may use one; each call takes the buffer's own lock, of one byte:
 * threads hardly ever meet here, and each has it for a copy of bytes.
 *
 * One may be around a memory BIO of OpenSSL's (BIO_s_mem(3)), which is what PyPy's MemoryBIO is
 * made of: then its own buffer stays empty, and it is for a connection alone. Whoever else uses
 * that BIO does not take the lock.
 *
 * CPython's is made of one as well, whose other users have the GIL, and not the lock either. So an
 * operation, which need not have it, takes what is in there before, and puts back after it: a
 * little by copying, more by exchanging the memory that it is in.
 */
#include "internal.h"

#include <limits.h>
#include <stdlib.h>
#include <time.h>

/* Small enough for thousands of idle connections, large enough for a record and its header. */
enum { FIRST_CAP = 17 * 1024 };
/* An empty buffer larger than this is given back. */
enum { KEPT_CAP = 64 * 1024 };
/* Copied for less than what an exchange of memory takes. */
enum { FEW = 4096 };
/* With more in it a memory BIO keeps its memory: BUF_MEM_grow(3) has its limit at 1.5 of this. */
enum { MOST = 1 << 30 };

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

SB_COLD static void
begin_in_child(sb_bio *bio)
{
    atomic_flag_clear(&bio->lock);
    sb_generation_done(&bio->generation);
}

/* Whoever has it may be of lower priority: it must be slept for, and not only yielded to. */
SB_COLD static void
await(sb_bio *bio)
{
    const struct timespec moment = {0, 20000};

    while (atomic_flag_test_and_set_explicit(&bio->lock, memory_order_acquire))
        nanosleep(&moment, NULL);
}

/* Nobody calls out of here with it: a process of one thread stays so, and needs none. */
static inline void
lock(sb_bio *bio)
{
    if (sb_generation_changed(&bio->generation))
        begin_in_child(bio);
    if (!sb_is_single_threaded() &&
        atomic_flag_test_and_set_explicit(&bio->lock, memory_order_acquire))
        await(bio);
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
    OPENSSL_free(bio->buf);
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

static void
drop_memory(sb_bio *bio)
{
    OPENSSL_free(bio->buf);
    bio->buf = NULL;
    bio->start = bio->end = bio->cap = 0;
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
        if (cap < used + len)
            cap = 2 * cap < used + len ? used + len : 2 * cap;
        if ((moved = OPENSSL_malloc(cap)) == NULL) {
            sb_clear_queue();
            return 0;
        }
        if (used > 0)
            memcpy(moved, bio->buf + bio->start, used);
        OPENSSL_free(bio->buf);
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
    int fits;

    lock(bio);
    fits = len <= bio->cap - bio->end;
    if (!fits && bio->around != NULL) {
        fits = BIO_write(bio->around, buf, (int)len) == (int)len;
    } else if (len > 0 && (fits || (fits = make_room(bio, len)))) {
        memcpy(bio->buf + bio->end, buf, len);
        bio->end += len;
    }
    unlock(bio);
    return fits ? SB_OK : SB_NO_MEMORY;
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
        if (bio->cap > KEPT_CAP && !bio->borrowed)
            drop_memory(bio);
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
    lock(bio);
    *bytes = bio->buf + bio->start;
    if (bio->around != NULL)
        return (size_t)BIO_get_mem_data(bio->around, bytes);
    return bio->end - bio->start;
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

/* ---------------------------------------------------------------- memory BIOs of other modules */

static _Thread_local BIO *newest;

static void
on_new(void *bio, void *value, CRYPTO_EX_DATA *data, int index, long number, void *pointer)
{
    (void)value;
    (void)data;
    (void)index;
    (void)number;
    (void)pointer;
    newest = bio;
}

const void *
sb_bio_made_by(void (*make)(void *), void *arg)
{
    int index = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_BIO, 0, NULL, on_new, NULL, NULL);

    newest = NULL;
    make(arg);
    if (index < 0)
        sb_clear_queue();
    else
        CRYPTO_free_ex_index(CRYPTO_EX_INDEX_BIO, index);
    return newest;
}

/* With the lock, as all that follow. Returns 0: no memory for that. */
static int
exchange(sb_bio *bio, BIO *mem)
{
    size_t len = bio->end - bio->start;
    BUF_MEM *given = len <= INT_MAX ? BUF_MEM_new() : NULL, *had = NULL;

    if (given == NULL || BIO_get_mem_ptr(mem, &had) <= 0) {
        BUF_MEM_free(given);
        sb_clear_queue();
        return 0;
    }
    if (bio->start > 0)
        memmove(bio->buf, bio->buf + bio->start, len);
    given->data = bio->buf;
    given->length = len;
    given->max = bio->cap;
    bio->buf = had->data;
    bio->start = 0;
    bio->end = had->length;
    bio->cap = had->max;
    had->data = NULL; /* it is freed with the next call, and what is in there would be erased */
    had->length = had->max = 0;
    BIO_set_mem_buf(mem, given, BIO_CLOSE);
    return 1;
}

/* Of memory that was not borrowed, or cannot go back, no more is kept than elsewhere. */
static void
end_loan(sb_bio *bio)
{
    bio->borrowed = 0;
    if (bio->start == bio->end && bio->cap > KEPT_CAP)
        drop_memory(bio);
}

int
sb_bio_fill(sb_bio *bio, BIO *mem)
{
    size_t n = BIO_ctrl_pending(mem);
    int done = 0;

    if (n == 0)
        return 0;
    lock(bio);
    if (n > FEW && bio->start == bio->end)
        done = bio->borrowed = exchange(bio, mem);
    if (!done && make_room(bio, n) && BIO_read(mem, bio->buf + bio->end, (int)n) == (int)n) {
        bio->end += n;
        done = 1;
    }
    unlock(bio);
    return done ? 1 : -1;
}

int
sb_bio_has_ended(BIO *mem)
{
    char byte;

    return BIO_ctrl_pending(mem) == 0 && BIO_read(mem, &byte, 1) == 0;
}

void
sb_bio_give_back(sb_bio *bio, BIO *mem)
{
    if (!bio->borrowed) /* by this thread: it has the GIL */
        return;
    lock(bio);
    if (!bio->eof && bio->end - bio->start <= FIRST_CAP && BIO_ctrl_pending(mem) == 0 &&
        exchange(bio, mem))
        end_loan(bio);
    unlock(bio);
}

void
sb_bio_borrow(sb_bio *bio, BIO *mem, size_t len, int is_held)
{
    lock(bio);
    if (bio->start == bio->end && BIO_ctrl_pending(mem) <= (is_held ? MOST : 0))
        bio->borrowed = exchange(bio, mem);
    make_room(bio, len);
    unlock(bio);
}

int
sb_bio_drain(sb_bio *bio, BIO *mem)
{
    int status = SB_OK;
    size_t n;

    lock(bio);
    n = bio->end - bio->start;
    if ((bio->borrowed || n > FEW) && BIO_ctrl_pending(mem) == 0 && exchange(bio, mem)) {
        end_loan(bio);
    } else if (n > INT_MAX || (n > 0 && BIO_write(mem, bio->buf + bio->start, (int)n) != (int)n)) {
        sb_clear_queue();
        status = SB_NO_MEMORY;
    } else {
        bio->start = bio->end = 0;
        end_loan(bio);
    }
    unlock(bio);
    return status;
}
