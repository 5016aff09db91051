/* What belongs to the library as a whole: versions, features, objects, randomness, blocks. */
#include "internal.h"

#include <limits.h>
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

const sb_constant sb_features[] = {
    {"SSLv3", SB_HAVE_SSL3},
    {"TLSv1", SB_HAVE_TLS1},
    {"TLSv1_1", SB_HAVE_TLS1_1},
    {"TLSv1_2", SB_HAVE_TLS1_2},
    {"TLSv1_3", SB_HAVE_TLS1_3},
    {"NPN", SB_HAVE_NPN},
    {"PSK", SB_HAVE_PSK},
    {"GROUP_NAME", SB_HAVE_GROUP_NAME},
    {"BUILTIN_SIGALGS", SB_HAVE_BUILTIN_SIGALGS},
    {"IMPLEMENTED_GROUPS", SB_HAVE_IMPLEMENTED_GROUPS},
    {"SIGNATURE_NAME", SB_HAVE_SIGNATURE_NAME},
    {NULL, 0},
};

unsigned long
sb_version_number(void)
{
    return OpenSSL_version_num();
}

const char *
sb_version_text(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

unsigned long
sb_version_compiled(void)
{
    return SB_COMPILED_VERSION;
}

void
sb_default_paths(const char *out[4])
{
    out[0] = X509_get_default_cert_file_env();
    out[1] = X509_get_default_cert_file();
    out[2] = X509_get_default_cert_dir_env();
    out[3] = X509_get_default_cert_dir();
}

/* ---------------------------------------------------------------- randomness */

void
sb_rand_add(const char *buf, int len, double entropy)
{
    RAND_add(buf, len, entropy);
}

int
sb_rand_bytes(char *buf, int len, sb_error *err)
{
    sb_clear_queue();
    if (RAND_bytes((unsigned char *)buf, len) != 1)
        return SB_FAIL_QUEUE(err);
    return SB_OK;
}

int
sb_rand_status(void)
{
    return RAND_status();
}

/* ---------------------------------------------------------------- objects */

static void
add_object(const ASN1_OBJECT *object, sb_block *out)
{
    int nid = OBJ_obj2nid(object);
    char oid[256];
    int len = OBJ_obj2txt(oid, sizeof oid, object, 1);

    sb_block_add_text(out, OBJ_nid2sn(nid));
    sb_block_add_text(out, OBJ_nid2ln(nid));
    if (len > 0 && (size_t)len < sizeof oid)
        sb_block_add(out, oid, (size_t)len);
}

int
sb_object_by_text(const char *text, int any, sb_block *out, int *nid, sb_error *err)
{
    ASN1_OBJECT *object;

    sb_block_init(out);
    if ((object = OBJ_txt2obj(text, any ? 0 : 1)) == NULL)
        return SB_FAIL(err, SB_BAD_ARG, "unknown object");
    *nid = OBJ_obj2nid(object);
    add_object(object, out);
    ASN1_OBJECT_free(object);
    return sb_block_status(out, err);
}

int
sb_object_by_nid(int nid, sb_block *out, sb_error *err)
{
    const ASN1_OBJECT *object;

    sb_block_init(out);
    if ((object = OBJ_nid2obj(nid)) == NULL)
        return SB_FAIL(err, SB_BAD_ARG, "unknown NID");
    add_object(object, out);
    return sb_block_status(out, err);
}

int
sb_builtin_sigalgs(sb_block *out, sb_error *err)
{
#if SB_HAVE_BUILTIN_SIGALGS
    char *list;
    const char *name, *end;

    sb_block_init(out);
    sb_clear_queue();
    if ((list = SSL_get1_builtin_sigalgs(NULL)) == NULL)
        return SB_FAIL_QUEUE(err);
    for (name = list; *name != '\0'; name = *end == ':' ? end + 1 : end) {
        end = name + strcspn(name, ":");
        sb_block_add(out, name, (size_t)(end - name));
    }
    OPENSSL_free(list);
    return sb_block_status(out, err);
#else
    sb_block_init(out);
    return SB_FAIL(err, SB_UNSUPPORTED, "get_sigalgs() needs OpenSSL 3.4 or newer");
#endif
}

const char *
sb_verify_text(int verify_code)
{
    return X509_verify_cert_error_string(verify_code);
}

/* ---------------------------------------------------------------- blocks */

void
sb_free(void *memory)
{
    OPENSSL_free(memory);
}

void
sb_block_init(sb_block *block)
{
    memset(block, 0, sizeof *block);
}

void
sb_block_clear(sb_block *block)
{
    free(block->data);
    free(block->ends);
    sb_block_init(block);
}

static int
grow(void *pointer, size_t *cap, size_t needed, size_t item)
{
    size_t wanted = *cap != 0 ? *cap : 1024 / item;
    void *moved;

    if (needed <= *cap)
        return 1;
    while (wanted < needed)
        wanted *= 2;
    if ((moved = realloc(*(void **)pointer, wanted * item)) == NULL)
        return 0;
    *(void **)pointer = moved;
    *cap = wanted;
    return 1;
}

char *
sb_block_append(sb_block *block, const void *data, size_t len)
{
    char *end;

    if (block->failed != SB_OK)
        return NULL;
    if (len > INT_MAX || block->len > INT_MAX - len ||
        !grow(&block->data, &block->data_cap, block->len + len, 1)) {
        block->failed = SB_NO_MEMORY;
        return NULL;
    }
    end = block->data + block->len;
    if (data != NULL && len > 0)
        memcpy(end, data, len);
    block->len += len;
    return end;
}

void
sb_block_end_item(sb_block *block)
{
    if (block->failed != SB_OK)
        return;
    if (!grow(&block->ends, &block->n_cap, block->n + 1, sizeof *block->ends))
        block->failed = SB_NO_MEMORY;
    else
        block->ends[block->n++] = (unsigned int)block->len;
}

void
sb_block_add(sb_block *block, const void *data, size_t len)
{
    sb_block_append(block, data, len);
    sb_block_end_item(block);
}

void
sb_block_add_text(sb_block *block, const char *text)
{
    sb_block_add(block, text, text != NULL ? strlen(text) : 0);
}

void
sb_block_add_number(sb_block *block, long long number)
{
    char text[32];

    snprintf(text, sizeof text, "%lld", number);
    sb_block_add_text(block, text);
}

void
sb_block_add_bio(sb_block *block, BIO *memory)
{
    char *data = NULL;
    long len = BIO_get_mem_data(memory, &data);

    sb_block_add(block, data, len > 0 ? (size_t)len : 0);
    (void)BIO_reset(memory);
}

int
sb_block_status(sb_block *block, sb_error *err)
{
    int status = block->failed;

    if (status == SB_NO_MEMORY) {
        sb_block_clear(block);
        return SB_FAIL(err, status, "no memory");
    }
    return status == SB_OK ? SB_OK : SB_FAIL(err, status, "not UTF-8");
}
