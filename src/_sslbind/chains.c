/* Chains whose signatures have been verified before.
 *
 * Whether each certificate of a chain is signed by the next follows from their bytes and the flags
 * of the verification, always. To compute it takes OpenSSL 3.0 65 us for a signature of P-256, and
 * 0.7 ms for one of P-384: the dearest part of a client's handshake, again with each connection to
 * the same server. So it is left out for a chain that was verified in this process before.
 *
 * What is replaced is one step of X509_verify_cert(3), which checks signatures and dates
 * (X509_STORE_CTX_get_verify(3)); the dates are looked at each time, and of a chain that is not
 * known the keys as well (distrust.c). All the rest remains with OpenSSL, for each handshake: which
 * chain leads to a trusted certificate of this very context, extensions, purpose, names, security
 * level, CRLs, policies.
 *
 * Only success is remembered, as a SHA-256 of all that counts. Anything out of the ordinary (a time
 * or a callback of somebody's own, a date that has passed, no memory) is for OpenSSL's own step,
 * and for it to complain about.
 */
#include "internal.h"

#include <stdlib.h>

enum {
    MOST_BYTES = 64 * 1024, /* longer chains are verified each time */
    N_KNOWN = 1024,
    DIGEST_LEN = 32,
};

static X509_STORE_CTX_verify_fn verify_signatures; /* OpenSSL's */
static X509_STORE_CTX_verify_cb no_callback;

static atomic_flag known_in_use = ATOMIC_FLAG_INIT; /* who finds it set goes on without */
static atomic_uint generation;
static unsigned char known[N_KNOWN][DIGEST_LEN];
static atomic_uint era; /* part of what is digested: with the next one nothing is known */
static atomic_ulong n_spared;

/* ---------------------------------------------------------------- what is known */

static unsigned char *
place(const unsigned char digest[DIGEST_LEN])
{
    return known[(digest[0] | digest[1] << 8) % N_KNOWN];
}

/* Returns 0: another thread has it. */
static int
enter(void)
{
    if (sb_generation_changed(&generation)) { /* that thread may be in the parent process */
        atomic_flag_clear(&known_in_use);
        sb_generation_done(&generation);
    }
    return !atomic_flag_test_and_set_explicit(&known_in_use, memory_order_acquire);
}

static void
leave(void)
{
    atomic_flag_clear_explicit(&known_in_use, memory_order_release);
}

static int
is_known(const unsigned char digest[DIGEST_LEN])
{
    int found;

    if (!enter())
        return 0;
    found = memcmp(place(digest), digest, DIGEST_LEN) == 0;
    leave();
    return found;
}

static void
remember(const unsigned char digest[DIGEST_LEN])
{
    if (!enter())
        return;
    memcpy(place(digest), digest, DIGEST_LEN);
    leave();
}

unsigned long
sb_forget_chains(void)
{
    atomic_fetch_add(&era, 1);
    return atomic_exchange(&n_spared, 0);
}

/* ---------------------------------------------------------------- the step */

/* Put down what the verification depends on, and return its length: with bytes NULL only the
 * latter. 0: nothing to verify, too much, or no DER. That tells where each certificate ends, so no
 * two chains give the same bytes. */
static size_t
put_all(STACK_OF(X509) *chain, unsigned long flags, unsigned char *bytes)
{
    const unsigned long head[] = {flags, (unsigned)EVP_default_properties_is_fips_enabled(NULL),
                                  atomic_load(&era)};
    int i, len, n = sk_X509_num(chain);
    size_t total = sizeof head;

    if (n < 2)
        return 0;
    if (bytes != NULL) {
        memcpy(bytes, head, sizeof head);
        bytes += sizeof head;
    }
    for (i = 0; i < n; i++) {
        if ((len = i2d_X509(sk_X509_value(chain, i), bytes != NULL ? &bytes : NULL)) <= 0)
            return 0;
        total += (size_t)len;
    }
    return total <= MOST_BYTES ? total : 0;
}

static int
digest_of(STACK_OF(X509) *chain, unsigned long flags, unsigned char digest[DIGEST_LEN])
{
    size_t len = put_all(chain, flags, NULL);
    unsigned char *bytes = len > 0 ? malloc(len) : NULL;
    int done = bytes != NULL && put_all(chain, flags, bytes) == len &&
               EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL);

    free(bytes);
    return done;
}

static int
are_valid_now(STACK_OF(X509) *chain)
{
    int i;

    for (i = 0; i < sk_X509_num(chain); i++) {
        const X509 *cert = sk_X509_value(chain, i);

        if (X509_cmp_time(X509_get0_notBefore(cert), NULL) >= 0 ||
            X509_cmp_time(X509_get0_notAfter(cert), NULL) <= 0)
            return 0;
    }
    return 1;
}

static int
verify_anew(X509_STORE_CTX *verifying, STACK_OF(X509) *chain)
{
    int depth, error = sb_check_keys(chain, &depth);

    if (error == X509_V_OK)
        return verify_signatures(verifying);
    X509_STORE_CTX_set_error_depth(verifying, depth);
    X509_STORE_CTX_set_current_cert(verifying, sk_X509_value(chain, depth));
    X509_STORE_CTX_set_error(verifying, error);
    return 0;
}

static int
on_verify(X509_STORE_CTX *verifying)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(verifying);
    unsigned long flags = X509_VERIFY_PARAM_get_flags(X509_STORE_CTX_get0_param(verifying));
    unsigned char digest[DIGEST_LEN];
    int verified;

    if (flags & (X509_V_FLAG_USE_CHECK_TIME | X509_V_FLAG_NO_CHECK_TIME) ||
        X509_STORE_CTX_get_verify_cb(verifying) != no_callback ||
        X509_STORE_CTX_get_error(verifying) != X509_V_OK || !digest_of(chain, flags, digest))
        return verify_anew(verifying, chain);
    if (is_known(digest) && are_valid_now(chain)) {
        atomic_fetch_add(&n_spared, 1);
        return 1;
    }
    verified = verify_anew(verifying, chain);
    if (verified == 1 && X509_STORE_CTX_get_error(verifying) == X509_V_OK)
        remember(digest);
    return verified;
}

/* OpenSSL has no other way to its own step than from a verification of a store as it comes. */
static void
look_up_step(void)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *verifying = X509_STORE_CTX_new();

    atomic_store(&generation, sb_generation());
    if (store != NULL && verifying != NULL && X509_STORE_CTX_init(verifying, store, NULL, NULL)) {
        verify_signatures = X509_STORE_CTX_get_verify(verifying);
        no_callback = X509_STORE_CTX_get_verify_cb(verifying);
    }
    X509_STORE_CTX_free(verifying);
    X509_STORE_free(store);
}

int
sb_chains_watch(X509_STORE *store)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, look_up_step);
    if (verify_signatures == NULL || no_callback == NULL)
        return 0;
    X509_STORE_set_verify(store, on_verify);
    return 1;
}
