/* Trust anchors: what a file or a text of CA certificates and CRLs holds, parsed once per process.
 *
 * A set is never changed once it is made, so any number of contexts may look into it at once; it
 * goes with its last reference. What contexts do with it is in trust.c.
 *
 * A few sets are kept for the next context, found by the SHA-256 of the text they were made of:
 * never stale, whatever happens to a file. To spare reading the file, too, its path and what
 * fstat(2) tells of the open descriptor are kept with it; and that only if a later write must show
 * there, which takes a file whose last change lies further back than the clocks of file systems
 * are coarse.
 *
 * Whatever is out of the ordinary (no regular file, a large one, one that cannot be understood or
 * is being written) gives no set: the caller lets OpenSSL load it, and say what is wrong.
 */
#include "internal.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST_TEXT = 1 << 20, /* bytes of a text that is kept; the usual bundle has 220 000 */
    MOST_KEPT = 2 << 20, /* bytes of all of them; parsed, they take about four times as much */
    MOST_SETS = 16,
    COARSE = 2, /* seconds: the clock of FAT */
};

struct placed {
    X509 *cert;
    int place; /* in the text */
};

struct sb_anchors {
    atomic_int refs;
    STACK_OF(X509_OBJECT) *objects; /* in the order of the text */
    int n_crls;
    int n_certs;
    struct placed *by_subject; /* the certificates of `objects`, sorted */
};

/* A file as it was when it was read. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed[2]; /* its contents, and its entry */
};

struct kept {
    struct kept *next;
    sb_anchors *anchors;
    enum sb_text kind;
    size_t len;
    unsigned char digest[32];
    char *path; /* NULL: found by its contents only */
    struct stamp stamp;
};

/* Around the list only, and never while a file is read or parsed. Nothing else is locked inside. */
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept *kept_first; /* the last one used */

/* ---------------------------------------------------------------- a set */

void
sb_anchors_free(sb_anchors *anchors)
{
    if (anchors == NULL || atomic_fetch_sub(&anchors->refs, 1) > 1)
        return;
    sk_X509_OBJECT_pop_free(anchors->objects, X509_OBJECT_free);
    free(anchors->by_subject);
    free(anchors);
}

static sb_anchors *
new_anchors(void)
{
    sb_anchors *anchors = calloc(1, sizeof *anchors);

    if (anchors == NULL)
        return NULL;
    atomic_init(&anchors->refs, 1);
    if ((anchors->objects = sk_X509_OBJECT_new_null()) == NULL) {
        free(anchors);
        return NULL;
    }
    return anchors;
}

/* Takes a reference to the certificate, or to the CRL. */
static int
add_object(sb_anchors *anchors, X509 *cert, X509_CRL *crl)
{
    X509_OBJECT *object = X509_OBJECT_new();

    if (object == NULL ||
        !(cert != NULL ? X509_OBJECT_set1_X509(object, cert)
                       : X509_OBJECT_set1_X509_CRL(object, crl)) ||
        !sk_X509_OBJECT_push(anchors->objects, object)) {
        X509_OBJECT_free(object);
        return 0;
    }
    if (cert != NULL)
        anchors->n_certs++;
    else
        anchors->n_crls++;
    return 1;
}

/* Of one subject, the first in the text comes first: a copy that differs from it in its trust
 * settings only does not count (X509_cmp(3)), and qsort(3) may change the order of equals. */
static int
compare_placed(const void *a, const void *b)
{
    const struct placed *one = a, *two = b;
    int order = X509_NAME_cmp(X509_get_subject_name(one->cert), X509_get_subject_name(two->cert));

    return order != 0 ? order : one->place - two->place;
}

static int
sort_by_subject(sb_anchors *anchors)
{
    size_t n = 0;
    int i;

    anchors->by_subject = malloc(sizeof(struct placed) * ((size_t)anchors->n_certs + 1));
    if (anchors->by_subject == NULL)
        return 0;
    for (i = 0; i < sk_X509_OBJECT_num(anchors->objects); i++) {
        X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(anchors->objects, i));

        if (cert != NULL)
            anchors->by_subject[n++] = (struct placed){cert, i};
    }
    qsort(anchors->by_subject, n, sizeof(struct placed), compare_placed);
    return 1;
}

int
sb_anchors_n_certs(const sb_anchors *anchors)
{
    return anchors->n_certs;
}

int
sb_anchors_n_crls(const sb_anchors *anchors)
{
    return anchors->n_crls;
}

int
sb_anchors_copy(const sb_anchors *anchors, X509_STORE *store)
{
    int i;

    for (i = 0; i < sk_X509_OBJECT_num(anchors->objects); i++) {
        X509_OBJECT *object = sk_X509_OBJECT_value(anchors->objects, i);
        X509 *cert = X509_OBJECT_get0_X509(object);

        if (!(cert != NULL ? X509_STORE_add_cert(store, cert)
                           : X509_STORE_add_crl(store, X509_OBJECT_get0_X509_CRL(object))))
            return 0;
    }
    return 1;
}

int
sb_anchors_copy_subject(const sb_anchors *anchors, X509_STORE *store, const X509_NAME *name)
{
    int low = 0, high = anchors->n_certs, middle;

    while (low < high) { /* for the first whose subject is not before the name */
        middle = low + (high - low) / 2;
        if (X509_NAME_cmp(X509_get_subject_name(anchors->by_subject[middle].cert), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < anchors->n_certs; low++) {
        X509 *cert = anchors->by_subject[low].cert;

        if (X509_NAME_cmp(X509_get_subject_name(cert), name) != 0)
            break;
        if (!X509_STORE_add_cert(store, cert))
            return 0;
    }
    return 1;
}

/* ---------------------------------------------------------------- from text to a set */

/* As X509_load_cert_crl_file(3) does it. */
static int
parse_file(sb_anchors *anchors, BIO *memory)
{
    STACK_OF(X509_INFO) *infos = PEM_X509_INFO_read_bio(memory, NULL, NULL, (void *)"");
    int i, ok = sk_X509_INFO_num(infos) > 0;

    for (i = 0; ok && i < sk_X509_INFO_num(infos); i++) {
        X509_INFO *info = sk_X509_INFO_value(infos, i);

        ok = (info->x509 == NULL || add_object(anchors, info->x509, NULL)) &&
             (info->crl == NULL || add_object(anchors, NULL, info->crl));
    }
    sk_X509_INFO_pop_free(infos, X509_INFO_free);
    return ok && anchors->n_certs + anchors->n_crls > 0;
}

/* As the stdlib does it: other things may stand in a PEM text. */
static int
parse_certs(sb_anchors *anchors, BIO *memory, int pem)
{
    X509 *cert;
    int ok;

    do {
        cert = pem ? PEM_read_bio_X509(memory, NULL, NULL, NULL) : d2i_X509_bio(memory, NULL);
        if (cert == NULL)
            return pem && anchors->n_certs > 0 && sb_no_more_pem();
        ok = add_object(anchors, cert, NULL);
        X509_free(cert);
    } while (ok && (pem || BIO_pending(memory) > 0));
    return ok;
}

/* Returns what could be understood, in *ok whether that is all, and leaves OpenSSL's error. */
static sb_anchors *
parse(enum sb_text kind, const char *text, size_t len, int *ok)
{
    sb_anchors *anchors = new_anchors();
    BIO *memory = BIO_new_mem_buf(text, (int)len);

    *ok = anchors != NULL && memory != NULL &&
          (kind == SB_TEXT_FILE ? parse_file(anchors, memory)
                                : parse_certs(anchors, memory, kind == SB_TEXT_PEM));
    BIO_free(memory);
    if (anchors != NULL && !sort_by_subject(anchors)) {
        sb_anchors_free(anchors);
        *ok = 0;
        return NULL;
    }
    return anchors;
}

/* ---------------------------------------------------------------- the sets that are kept */

/* A child must not find the list half changed by a thread that it does not have. */
static void
lock_kept(void)
{
    pthread_mutex_lock(&kept_lock);
}

static void
unlock_kept(void)
{
    pthread_mutex_unlock(&kept_lock);
}

static void
watch_forks(void)
{
    pthread_atfork(lock_kept, unlock_kept, unlock_kept);
}

static void
enter(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, watch_forks);
    lock_kept();
}

static void
free_kept(struct kept *kept)
{
    struct kept *next;

    for (; kept != NULL; kept = next) {
        next = kept->next;
        sb_anchors_free(kept->anchors);
        free(kept->path);
        free(kept);
    }
}

static sb_anchors *
up_ref(sb_anchors *anchors)
{
    atomic_fetch_add(&anchors->refs, 1);
    return anchors;
}

/* Moves it to the front. */
static sb_anchors *
use(struct kept **link)
{
    struct kept *kept = *link;

    *link = kept->next;
    kept->next = kept_first;
    kept_first = kept;
    return up_ref(kept->anchors);
}

static int
same_stamp(const struct stamp *a, const struct stamp *b)
{
    int i, same = a->device == b->device && a->inode == b->inode && a->size == b->size;

    for (i = 0; i < 2; i++)
        same = same && a->changed[i].tv_sec == b->changed[i].tv_sec &&
               a->changed[i].tv_nsec == b->changed[i].tv_nsec;
    return same;
}

static sb_anchors *
find_by_stamp(const char *path, const struct stamp *stamp)
{
    sb_anchors *found = NULL;
    struct kept **link;

    enter();
    for (link = &kept_first; *link != NULL; link = &(*link)->next)
        if ((*link)->path != NULL && same_stamp(&(*link)->stamp, stamp) &&
            strcmp((*link)->path, path) == 0)
            break;
    if (*link != NULL)
        found = use(link);
    unlock_kept();
    return found;
}

static struct kept **
link_by_digest(const struct kept *wanted)
{
    struct kept **link;

    for (link = &kept_first; *link != NULL; link = &(*link)->next)
        if ((*link)->kind == wanted->kind && (*link)->len == wanted->len &&
            memcmp((*link)->digest, wanted->digest, sizeof wanted->digest) == 0)
            break;
    return link;
}

/* `wanted` tells kind, length and digest; its path, if it has one, goes over to what is found. */
static sb_anchors *
find_by_digest(struct kept *wanted)
{
    sb_anchors *found = NULL;
    struct kept **link;
    char *path;

    enter();
    link = link_by_digest(wanted);
    if (*link != NULL) {
        found = use(link);
        if (wanted->path != NULL) {
            path = kept_first->path;
            kept_first->path = wanted->path;
            kept_first->stamp = wanted->stamp;
            wanted->path = path;
        }
    }
    unlock_kept();
    return found;
}

/* Cuts off those that were used longest ago and exceed the limits. */
static struct kept *
surplus(void)
{
    struct kept **link, *rest;
    size_t bytes = 0;
    int n = 0;

    for (link = &kept_first; *link != NULL; link = &(*link)->next) {
        bytes += (*link)->len;
        if (++n > MOST_SETS || bytes > MOST_KEPT)
            break;
    }
    rest = *link;
    *link = NULL;
    return rest;
}

/* Takes over `kept`. Returns a reference to its set, or to that of a thread that was faster. */
static sb_anchors *
keep(struct kept *kept)
{
    struct kept **link, *rest;
    sb_anchors *anchors;

    kept->next = NULL;
    enter();
    link = link_by_digest(kept);
    if (*link != NULL) {
        anchors = use(link);
        rest = kept;
    } else {
        kept->next = kept_first;
        kept_first = kept;
        anchors = up_ref(kept->anchors);
        rest = surplus();
    }
    unlock_kept();
    free_kept(rest); /* not under the lock: it takes a while */
    return anchors;
}

/* ---------------------------------------------------------------- the two ways to a set */

static struct kept *
describe(enum sb_text kind, const char *text, size_t len)
{
    struct kept *kept = calloc(1, sizeof *kept);

    if (kept == NULL)
        return NULL;
    kept->kind = kind;
    kept->len = len;
    if (!EVP_Digest(text, len, kept->digest, NULL, EVP_sha256(), NULL)) {
        free(kept);
        return NULL;
    }
    return kept;
}

/* Takes over `kept`, which may be NULL: then the set is not shared. */
static sb_anchors *
find_or_parse(struct kept *kept, enum sb_text kind, const char *text, size_t len, int *ok)
{
    sb_anchors *anchors = kept != NULL ? find_by_digest(kept) : NULL;

    *ok = 1;
    if (anchors == NULL) {
        anchors = parse(kind, text, len, ok);
        if (*ok && kept != NULL) {
            kept->anchors = anchors;
            return keep(kept);
        }
    }
    free_kept(kept);
    return anchors;
}

sb_anchors *
sb_anchors_of_text(enum sb_text kind, const char *text, size_t len, int *ok)
{
    return find_or_parse(len <= MOST_TEXT ? describe(kind, text, len) : NULL, kind, text, len, ok);
}

static int
take_stamp(int fd, struct stamp *stamp)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return 0;
    memset(stamp, 0, sizeof *stamp);
    stamp->device = st.st_dev;
    stamp->inode = st.st_ino;
    stamp->size = st.st_size;
#ifdef __APPLE__
    stamp->changed[0] = st.st_mtimespec;
    stamp->changed[1] = st.st_ctimespec;
#else
    stamp->changed[0] = st.st_mtim;
    stamp->changed[1] = st.st_ctim;
#endif
    return 1;
}

/* Will the next change show in the stamp? `now` is from before the stamp was taken. */
static int
is_settled(const struct stamp *stamp, const struct timespec *now)
{
    return stamp->changed[1].tv_sec > 0 && stamp->changed[0].tv_sec < now->tv_sec - COARSE &&
           stamp->changed[1].tv_sec < now->tv_sec - COARSE;
}

/* The whole of a file of this size, or NULL. */
static char *
read_text(int fd, size_t len)
{
    char *text = malloc(len + 1); /* one more, to notice that it has grown */
    size_t got = 0;
    ssize_t n = 1;

    while (text != NULL && n > 0 && got <= len) {
        n = read(fd, text + got, len + 1 - got);
        if (n > 0)
            got += (size_t)n;
    }
    if (n == 0 && got == len)
        return text;
    free(text);
    return NULL;
}

static sb_anchors *
load_file(int fd, const char *path, const struct stamp *stamp, int settled)
{
    size_t len = (size_t)stamp->size;
    char *text = read_text(fd, len);
    sb_anchors *anchors = NULL;
    struct stamp after;
    struct kept *kept;
    int ok = 0;

    /* In a file a line ends at a NUL for OpenSSL, in memory it does not. */
    if (text != NULL && memchr(text, '\0', len) == NULL && take_stamp(fd, &after) &&
        same_stamp(stamp, &after) && (kept = describe(SB_TEXT_FILE, text, len)) != NULL) {
        if (settled && (kept->path = strdup(path)) != NULL)
            kept->stamp = *stamp;
        anchors = find_or_parse(kept, SB_TEXT_FILE, text, len, &ok);
    }
    free(text);
    if (ok)
        return anchors;
    sb_anchors_free(anchors);
    return NULL;
}

sb_anchors *
sb_anchors_of_file(const char *path)
{
    sb_anchors *anchors = NULL;
    struct timespec now;
    struct stamp stamp;
    struct stat st;
    int fd;

    /* Opening a pipe would wake its writer; the file is opened each time, so that who may not
     * read it is refused. */
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
        (fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &now);
    if (take_stamp(fd, &stamp) && stamp.size > 0 && stamp.size <= MOST_TEXT &&
        (anchors = find_by_stamp(path, &stamp)) == NULL)
        anchors = load_file(fd, path, &stamp, is_settled(&stamp, &now));
    close(fd);
    return anchors;
}
