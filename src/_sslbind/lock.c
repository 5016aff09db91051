/* Locks for what threads hardly ever meet at, connections and buffers; what a fork does to them.
 *
 * An operation takes two or three, so that it counts what a lock costs: this one a single atomic
 * exchange, none in a process of one thread, where a mutex takes two, and two calls. To give it
 * back is a plain store. So whoever gives it back may not see that somebody has begun to wait just
 * then, and who waits looks again from time to time. They sleep meanwhile, and do not only yield:
 * whoever has the lock may be of lower priority.
 *
 * The place to sleep at depends on the address of the word that is waited for; those who share
 * one are woken for nothing.
 */
#include "internal.h"

#include <time.h>

enum {
    PLACES = 64,
    LOOK_AGAIN = 1000000, /* nanoseconds */
    SECOND = 1000000000,
};

static struct place {
    pthread_mutex_t mutex;
    pthread_cond_t woken;
} places[PLACES];

static void
make_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
#ifndef __APPLE__ /* which has no such call, but waits for a span of time */
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static void
make_places(void)
{
    int i;

    for (i = 0; i < PLACES; i++) {
        pthread_mutex_init(&places[i].mutex, NULL);
        make_cond(&places[i].woken);
    }
}

static struct place *
place_of(const atomic_int *word)
{
    uintptr_t line = (uintptr_t)word / 64;

    return &places[(line ^ line / PLACES) % PLACES];
}

static int
wait_for(struct place *place, int64_t ns)
{
    struct timespec ts;

    if (ns == INT64_MAX)
        return pthread_cond_wait(&place->woken, &place->mutex) == 0;
#ifdef __APPLE__
    ts.tv_sec = (time_t)(ns / SECOND);
    ts.tv_nsec = (long)(ns % SECOND);
    return pthread_cond_timedwait_relative_np(&place->woken, &place->mutex, &ts) == 0;
#else
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ns += ts.tv_nsec;
    ts.tv_sec += (time_t)(ns / SECOND);
    ts.tv_nsec = (long)(ns % SECOND);
    return pthread_cond_timedwait(&place->woken, &place->mutex, &ts) == 0;
#endif
}

int
sb_sleep(atomic_int *word, int value, int64_t ns)
{
    struct place *place = place_of(word);
    int woken = 1;

    pthread_mutex_lock(&place->mutex);
    if (atomic_load(word) == value)
        woken = wait_for(place, ns);
    pthread_mutex_unlock(&place->mutex);
    return woken;
}

void
sb_wake(atomic_int *word)
{
    struct place *place = place_of(word);

    pthread_mutex_lock(&place->mutex);
    pthread_cond_broadcast(&place->woken);
    pthread_mutex_unlock(&place->mutex);
}

atomic_int sb_lock_waiters;

void
sb_lock_await(sb_lock *lock)
{
    atomic_fetch_add(&sb_lock_waiters, 1);
    while (!sb_lock_try(lock))
        sb_sleep(lock, SB_TAKEN, LOOK_AGAIN);
    atomic_fetch_sub(&sb_lock_waiters, 1);
}

/* ---------------------------------------------------------------- forks */

atomic_uint sb_current_generation;
static atomic_uint forks;
static pthread_mutex_t generation_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t generation_once = PTHREAD_ONCE_INIT;

static void
after_fork_in_parent(void)
{
    atomic_fetch_add(&forks, 1);
}

static void
after_fork_in_child(void)
{
    atomic_fetch_add(&forks, 1);
    atomic_fetch_add(&sb_current_generation, 1);
    pthread_mutex_init(&generation_lock, NULL);
    atomic_store(&sb_lock_waiters, 0);
    make_places();
}

static void
watch_forks(void)
{
    make_places();
    pthread_atfork(NULL, after_fork_in_parent, after_fork_in_child);
}

unsigned int
sb_generation(void)
{
    pthread_once(&generation_once, watch_forks);
    return atomic_load(&sb_current_generation);
}

unsigned int
sb_forks(void)
{
    return atomic_load(&forks);
}

int
sb_generation_begin(atomic_uint *generation)
{
    pthread_mutex_lock(&generation_lock);
    if (!sb_is_generation(generation))
        return 1;
    pthread_mutex_unlock(&generation_lock);
    return 0;
}

void
sb_generation_done(atomic_uint *generation)
{
    atomic_store(generation, atomic_load(&sb_current_generation));
    pthread_mutex_unlock(&generation_lock);
}
