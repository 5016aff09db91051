/* Everything Python may touch: opaque structs, plain structs, prototypes with their contracts.
 *
 * This file is included by every C file and is also given to cffi's parser, so nothing is
 * declared twice: no preprocessor lines, no OpenSSL types. Unless a contract says otherwise:
 * functions return SB_OK or a negative enum sb_status, `err` is filled only when they fail, any
 * thread may call them, strings are NUL-terminated UTF-8 bytes and sizes are in bytes.
 */

typedef struct sb_ctx sb_ctx;         /* an SSL_CTX and what hangs on it; reference counted */
typedef struct sb_conn sb_conn;       /* an SSL with its transport; one owner */
typedef struct sb_bio sb_bio;         /* a memory buffer between TLS and its user; counted */
typedef struct sb_session sb_session; /* an SSL_SESSION */
typedef struct sb_cert sb_cert;       /* an X509 */

enum sb_status {
    SB_OK = 0,
    SB_WANT_READ = -1,   /* non-blocking, or memory: more input is needed first */
    SB_WANT_WRITE = -2,  /* non-blocking: the transport takes no more now */
    SB_TIMEOUT = -3,     /* the deadline passed; err->want says in which direction */
    SB_INTERRUPTED = -4, /* in C only: Python gets sb_again or less */
    SB_ZERO_RETURN = -5, /* the peer sent close_notify */
    SB_ABRUPT_EOF = -6,  /* the transport ended without close_notify */
    SB_SYSCALL = -7,     /* err->errno_value says which system error */
    SB_FAILED = -8,      /* OpenSSL refused; err->code and err->text */
    SB_VERIFY = -9,      /* the peer's certificate was refused; err->verify_code */
    SB_NO_MEMORY = -10,
    SB_BAD_ARG = -11,     /* err->text says which */
    SB_UNSUPPORTED = -12, /* this OpenSSL lacks it; err->text says which version has it */
    SB_CLOSED = -13,      /* sb_conn_close() came first */
    SB_INVALID = -14,     /* OpenSSL returned an error kind that no caller expects */
    SB_NOT_TEXT = -15,    /* the block's only item should be UTF-8 and is not */

    SB_PLAIN = 4096 /* results above -SB_PLAIN are no addresses: see sb_conn_handshake() */
};

/* Why an operation failed. It belongs to the caller, so no other thread can overwrite it. */
typedef struct sb_error {
    int status;         /* of the four operations, sb_ctx_new() and sb_conn_session() */
    unsigned long code; /* as of ERR_peek_last_error(3), or 0 */
    int lib;            /* ERR_GET_LIB(code) */
    int reason;         /* ERR_GET_REASON(code) */
    int ssl_error;      /* as of SSL_get_error(3), or 0 outside of TLS I/O */
    int errno_value;
    int verify_code;  /* X509_V_ERR_*, see X509_STORE_CTX_get_error(3) */
    int line;         /* where in our C source it was noticed */
    int want;         /* with SB_TIMEOUT: SB_WANT_READ or SB_WANT_WRITE */
    int quiet;        /* with SB_ZERO_RETURN: we have not sent close_notify ourselves */
    int of_key;       /* of sb_ctx_load_cert_chain(): it met this in the key's file */
    long long again;  /* with SB_INTERRUPTED: what the operation returns */
    char text[256];
} sb_error;

/* A row of a table of named numbers. */
typedef struct sb_constant {
    const char *name; /* NULL ends the table */
    long long value;
} sb_constant;

/* A row of the table of error reasons. */
typedef struct sb_reason {
    const char *name; /* NULL ends the table */
    int lib;
    int reason;
} sb_reason;

/* A list of byte strings in one allocation: item i is data[ends[i-1]..ends[i]]. Lengths are apart
 * because names in certificates may hold NUL bytes. */
typedef struct sb_block {
    char *data;
    unsigned int *ends;
    size_t n;
    size_t len;      /* bytes used in data */
    size_t data_cap; /* bytes allocated */
    size_t n_cap;    /* items allocated */
    int failed;      /* SB_OK; SB_NO_MEMORY: it is empty and stays so; SB_NOT_TEXT */
} sb_block;

/* A cipher suite, in static strings. */
typedef struct sb_cipher {
    const char *name; /* NULL: there is none */
    const char *protocol;
    int bits;
} sb_cipher;

/* ------------------------------------------------------------------ the library (lib.c) */

extern const sb_constant sb_constants[];
extern const sb_reason sb_reasons[];
extern const sb_constant sb_libs[]; /* library name, ERR_LIB_* */

/* What this build can do, as named 0/1 rows; ends with a NULL name. */
extern const sb_constant sb_features[];

/* Version number and text of the OpenSSL that runs. OpenSSL_version(3) */
unsigned long sb_version_number(void);
const char *sb_version_text(void);

/* Version number of the headers this was compiled with. */
unsigned long sb_version_compiled(void);

/* Names of the environment variables and the compiled-in paths of the CA file and directory;
 * static strings. X509_get_default_cert_file(3) */
void sb_default_paths(const char *out[4]);

/* Mix `len` bytes with `entropy` bytes' worth of it into the generator. RAND_add(3) */
void sb_rand_add(const char *buf, int len, double entropy);
int sb_rand_bytes(char *buf, int len, sb_error *err);
int sb_rand_status(void);

/* Find an object by text (short or long name, or dotted number unless names_only == 0 is asked
 * with `any`). Items: short name, long name, dotted OID; *nid gets the number. SB_BAD_ARG:
 * there is none. OBJ_txt2obj(3) */
int sb_object_by_text(const char *text, int any, sb_block *out, int *nid, sb_error *err);
int sb_object_by_nid(int nid, sb_block *out, sb_error *err);

/* The signature algorithms of the library, an item each. SSL_get1_builtin_sigalgs(3) */
int sb_builtin_sigalgs(sb_block *out, sb_error *err);

/* The text of a verification error; static. X509_verify_cert_error_string(3) */
const char *sb_verify_text(int verify_code);

/* Verify every chain's signatures once more. Returns how many chains were spared that since the
 * last call: for tests and measurements, see chains.c. */
unsigned long sb_forget_chains(void);

/* From then on the C library keeps freed memory, twice this size at most, for what comes next. The
 * first connection does it with 1 MiB. */
void sb_free_a_block(size_t size);

/* Give back what a block holds; the struct itself stays the caller's. */
void sb_block_clear(sb_block *block);

/* ------------------------------------------------------------------ contexts (ctx.c) */

/* A new context. protocol: CPython's PROTOCOL_* numbers; ciphers: the list to begin with, NULL
 * for OpenSSL's; min_version: the lowest version of version-flexible protocols, 0 for the
 * library's own. One for PROTOCOL_TLS_CLIENT verifies its peer and the peer's name. NULL on
 * failure; err may be NULL. SSL_CTX_new(3) */
sb_ctx *sb_ctx_new(int protocol, const char *ciphers, int min_version, sb_error *err);
void sb_ctx_free(sb_ctx *ctx); /* NULL is fine; connections keep their own reference */

unsigned long long sb_ctx_options(sb_ctx *ctx);
/* Make the options exactly these. SSL_CTX_set_options(3) */
void sb_ctx_set_options(sb_ctx *ctx, unsigned long long options);

/* 0: none, 1: optional, 2: required. SSL_CTX_set_verify(3) */
int sb_ctx_verify_mode(sb_ctx *ctx);
void sb_ctx_set_verify_mode(sb_ctx *ctx, int mode);

/* X509_VERIFY_PARAM_set_flags(3) */
unsigned long sb_ctx_verify_flags(sb_ctx *ctx);
int sb_ctx_set_verify_flags(sb_ctx *ctx, unsigned long flags, sb_error *err);

/* X509_VERIFY_PARAM_set_hostflags(3) */
void sb_ctx_set_host_flags(sb_ctx *ctx, unsigned int flags);

/* Check the peer's name during verification, for connections made from now on. */
void sb_ctx_set_check_hostname(sb_ctx *ctx, int on);

/* Protocol version numbers as on the wire, 0 for no limit. SSL_CTX_set_min_proto_version(3) */
int sb_ctx_version_limit(sb_ctx *ctx, int upper);
int sb_ctx_set_version_limit(sb_ctx *ctx, int upper, int version, sb_error *err);

/* SSL_CTX_get_security_level(3) */
int sb_ctx_security_level(sb_ctx *ctx);
/* How many TLS 1.3 tickets a server sends. SSL_CTX_set_num_tickets(3) */
size_t sb_ctx_num_tickets(sb_ctx *ctx);
int sb_ctx_set_num_tickets(sb_ctx *ctx, size_t n, sb_error *err);
/* For connections made from now on. SSL_set_post_handshake_auth(3) */
void sb_ctx_set_post_handshake_auth(sb_ctx *ctx, int on);

/* Lists in OpenSSL's notation. SSL_CTX_set_cipher_list(3), SSL_CTX_set1_groups_list(3),
 * SSL_CTX_set1_sigalgs_list(3), SSL_CTX_set1_client_sigalgs_list(3) */
int sb_ctx_set_ciphers(sb_ctx *ctx, const char *list, sb_error *err);
int sb_ctx_set_ciphersuites(sb_ctx *ctx, const char *list, sb_error *err);
int sb_ctx_set_groups(sb_ctx *ctx, const char *list, sb_error *err);
int sb_ctx_set_client_sigalgs(sb_ctx *ctx, const char *list, sb_error *err);
int sb_ctx_set_server_sigalgs(sb_ctx *ctx, const char *list, sb_error *err);

/* The groups that may be used, an item each. SSL_CTX_get0_implemented_groups(3) */
int sb_ctx_groups(sb_ctx *ctx, int aliases, sb_block *out, sb_error *err);

/* The enabled cipher suites; eleven items each, in the order of sslbind._ctx.CIPHER_FIELDS. */
int sb_ctx_ciphers(sb_ctx *ctx, sb_block *out, sb_error *err);

/* Protocol lists in wire format (length byte, name; RFC 7301 3.1); len 0 takes it away. */
int sb_ctx_set_alpn(sb_ctx *ctx, const char *protos, size_t len, sb_error *err);
int sb_ctx_set_npn(sb_ctx *ctx, const char *protos, size_t len, sb_error *err);

/* Which hooks call Python: on server_name, on every protocol message, for PSKs. */
void sb_ctx_set_sni(sb_ctx *ctx, int on);
void sb_ctx_set_message(sb_ctx *ctx, int on);
int sb_ctx_set_psk_client(sb_ctx *ctx, int on, sb_error *err);
int sb_ctx_set_psk_server(sb_ctx *ctx, int on, const char *hint, sb_error *err);

/* Write key log lines (SSL_CTX_set_keylog_callback(3)) to a descriptor that the context owns
 * from now on; -1 stops it. */
void sb_ctx_set_keylog(sb_ctx *ctx, int fd);

/* Session cache figures, in the order of sslbind._ctx.SESSION_STATS. SSL_CTX_sess_number(3) */
void sb_ctx_session_stats(sb_ctx *ctx, long out[11]);

/* ------------------------------------------------------------------ keys (keys.c) */

/* Load a chain (leaf first) and its key from PEM files; key_file NULL: the same file. All or
 * nothing: on failure the context is as it was. `password` is the handle that sb_py_password
 * is called with, or NULL to refuse encrypted keys as OpenSSL's prompt would.
 * SSL_CTX_use_certificate_chain_file(3) */
int sb_ctx_load_cert_chain(sb_ctx *ctx, const char *cert_file, const char *key_file, void *password,
                           sb_error *err);

/* Diffie-Hellman parameters for TLS <= 1.2 servers, from PEM text.
 * SSL_CTX_set0_tmp_dh_pkey(3) */
int sb_ctx_load_dh_params(sb_ctx *ctx, const char *pem, size_t len, sb_error *err);

/* Offer one curve by name. SB_BAD_ARG: no such curve. SSL_CTX_set1_groups(3) */
int sb_ctx_set_ecdh_curve(sb_ctx *ctx, const char *name, sb_error *err);

/* ------------------------------------------------------------------ trust (trust.c) */

/* A PEM file of certificates and CRLs, and a directory of hashed ones; either may be NULL. What
 * was loaded before by another context, and has not changed, is not read again.
 * SSL_CTX_load_verify_locations(3) */
int sb_ctx_load_verify(sb_ctx *ctx, const char *file, const char *dir, sb_error *err);

/* Certificates from memory, PEM text or DER ones end to end; a known one is no error.
 * SB_BAD_ARG: not one is in there. */
int sb_ctx_add_certs(sb_ctx *ctx, const char *data, size_t len, int pem, sb_error *err);

/* The compiled-in places or those that the environment names.
 * SSL_CTX_set_default_verify_paths(3) */
int sb_ctx_load_default_verify(sb_ctx *ctx, sb_error *err);

/* out: certificates, CRLs, CA certificates in the store. */
void sb_ctx_trust_stats(sb_ctx *ctx, int out[3]);

/* The CA certificates in the store. `*certs` gets an array of `*n`, to be given to
 * sb_cert_list_free(), or each to sb_cert_free() and the array itself to sb_free(). */
int sb_ctx_ca_certs(sb_ctx *ctx, sb_cert ***certs, size_t *n, sb_error *err);

/* ------------------------------------------------------------------ certificates (certs.c) */

/* X509_free(3), for one or all of an array, with the array; OPENSSL_free(3) for the array alone. */
void sb_cert_free(sb_cert *cert);
void sb_cert_list_free(sb_cert **certs, size_t n);
void sb_free(void *memory);

/* Certificates, an item each: DER (pem = 0) or PEM. i2d_X509(3) */
int sb_cert_encode(sb_cert **certs, size_t n, int pem, sb_block *out, sb_error *err);

/* The fields of certificates (RFC 5280), one item for marshal.loads(): a list of pairs, of which
 * the first is the dict of getpeercert(), the second a tuple of the numbers of general names whose
 * type nobody knows. */
int sb_cert_fields(sb_cert **certs, size_t n, sb_block *out, sb_error *err);

/* The subject in RFC 2253 form, for a repr; one item. X509_NAME_print_ex(3) */
int sb_cert_subject(sb_cert *cert, sb_block *out, sb_error *err);

unsigned long sb_cert_hash(sb_cert *cert); /* of the subject. X509_NAME_hash(3) */
int sb_cert_equal(sb_cert *a, sb_cert *b); /* 1: the same. X509_cmp(3) */

/* The first certificate of a PEM file. NULL on failure. */
sb_cert *sb_cert_from_file(const char *file, sb_error *err);

/* ------------------------------------------------------------------ memory buffers (bio.c) */

sb_bio *sb_bio_new(void); /* NULL: no memory */
void sb_bio_free(sb_bio *bio);

/* Append all of it, or SB_NO_MEMORY. */
int sb_bio_write(sb_bio *bio, const char *buf, size_t len);
/* Take up to cap bytes; returns how many. */
long long sb_bio_read(sb_bio *bio, char *buf, size_t cap);
/* Take all of it, if that is at most cap bytes, else nothing. Returns how many bytes waited. */
size_t sb_bio_read_all(sb_bio *bio, char *buf, size_t cap);
/* Take all of it with its memory, which is for sb_free(); NULL if it is empty. */
char *sb_bio_take(sb_bio *bio, size_t *len);
size_t sb_bio_pending(sb_bio *bio);
void sb_bio_write_eof(sb_bio *bio);
int sb_bio_eof(sb_bio *bio); /* 1: empty, and nothing will come any more */

/* ------------------------------------------------------------------ connections (conn.c) */

/* A connection over the socket `fd`, or, with fd < 0, over two memory buffers, which must be set
 * then. host may be NULL; it is what SNI and the hostname check use. NULL on failure, of which err
 * tells if it is not NULL. SSL_new(3) */
sb_conn *sb_conn_new(sb_ctx *ctx, int server_side, const char *host, int fd, sb_error *err);
/* What hooks are called with. */
void sb_conn_set_handle(sb_conn *conn, void *handle);
/* With NULL it makes its own: see sb_conn_in(). SB_NO_MEMORY: it is of no use. */
int sb_conn_set_buffers(sb_conn *conn, sb_bio *in, sb_bio *out);
/* Instead: two memory BIOs of another module's. SB_UNSUPPORTED: by `mem`, what BIO_s_mem(3) returns
 * there, they are of another OpenSSL; SB_NO_MEMORY: it is of no use. SSL_set_bio(3) */
int sb_conn_share_buffers(sb_conn *conn, void *in, void *out, const void *mem);
/* Let OpenSSL keep its buffers from one operation to the next. SSL_set_mode(3) */
void sb_conn_keep_memory(sb_conn *conn);
void sb_conn_free(sb_conn *conn); /* no thread may be in an operation */

/* No operation, running or later, touches the descriptor once this has returned; they end with
 * SB_CLOSED. end: the descriptor is about to be closed; where a thread waits for the socket,
 * the connection is shut down to wake it. With `release` the TLS state is freed as soon as no
 * operation is running. */
void sb_conn_close(sb_conn *conn, int end, int release);

/* The operations. timeout: seconds; 0 never waits, negative waits without limit. They wait
 * in poll(2) and hold no lock meanwhile. They return SB_OK or a count, SB_WANT_READ or
 * SB_WANT_WRITE, or minus a quarter of the address of an error record for sb_error_free(): so a
 * call that succeeds needs to bring none along. sb_again or less: a signal may have come; look,
 * and call again with that number as the timeout. It is no record, since a signal handler that
 * raises would lose it. */
extern const long long sb_again;
long long sb_conn_handshake(sb_conn *conn, double timeout);
/* Between 1 and cap bytes, as many whole records as have arrived and fit. */
long long sb_conn_read(sb_conn *conn, char *buf, size_t cap, double timeout);
/* All of buf; returns len. A call that ended with SB_WANT_WRITE or SB_TIMEOUT must be repeated
 * with the same data, and goes on where it stopped: SSL_write_ex(3). One that ended with
 * sb_again keeps other threads from writing until it is repeated, or given up with
 * sb_conn_stop_writing(), which is harmless after every other failure, and due after SB_BAD_ARG:
 * that a signal handler cannot write while the thread it interrupts does. */
long long sb_conn_write(sb_conn *conn, const char *buf, size_t len, double timeout);
void sb_conn_stop_writing(sb_conn *conn);
/* Let the kernel send up to size bytes of a file, as soon as the socket takes some; returns how
 * many it took, 0 at the end of the file. sb_again: as with sb_conn_write(). SB_FAILED: the
 * kernel does not encrypt on this connection; SB_UNSUPPORTED: nor can it with this OpenSSL.
 * SSL_sendfile(3) */
long long sb_conn_sendfile(sb_conn *conn, int file, long long offset, size_t size, int flags,
                           double timeout);
/* Send close_notify and wait for the peer's. SSL_shutdown(3) */
long long sb_conn_shutdown(sb_conn *conn, double timeout);
void sb_error_free(sb_error *err);

/* Bytes that are decrypted and not yet read, and whole records in a buffer of its own.
 * SSL_pending(3) */
int sb_conn_pending(sb_conn *conn);

/* The buffers of a connection that has made its own, which live as long as it does. Somebody must
 * pump: fill `in` before an operation and empty `out` after it, also when it ends with sb_again, as
 * a write does then after each batch. */
sb_bio *sb_conn_in(sb_conn *conn);
sb_bio *sb_conn_out(sb_conn *conn);

int sb_conn_is_server(sb_conn *conn);
int sb_conn_handshake_done(sb_conn *conn); /* SSL_is_init_finished(3) */
const char *sb_conn_version(sb_conn *conn); /* NULL before the handshake; static */
void sb_conn_cipher(sb_conn *conn, sb_cipher *out);
const char *sb_conn_compression(sb_conn *conn); /* NULL: none; static */
/* Returns how many bytes of out were filled, 0: none was agreed. RFC 7301 */
int sb_conn_alpn(sb_conn *conn, char out[256]);
int sb_conn_npn(sb_conn *conn, char out[256]);
int sb_conn_session_reused(sb_conn *conn);
int sb_conn_uses_ktls(sb_conn *conn, int sending); /* BIO_get_ktls_send(3) */

/* Three items (name, protocol, bits) a suite that both ends offered; SB_BAD_ARG: unknown. */
int sb_conn_shared_ciphers(sb_conn *conn, sb_block *out, sb_error *err);

/* The name of the key exchange group, or of the signature algorithm of this end's (peer = 0)
 * or the peer's handshake signature, or NULL; static. SSL_get0_group_name(3) */
int sb_conn_group(sb_conn *conn, const char **out, sb_error *err);
int sb_conn_sigalg(sb_conn *conn, int peer, const char **out, sb_error *err);

/* The tls-unique channel binding of RFC 5929 3.1; returns its length, 0: none yet. */
int sb_conn_tls_unique(sb_conn *conn, char out[64]);

/* The peer's certificate, for the caller to free, and its DER form. Returns 1 if the context asks
 * for verification, else 0. SB_BAD_ARG: the peer sent none; SB_WANT_READ: the handshake is not
 * done. After a failure the one is NULL, the other empty. */
int sb_conn_peer_cert(sb_conn *conn, sb_cert **cert, sb_block *der, sb_error *err);
/* The chain that was verified or, with verified = 0, the one that was sent, with the leaf
 * first. As sb_ctx_ca_certs(); SB_BAD_ARG: there is none. */
int sb_conn_chain(sb_conn *conn, int verified, sb_cert ***certs, size_t *n, sb_error *err);

/* Go on with another context. SSL_set_SSL_CTX(3) */
int sb_conn_set_ctx(sb_conn *conn, sb_ctx *ctx, sb_error *err);

/* Ask a TLS 1.3 client for its certificate. SSL_verify_client_post_handshake(3) */
int sb_conn_request_client_cert(sb_conn *conn, sb_error *err);

/* ------------------------------------------------------------------ sessions (session.c) */

/* NULL: none yet, or with err->status there is no memory for it. */
sb_session *sb_conn_session(sb_conn *conn, sb_error *err);
int sb_conn_set_session(sb_conn *conn, sb_session *session, sb_error *err);
void sb_session_free(sb_session *session);

typedef struct sb_session_info {
    unsigned char id[32];
    unsigned int id_len;
    int has_ticket;
    unsigned long ticket_lifetime_hint; /* seconds */
    long long time; /* seconds since 1970 */
    long long timeout; /* seconds */
} sb_session_info;

/* SSL_SESSION_get_id(3) and the like. */
void sb_session_describe(sb_session *session, sb_session_info *out);
