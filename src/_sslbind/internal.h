/* What the C files share: struct bodies and helpers that Python never sees.
 *
 * Rules of this layer: no Python.h (but in cpython/); every function that may fail takes an
 * sb_error last and leaves OpenSSL's error queue empty; a callback into Python may come back to
 * the same object; no lock is held while waiting.
 */
#ifndef SB_INTERNAL_H
#define SB_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The one deprecated thing in use is the set of version-fixed methods, see compat.h. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "compat.h"

/* cffi's generated file defines these where it includes us; elsewhere they are plain externs. */
#include "api.h"

/* What hardly ever runs is kept out of the way of what always does: a record's way through here
 * and OpenSSL takes more code than a processor's first cache holds. */
#define SB_COLD __attribute__((cold, noinline))

typedef struct sb_anchors sb_anchors;

/* What takes records in the place of a connection's buffer. */
typedef struct sb_sink sb_sink;
struct sb_sink {
    int (*take)(sb_sink *sink, const char *record, size_t len); /* returns 0: it cannot */
    int (*pause)(sb_sink *sink); /* amidst a large write: others may run; the same */
};

/* Can no other thread be here? The GNU C library knows, of others it is not asked. */
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define sb_is_single_threaded() __libc_single_threaded
#else
#define sb_is_single_threaded() 0
#endif

/* lock.c */
enum { SB_FREE, SB_TAKEN, SB_AWAITED };
typedef struct sb_lock {
    atomic_int state;
    int nested; /* how often else its holder has it */
    _Atomic(uintptr_t) holder; /* 0: nobody has it, or is just about to */
    pthread_mutex_t mutex; /* of those who wait for it, or sleep */
    pthread_cond_t given;
} sb_lock;

int sb_cond_init(pthread_cond_t *cond);
int sb_lock_init(sb_lock *lock); /* returns 0: it failed */
void sb_lock_destroy(sb_lock *lock);
SB_COLD void sb_lock_await(sb_lock *lock);
SB_COLD void sb_lock_wake(sb_lock *lock);
/* Make it anew in a child process: free, or held by the thread that forked. */
void sb_lock_after_fork(sb_lock *lock, int is_held);
/* Give it back, and sleep until a broadcast, for ns nanoseconds at most, INT64_MAX for no limit;
 * then take it again. Returns 0 when the time is over. Whoever broadcasts has the lock. */
SB_COLD int sb_lock_sleep(sb_lock *lock, pthread_cond_t *cond, int64_t ns);
SB_COLD void sb_lock_broadcast(sb_lock *lock, pthread_cond_t *cond);

/* The same as pthread_self(3) with the GNU C library, and without a call. */
static inline uintptr_t
sb_this_thread(void)
{
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 11
    return (uintptr_t)__builtin_thread_pointer();
#else
    return (uintptr_t)pthread_self();
#endif
}

/* Any thread may ask: one that does not have the lock has itself written 0 there last. */
static inline int
sb_lock_is_own(sb_lock *lock)
{
    return atomic_load_explicit(&lock->holder, memory_order_relaxed) == sb_this_thread();
}

static inline int
sb_lock_try(sb_lock *lock)
{
    int state = SB_FREE;

    if (!sb_is_single_threaded()) {
        if (!atomic_compare_exchange_strong_explicit(&lock->state, &state, SB_TAKEN,
                                                     memory_order_acquire, memory_order_relaxed))
            return 0;
    } else {
        if (atomic_load_explicit(&lock->state, memory_order_acquire) != SB_FREE)
            return 0;
        atomic_store_explicit(&lock->state, SB_TAKEN, memory_order_relaxed);
    }
    atomic_store_explicit(&lock->holder, sb_this_thread(), memory_order_relaxed);
    return 1;
}

static inline void
sb_lock_take(sb_lock *lock)
{
    if (!sb_lock_try(lock))
        sb_lock_await(lock);
}

/* Returns what the state was. */
static inline int
sb_lock_release(sb_lock *lock)
{
    atomic_store_explicit(&lock->holder, 0, memory_order_relaxed);
    if (!sb_is_single_threaded())
        return atomic_exchange_explicit(&lock->state, SB_FREE, memory_order_release);
    atomic_store_explicit(&lock->state, SB_FREE, memory_order_release);
    return SB_TAKEN;
}

static inline void
sb_lock_give(sb_lock *lock)
{
    if (lock->nested > 0)
        lock->nested--;
    else if (sb_lock_release(lock) == SB_AWAITED)
        sb_lock_wake(lock);
}

/* A fork copies locks that other threads hold, and not the threads. So the child counts up the
 * generation, and whoever locks something of an older one makes its locks anew first: that is to be
 * done if sb_generation_changed(), with all others kept out until sb_generation_done(). */
extern atomic_uint sb_current_generation;
unsigned int sb_generation(void);
SB_COLD int sb_generation_begin(atomic_uint *generation);
void sb_generation_done(atomic_uint *generation);
static inline int
sb_is_generation(atomic_uint *generation)
{
    return atomic_load(generation) == atomic_load(&sb_current_generation);
}
static inline int
sb_generation_changed(atomic_uint *generation)
{
    return !sb_is_generation(generation) && sb_generation_begin(generation);
}
/* How often this process has forked, or its parent had. */
unsigned int sb_forks(void);
/* In a child, the thread that has forked: others may be called as one was that is gone. */
uintptr_t sb_forker(void);

struct sb_ctx {
    SSL_CTX *ssl_ctx;
    _Atomic(sb_anchors *) anchors; /* trusted, too, although not in the store: see trust.c */
    atomic_int anchors_copied;     /* they are in the store by now */
    _Atomic(char *) default_store; /* a URI to look up, too, once there is a connection */
    atomic_uint generation; /* of the locks: see sb_generation */
    pthread_rwlock_t lock; /* written for a change; read by what makes connections and shakes
                              hands, down to the callbacks of hooks.c */
    atomic_int refs;
    int protocol;
    int check_hostname;
    int post_handshake_auth;
    int message; /* protocol messages go to Python */
    unsigned int host_flags;
    atomic_int keylog; /* lines go to keylog_fd */
    int keylog_fd;
    unsigned char *alpn;
    size_t alpn_len;
    unsigned char *npn;
    size_t npn_len;
};

struct sb_bio {
    atomic_uint generation;
    atomic_flag lock;
    atomic_int refs;
    BIO *around; /* where the bytes are instead, or NULL */
    int eof;
    int borrowed; /* the memory is another module's: see sb_bio_give_back() */
    char *buf; /* from OPENSSL_malloc() */
    size_t start; /* the bytes wait in buf[start .. end) */
    size_t end;
    size_t cap;
};

/* Bytes that a write encrypts before they are moved on. */
enum {
    SB_BATCH = 64 * 1024, /* larger ones fall out of the second-level cache */
    SB_LARGE_BATCH = 1024 * 1024, /* over the interpreter's MemoryBIO: see set_buffers() */
};

/* What a turn has to expect: see errors.c. */
enum sb_course {
    SB_UNSETTLED, /* it may be one of a handshake */
    SB_SETTLED,   /* the handshake is done, and nothing but data has come since */
    SB_WARY,      /* it may fail without a word, as what has failed or ended before */
};

/* The transport as OpenSSL's BIO sees it; io.c has the theory. */
struct sb_conn {
    /* What every operation looks at, which is why it stands first: near is short, in code. */
    SSL *ssl; /* NULL once released */
    sb_bio *in;
    sb_bio *out;
    sb_sink *sink; /* where records go instead, in this turn */
    int fd;        /* < 0: over in and out */
    atomic_uint generation;
    int in_turn;
    int users; /* calls in progress, those that wait included */
    int closed;
    int sleepers; /* on `changed` */
    int io_errno;     /* of the last failing system call, 0: none */
    int at_eof;       /* the transport has ended */
    int moved;        /* this turn has received or sent something */
    int in_handshake; /* this turn began amidst one */
    enum sb_course course;
    int unlooked; /* this turn has not looked at the error queue */
    sb_ctx *held;     /* the context that this turn keeps from changing */
    char *unsent;     /* records that the transport has not taken */

    size_t unsent_len;
    size_t written;     /* bytes of the user's buffer that are encrypted, until all are sent */
    size_t header_len;  /* of the next record: taken, or all peeked at */
    size_t record_left; /* bytes of the record that OpenSSL is reading */
    size_t delivered;   /* bytes this call has for the user already; > 0 guards record starts */
    size_t room;        /* bytes of the user's buffer that are left */
    size_t arrived;     /* bytes that are known to wait, once something has been delivered */
    int peeked;
    int emptied; /* with the last record, memory was, or the socket */
    unsigned char header[5];
    int is_data; /* the record that OpenSSL is reading is application data */
    sb_error *late; /* a failure met behind data that was delivered: for the next read */
    int has_read; /* application data has been delivered */
    int may_keep_buffers; /* of OpenSSL's, that nothing waits in */
    int kernel_decrypts;
    int message;    /* protocol messages go to Python */
    int collect;    /* writes wait in unsent, for the whole of a batch */
    int writing;    /* some thread is in a write, maybe waiting: */
    uintptr_t writer;
    int refused;    /* writes of its signal handlers, until they are given up */

    sb_lock lock; /* around every SSL_* call and every system call on fd but poll */
    pthread_cond_t changed; /* a turn has ended while somebody slept on this */
    int read_watched; /* some thread is in poll(2) for this direction */
    int write_watched;
    int paused;      /* amidst a turn, OpenSSL being at rest */
    int torn;        /* by a fork, amidst a turn of a thread that is not here: ssl is NULL */
    int release;

    sb_ctx *ctx;
    sb_ctx *first_ctx; /* until the end: OpenSSL keeps its session cache in use */
    unsigned char *npn;
    void *handle;
    int is_server;
    unsigned int forks; /* sb_forks() when it was made: later ones share the socket */
    atomic_int called_python; /* an exception may wait there: see _hooks.py */
    int pumped; /* in and out are its own: see sb_conn_in() */
    size_t unsent_pos;
    size_t unsent_cap;
    unsigned int batch; /* SB_BATCH or SB_LARGE_BATCH */
    int cut_off;        /* the transport has ended without close_notify */

    BIO *kernel;         /* below the transport, with OP_ENABLE_KTLS; ktls.c has the theory */
    int kernel_encrypts; /* what is sent is plaintext for the kernel */
    int kernel_mark;     /* how many bytes must wait to be reported: SO_RCVLOWAT, socket(7) */
    int kernel_was_told; /* the type of the next record, which is no data */
};

/* errors.c: the only reader of the error queue. */
void sb_clear_queue(void);
void sb_conn_look(sb_conn *conn); /* the same, once a turn, before something may fail */
/* Around what may use OpenSSL for itself, amidst an operation: the errors that it leaves are
 * dropped, and the newest of before is there again. */
unsigned long sb_leave_queue(void);
void sb_back_to_queue(unsigned long newest);
/* sb_clear_queue(); 1: there was a lack of memory, with which OpenSSL may have gone on all the
 * same. */
int sb_memory_was_short(void);
/* SB_FAILED, with the newest error of the queue. */
SB_COLD int sb_take_queue(sb_error *err, int line);
int sb_no_more_pem(void); /* 1: the newest error is that a PEM text has come to its end */
SB_COLD int sb_take_errno(sb_error *err, int errno_value, int line);
SB_COLD int sb_fail_at(sb_error *err, int status, const char *text, int line);
int sb_classify(sb_conn *conn, int ret, sb_error *err, int line);
#define SB_FAIL_QUEUE(err) sb_take_queue((err), __LINE__)
#define SB_FAIL_ERRNO(err, number) sb_take_errno((err), (number), __LINE__)
#define SB_FAIL(err, status, text) sb_fail_at((err), (status), (text), __LINE__)

/* lib.c */
void sb_block_init(sb_block *block);
/* Append to the item that is being made; data NULL: leave it as it is. Returns where, or NULL. */
char *sb_block_append(sb_block *block, const void *data, size_t len);
void sb_block_end_item(sb_block *block);
void sb_block_add(sb_block *block, const void *data, size_t len); /* a whole item */
void sb_block_add_text(sb_block *block, const char *text);
void sb_block_add_number(sb_block *block, long long number);
void sb_block_add_bio(sb_block *block, BIO *memory); /* and empties the BIO */
int sb_block_status(sb_block *block, sb_error *err); /* SB_OK, or what failed */
/* marshal.c: values for Python's marshal.loads(), appended to a block. */
typedef struct sb_sequence {
    size_t at;
    size_t count; /* of its items: kept by whoever puts them */
} sb_sequence;
void sb_put_integer(sb_block *block, int number);
void sb_put_bytes(sb_block *block, const void *text, size_t len); /* a str, of UTF-8 */
void sb_put_octets(sb_block *block, const void *octets, size_t len); /* bytes */
void sb_put_text(sb_block *block, const char *text);
void sb_put_bio(sb_block *block, BIO *memory); /* and empties the BIO */
void sb_put_dict(sb_block *block);             /* then keys and values by turns */
void sb_end_dict(sb_block *block);
sb_sequence sb_put_sequence(sb_block *block, char code); /* '(' for a tuple, '[' for a list */
void sb_end_sequence(sb_block *block, sb_sequence sequence);

/* ctx.c */
void sb_ctx_up_ref(sb_ctx *ctx);

/* anchors.c: a set of certificates and CRLs that never changes. Each of the two returns a
 * reference. Of a PEM file: NULL if it is for OpenSSL to load and to complain about. Of a text: in
 * *ok whether all of it was understood, else OpenSSL's error is left; the set has what came before
 * that, NULL without memory. */
enum sb_text { SB_TEXT_FILE, SB_TEXT_PEM, SB_TEXT_DER };
sb_anchors *sb_anchors_of_file(const char *path);
sb_anchors *sb_anchors_of_text(enum sb_text kind, const char *text, size_t len, int *ok);
void sb_anchors_free(sb_anchors *anchors);
int sb_anchors_n_certs(const sb_anchors *anchors);
int sb_anchors_n_crls(const sb_anchors *anchors);
/* Put all of it into a store, or the certificates of one subject. Returns 0 without memory. */
int sb_anchors_copy(const sb_anchors *anchors, X509_STORE *store);
int sb_anchors_copy_subject(const sb_anchors *anchors, X509_STORE *store, const X509_NAME *name);

/* distrust.c: look for a key that no chain may have. Returns an error as of
 * X509_STORE_CTX_get_error(3), and which certificate it is about. */
int sb_check_keys(STACK_OF(X509) *chain, int *depth);

/* chains.c: let that be done when a store verifies, and a chain be spared its signatures the next
 * time. Returns 0 without memory. */
int sb_chains_watch(X509_STORE *store);

/* trust.c: for a context that is being made; for one that gets a connection, with no lock held. */
int sb_ctx_init_trust(sb_ctx *ctx);
void sb_ctx_finish_trust(sb_ctx *ctx);

/* bio.c: make room at once for what will be written in parts. */
void sb_bio_reserve(sb_bio *bio, size_t len);
/* How many bytes wait, and where, for whoever then takes some of them, or none, and lets go. */
size_t sb_bio_hold(sb_bio *bio, const char **waiting);
void sb_bio_let_go(sb_bio *bio, char *buf, size_t len);
/* As recv(2) does, cap being no more than an int: 0 at the end, -1 if nothing is there yet. */
int sb_bio_receive(sb_bio *bio, char *buf, size_t cap);
void sb_bio_up_ref(sb_bio *bio);
/* One of which `around`, whose references it shares, is what the bytes are in. NULL: no memory. */
sb_bio *sb_bio_around(BIO *around);
/* The newest BIO of this OpenSSL that this thread has made when `make` returns, or NULL; it may be
 * gone by then. */
const void *sb_bio_made_by(void (*make)(void *), void *arg);
/* For a memory BIO of another module that uses this OpenSSL, while nobody else can use that.
 * Take over what is in it. Returns 1: there was something; 0; -1: no memory. */
int sb_bio_fill(sb_bio *bio, BIO *mem);
int sb_bio_has_ended(BIO *mem); /* it is empty, and that is the end */
/* What sb_bio_fill() has taken and nobody has read, with its memory, unless the input has ended. */
void sb_bio_give_back(sb_bio *bio, BIO *mem);
/* Write into its memory, with room for so many bytes, if there is any. is_held: nobody else can use
 * it until it is drained, so that what is in it can be taken along. */
void sb_bio_borrow(sb_bio *bio, BIO *mem, size_t len, int is_held);
/* Append all to what is in there, with memory that was borrowed. SB_OK or SB_NO_MEMORY. */
int sb_bio_drain(sb_bio *bio, BIO *mem);

/* certs.c: take references to the certificates of a list. */
int sb_cert_list(STACK_OF(X509) *list, X509 *first, sb_cert ***certs, size_t *n, sb_error *err);

void sb_ctx_read_lock(sb_ctx *ctx);
void sb_ctx_write_lock(sb_ctx *ctx);

/* io.c */
int64_t sb_now_ns(void); /* on a clock that only goes forward */
BIO_METHOD *sb_transport_method(void);
int sb_transport_read(BIO *bio, char *buf, int len);
size_t sb_whole_records(sb_conn *conn); /* how many bytes of them wait in memory */
int sb_transport_write(BIO *bio, const char *buf, int len);
size_t sb_encrypted_length(size_t len); /* at most, with the usual ciphers */
/* sb_conn_read() and sb_conn_write(), over memory, if that waits for nobody, and is soon over or
 * makes pauses, as with a sink. Returns 0: nothing was done. If a sink fails, the count is 0. */
int sb_conn_read_quickly(sb_conn *conn, char *buf, size_t cap, long long *count);
int sb_conn_write_quickly(sb_conn *conn, const char *buf, size_t len, sb_sink *sink,
                          long long *count);
SB_COLD void sb_conn_begin_in_child(sb_conn *conn);
/* Before the lock is taken, and when a thread comes back into a turn: maybe in a child process. */
static inline void
sb_conn_go_on(sb_conn *conn)
{
    if (sb_generation_changed(&conn->generation))
        sb_conn_begin_in_child(conn);
}
/* Lock for an OpenSSL call that does no I/O. SB_CLOSED: nothing to call it on. */
int sb_conn_enter(sb_conn *conn, sb_error *err);
void sb_conn_leave(sb_conn *conn);

/* ktls.c: a transport that can leave its records to the kernel; NULL: no memory. */
BIO *sb_ktls_transport(sb_conn *conn);
/* One try; how many bytes were sent, 0 at the file's end, or a status. SSL_sendfile(3) */
long long sb_ktls_sendfile(sb_conn *conn, int file, long long offset, size_t size, int flags,
                           sb_error *err);

/* session.c: SSL_free(3); a server may resume the session. */
void sb_free_ssl(SSL *ssl);

/* conn.c: keep the connection's context from changing; callbacks into Python let it go. */
void sb_conn_hold_ctx(sb_conn *conn);
void sb_conn_let_go_ctx(sb_conn *conn);

/* hooks.c */
int sb_on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
               unsigned int in_len, void *arg);
int sb_on_npn_select(SSL *ssl, unsigned char **out, unsigned char *out_len, const unsigned char *in,
                     unsigned int in_len, void *arg);
int sb_on_npn_advertise(SSL *ssl, const unsigned char **out, unsigned int *out_len, void *arg);
int sb_on_sni(SSL *ssl, int *alert, void *arg);
void sb_on_message(int write, int version, int type, const void *buf, size_t len, SSL *ssl,
                   void *arg);
void sb_on_keylog(const SSL *ssl, const char *line);
void sb_on_progress(const SSL *ssl, int where, int value);
int sb_on_password(char *buf, int cap, int writing, void *handle);
unsigned int sb_on_psk_client(SSL *ssl, const char *hint, char *identity, unsigned int id_cap,
                              unsigned char *psk, unsigned int cap);
unsigned int sb_on_psk_server(SSL *ssl, const char *identity, unsigned char *psk, unsigned int cap);

#endif
