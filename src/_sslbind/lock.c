/* The lock of a connection, and what a fork does to locks.
 *
 * Each operation takes it, and threads hardly ever meet there. So it is one word, taken and given
 * back in line: by an atomic exchange each, in a process of one thread by a store. Whoever has to
 * wait says so in that word, and sleeps on a condition.
 *
 * It is recursive: a callback into Python, or an object that is freed amidst an operation, may come
 * back to the same connection.
 */
#include "internal.h"

#include <time.h>

enum { SECOND = 1000000000 };

int
sb_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int failed;

    if (pthread_condattr_init(&attr) != 0)
        return 0;
#ifndef __APPLE__ /* which has no such call, but waits for a span of time */
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
#endif
    failed = pthread_cond_init(cond, &attr) != 0;
    pthread_condattr_destroy(&attr);
    return !failed;
}

static int
wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ns)
{
    struct timespec ts;

    if (ns == INT64_MAX)
        return pthread_cond_wait(cond, mutex) == 0;
#ifdef __APPLE__
    ts.tv_sec = (time_t)(ns / SECOND);
    ts.tv_nsec = (long)(ns % SECOND);
    return pthread_cond_timedwait_relative_np(cond, mutex, &ts) == 0;
#else
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ns += ts.tv_nsec;
    ts.tv_sec += (time_t)(ns / SECOND);
    ts.tv_nsec = (long)(ns % SECOND);
    return pthread_cond_timedwait(cond, mutex, &ts) == 0;
#endif
}

int
sb_lock_init(sb_lock *lock)
{
    atomic_init(&lock->state, SB_FREE);
    atomic_init(&lock->holder, 0);
    lock->nested = 0;
    return pthread_mutex_init(&lock->mutex, NULL) == 0 && sb_cond_init(&lock->given);
}

void
sb_lock_destroy(sb_lock *lock)
{
    pthread_cond_destroy(&lock->given);
    pthread_mutex_destroy(&lock->mutex);
}

/* Who has waited cannot know whether others still do, and says that they may. */
void
sb_lock_await(sb_lock *lock)
{
    if (sb_lock_is_own(lock)) {
        lock->nested++;
        return;
    }
    pthread_mutex_lock(&lock->mutex);
    while (atomic_exchange_explicit(&lock->state, SB_AWAITED, memory_order_acquire) != SB_FREE)
        pthread_cond_wait(&lock->given, &lock->mutex);
    pthread_mutex_unlock(&lock->mutex);
    atomic_store_explicit(&lock->holder, sb_this_thread(), memory_order_relaxed);
}

void
sb_lock_wake(sb_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    pthread_cond_signal(&lock->given);
    pthread_mutex_unlock(&lock->mutex);
}

void
sb_lock_after_fork(sb_lock *lock, int is_held)
{
    sb_lock_init(lock);
    atomic_store(&lock->state, is_held ? SB_TAKEN : SB_FREE);
    atomic_store(&lock->holder, is_held ? sb_forker() : 0);
}

/* Between the two there is no moment for sb_lock_broadcast(), which wants the mutex as well. */
int
sb_lock_sleep(sb_lock *lock, pthread_cond_t *cond, int64_t ns)
{
    int woken;

    pthread_mutex_lock(&lock->mutex);
    if (sb_lock_release(lock) == SB_AWAITED)
        pthread_cond_signal(&lock->given);
    woken = wait_for(cond, &lock->mutex, ns);
    pthread_mutex_unlock(&lock->mutex);
    sb_lock_take(lock);
    return woken;
}

void
sb_lock_broadcast(sb_lock *lock, pthread_cond_t *cond)
{
    pthread_mutex_lock(&lock->mutex);
    pthread_cond_broadcast(cond);
    pthread_mutex_unlock(&lock->mutex);
}

/* ---------------------------------------------------------------- forks */

atomic_uint sb_current_generation;
static atomic_uint forks;
static _Atomic(uintptr_t) forker;
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
    atomic_store(&forker, sb_this_thread());
    pthread_mutex_init(&generation_lock, NULL);
}

static void
watch_forks(void)
{
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

uintptr_t
sb_forker(void)
{
    return atomic_load(&forker);
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
