/* Certificates: X509 to DER or PEM, and to one flat block of all fields.
 *
 * The block is what Python folds into the dict of getpeercert(). Names may hold NUL bytes
 * (CVE-2013-4238), so every item goes with its length.
 */
#include "internal.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <stdlib.h>

void
sb_cert_free(sb_cert *cert)
{
    X509_free((X509 *)cert);
}

int
sb_cert_list(STACK_OF(X509) *list, X509 *first, sb_cert ***certs, size_t *n, sb_error *err)
{
    int count = list != NULL ? sk_X509_num(list) : 0, i;
    sb_cert **array = malloc(((size_t)count + 1) * sizeof *array);

    if (array == NULL)
        return SB_FAIL(err, SB_NO_MEMORY, "no memory");
    *n = 0;
    if (first != NULL && X509_up_ref(first))
        array[(*n)++] = (sb_cert *)first;
    for (i = 0; i < count; i++) {
        X509 *cert = sk_X509_value(list, i);

        if (X509_up_ref(cert))
            array[(*n)++] = (sb_cert *)cert;
    }
    *certs = array;
    return SB_OK;
}

int
sb_cert_encode(sb_cert *cert, int pem, sb_block *out, sb_error *err)
{
    BIO *memory = BIO_new(BIO_s_mem());
    int ok;

    sb_block_init(out);
    ERR_clear_error();
    ok = memory != NULL &&
         (pem ? PEM_write_bio_X509(memory, (X509 *)cert) : i2d_X509_bio(memory, (X509 *)cert));
    if (ok)
        sb_block_add_bio(out, SB_K_BYTES, memory);
    BIO_free(memory);
    return ok ? sb_block_status(out, err) : SB_FAIL_QUEUE(err);
}

int
sb_cert_subject(sb_cert *cert, sb_block *out, sb_error *err)
{
    BIO *memory = BIO_new(BIO_s_mem());
    unsigned long flags = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    int ok;

    sb_block_init(out);
    ERR_clear_error();
    ok = memory != NULL &&
         X509_NAME_print_ex(memory, X509_get_subject_name((X509 *)cert), 0, flags) >= 0;
    if (ok)
        sb_block_add_bio(out, SB_K_BYTES, memory);
    BIO_free(memory);
    return ok ? sb_block_status(out, err) : SB_FAIL_QUEUE(err);
}

unsigned long
sb_cert_hash(sb_cert *cert)
{
    return X509_subject_name_hash((X509 *)cert);
}

int
sb_cert_equal(sb_cert *a, sb_cert *b)
{
    return X509_cmp((X509 *)a, (X509 *)b) == 0;
}

sb_cert *
sb_cert_from_file(const char *file, sb_error *err)
{
    BIO *in;
    X509 *cert = NULL;

    ERR_clear_error();
    if ((in = BIO_new_file(file, "r")) == NULL) {
        SB_FAIL(err, SB_BAD_ARG, "Can't open file");
        return NULL;
    }
    cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
    BIO_free(in);
    if (cert == NULL)
        SB_FAIL(err, SB_BAD_ARG, "Error decoding PEM-encoded file");
    return (sb_cert *)cert;
}

/* ---------------------------------------------------------------- fields */

static int
add_object_name(sb_block *out, int kind, const ASN1_OBJECT *object)
{
    char text[256];
    int len = OBJ_obj2txt(text, sizeof text, object, 0);

    if (len < 0)
        return 0;
    if ((size_t)len < sizeof text) {
        sb_block_add(out, kind, text, (size_t)len);
    } else { /* an OID without a name may be of any length */
        char *longer = malloc((size_t)len + 1);

        if (longer == NULL)
            return 0;
        OBJ_obj2txt(longer, len + 1, object, 0);
        sb_block_add(out, kind, longer, (size_t)len);
        free(longer);
    }
    return 1;
}

static int
add_name(sb_block *out, sb_x509_name *name)
{
    int i, set = -1;

    for (i = 0; i < X509_NAME_entry_count(name); i++) {
        sb_x509_name_entry *entry = X509_NAME_get_entry(name, i);
        unsigned char *value = NULL;
        int len;

        if (X509_NAME_ENTRY_set(entry) != set)
            sb_block_add(out, SB_K_RDN, "", 0);
        set = X509_NAME_ENTRY_set(entry);
        if (!add_object_name(out, SB_K_NAME, X509_NAME_ENTRY_get_object(entry)))
            return 0;
        if ((len = ASN1_STRING_to_UTF8(&value, X509_NAME_ENTRY_get_data(entry))) < 0)
            return 0;
        sb_block_add(out, SB_K_VALUE, value, (size_t)len);
        OPENSSL_free(value);
    }
    return 1;
}

static void
add_string(sb_block *out, int kind, const ASN1_STRING *string)
{
    sb_block_add(out, kind, ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

static void
add_ip(sb_block *out, const ASN1_OCTET_STRING *ip)
{
    const unsigned char *b = ASN1_STRING_get0_data(ip);
    char text[64];
    int len = ASN1_STRING_length(ip), n = 0, i;

    if (len == 4) {
        n = BIO_snprintf(text, sizeof text, "%d.%d.%d.%d", b[0], b[1], b[2], b[3]);
    } else if (len == 16) {
        for (i = 0; i < 16; i += 2)
            n += BIO_snprintf(text + n, sizeof text - (size_t)n, i == 0 ? "%X" : ":%X",
                              b[i] << 8 | b[i + 1]);
    } else {
        n = BIO_snprintf(text, sizeof text, "<invalid>");
    }
    sb_block_add(out, SB_K_VALUE, text, n > 0 ? (size_t)n : 0);
}

/* OpenSSL's own rendering, "type:value". */
static int
add_printed(sb_block *out, GENERAL_NAME *name, BIO *memory)
{
    char *text = NULL, *colon;
    long len;

    if (GENERAL_NAME_print(memory, name) < 0)
        return 0;
    len = BIO_get_mem_data(memory, &text);
    if (len <= 0 || (colon = memchr(text, ':', (size_t)len)) == NULL)
        return 0;
    sb_block_add(out, SB_K_SAN, text, (size_t)(colon - text));
    sb_block_add(out, SB_K_VALUE, colon + 1, (size_t)(text + len - colon - 1));
    (void)BIO_reset(memory);
    return 1;
}

static int
add_general_name(sb_block *out, GENERAL_NAME *name, BIO *memory)
{
    int type;
    void *value = GENERAL_NAME_get0_value(name, &type);

    switch (type) {
    case GEN_DIRNAME:
        sb_block_add_text(out, SB_K_SAN, "DirName");
        return add_name(out, value);
    case GEN_EMAIL:
        sb_block_add_text(out, SB_K_SAN, "email");
        add_string(out, SB_K_VALUE, value);
        return 1;
    case GEN_DNS:
        sb_block_add_text(out, SB_K_SAN, "DNS");
        add_string(out, SB_K_VALUE, value);
        return 1;
    case GEN_URI:
        sb_block_add_text(out, SB_K_SAN, "URI");
        add_string(out, SB_K_VALUE, value);
        return 1;
    case GEN_RID:
        sb_block_add_text(out, SB_K_SAN, "Registered ID");
        return add_object_name(out, SB_K_VALUE, value);
    case GEN_IPADD:
        sb_block_add_text(out, SB_K_SAN, "IP Address");
        add_ip(out, value);
        return 1;
    case GEN_OTHERNAME:
    case GEN_X400:
    case GEN_EDIPARTY:
        return add_printed(out, name, memory);
    default:
        sb_block_add_number(out, SB_K_UNKNOWN_NAME, type);
        return add_printed(out, name, memory);
    }
}

static int
add_subject_alt_names(sb_block *out, X509 *cert, BIO *memory)
{
    /* NULL as well where the extension is damaged or there are two: they count for nothing. */
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int i, ok = 1;

    for (i = 0; ok && names != NULL && i < sk_GENERAL_NAME_num(names); i++)
        ok = add_general_name(out, sk_GENERAL_NAME_value(names, i), memory);
    GENERAL_NAMES_free(names);
    return ok;
}

static void
add_uri(sb_block *out, int kind, const GENERAL_NAME *name)
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);

    if (type == GEN_URI)
        add_string(out, kind, value);
}

static void
add_authority_info(sb_block *out, X509 *cert, int method, int kind)
{
    AUTHORITY_INFO_ACCESS *info = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);
    int i;

    for (i = 0; info != NULL && i < sk_ACCESS_DESCRIPTION_num(info); i++) {
        const ACCESS_DESCRIPTION *item = sk_ACCESS_DESCRIPTION_value(info, i);

        if (OBJ_obj2nid(item->method) == method)
            add_uri(out, kind, item->location);
    }
    AUTHORITY_INFO_ACCESS_free(info);
}

static void
add_crl_points(sb_block *out, X509 *cert)
{
    CRL_DIST_POINTS *points = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);
    int i, j;

    for (i = 0; points != NULL && i < sk_DIST_POINT_num(points); i++) {
        const DIST_POINT *point = sk_DIST_POINT_value(points, i);

        if (point->distpoint == NULL || point->distpoint->type != 0)
            continue; /* a name relative to the issuer's is no URI */
        for (j = 0; j < sk_GENERAL_NAME_num(point->distpoint->name.fullname); j++)
            add_uri(out, SB_K_CRL, sk_GENERAL_NAME_value(point->distpoint->name.fullname, j));
    }
    CRL_DIST_POINTS_free(points);
}

static int
add_validity(sb_block *out, X509 *cert, BIO *memory)
{
    if (i2a_ASN1_INTEGER(memory, X509_get0_serialNumber(cert)) < 0)
        return 0;
    sb_block_add_bio(out, SB_K_SERIAL, memory);
    /* A time that cannot be read prints as "Bad time value", with a 0 for the result. */
    ASN1_TIME_print(memory, X509_get0_notBefore(cert));
    sb_block_add_bio(out, SB_K_NOT_BEFORE, memory);
    ASN1_TIME_print(memory, X509_get0_notAfter(cert));
    sb_block_add_bio(out, SB_K_NOT_AFTER, memory);
    return 1;
}

int
sb_cert_fields(sb_cert *cert, sb_block *out, sb_error *err)
{
    X509 *x509 = (X509 *)cert;
    BIO *memory = BIO_new(BIO_s_mem());
    int status = SB_OK;

    sb_block_init(out);
    ERR_clear_error();
    if (memory == NULL)
        goto failed;
    sb_block_add(out, SB_K_SUBJECT, "", 0);
    if (!add_name(out, X509_get_subject_name(x509)))
        goto failed;
    sb_block_add(out, SB_K_ISSUER, "", 0);
    if (!add_name(out, X509_get_issuer_name(x509)))
        goto failed;
    sb_block_add_number(out, SB_K_VERSION, X509_get_version(x509) + 1);
    if (!add_validity(out, x509, memory) || !add_subject_alt_names(out, x509, memory))
        goto failed;
    add_authority_info(out, x509, NID_ad_OCSP, SB_K_OCSP);
    add_authority_info(out, x509, NID_ad_ca_issuers, SB_K_CA_ISSUERS);
    add_crl_points(out, x509);
    ERR_clear_error();
    status = sb_block_status(out, err);
    BIO_free(memory);
    return status;
failed:
    status = SB_FAIL_QUEUE(err);
    sb_block_clear(out);
    BIO_free(memory);
    return status;
}
