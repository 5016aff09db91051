/* Certificates: X509 to DER or PEM, and to one flat block of all fields.
 *
 * The fields go to Python as marshal.c writes them. Names may hold NUL bytes (CVE-2013-4238):
 * every text goes with its length.
 */
#include "internal.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <time.h>

void
sb_cert_free(sb_cert *cert)
{
    X509_free((X509 *)cert);
}

void
sb_cert_list_free(sb_cert **certs, size_t n)
{
    while (n > 0)
        sb_cert_free(certs[--n]);
    sb_free(certs);
}

int
sb_cert_list(STACK_OF(X509) *list, X509 *first, sb_cert ***certs, size_t *n, sb_error *err)
{
    int count = list != NULL ? sk_X509_num(list) : 0, i;
    sb_cert **array = OPENSSL_malloc(((size_t)count + 1) * sizeof *array);

    if (array == NULL) {
        sb_clear_queue();
        return SB_FAIL(err, SB_NO_MEMORY, "no memory");
    }
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

static int
add_der(sb_block *out, X509 *cert)
{
    int len = i2d_X509(cert, NULL);
    unsigned char *end = NULL;

    if (len < 0)
        return 0;
    if ((end = (unsigned char *)sb_block_append(out, NULL, (size_t)len)) != NULL)
        i2d_X509(cert, &end);
    sb_block_end_item(out);
    return 1;
}

static int
add_pem(sb_block *out, X509 *cert)
{
    BIO *memory = BIO_new(BIO_s_mem());
    int ok = memory != NULL && PEM_write_bio_X509(memory, cert);

    if (ok)
        sb_block_add_bio(out, memory);
    BIO_free(memory);
    return ok;
}

int
sb_cert_encode(sb_cert **certs, size_t n, int pem, sb_block *out, sb_error *err)
{
    size_t i;

    sb_block_init(out);
    sb_clear_queue();
    for (i = 0; i < n; i++) {
        if (!(pem ? add_pem : add_der)(out, (X509 *)certs[i])) {
            sb_block_clear(out);
            return SB_FAIL_QUEUE(err);
        }
    }
    return sb_block_status(out, err);
}

int
sb_cert_subject(sb_cert *cert, sb_block *out, sb_error *err)
{
    BIO *memory = BIO_new(BIO_s_mem());
    unsigned long flags = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    int ok;

    sb_block_init(out);
    sb_clear_queue();
    ok = memory != NULL &&
         X509_NAME_print_ex(memory, X509_get_subject_name((X509 *)cert), 0, flags) >= 0;
    if (ok)
        sb_block_add_bio(out, memory);
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

    sb_clear_queue();
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

static void
put_string(sb_block *out, const ASN1_STRING *string)
{
    sb_put_bytes(out, ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

static int
out_of_memory(sb_block *out)
{
    out->failed = SB_NO_MEMORY;
    return 0;
}

static int
put_object_name(sb_block *out, const ASN1_OBJECT *object)
{
    char text[256];
    int len = OBJ_obj2txt(text, sizeof text, object, 0);

    if (len < 0)
        return 0;
    if ((size_t)len < sizeof text) {
        sb_put_bytes(out, text, (size_t)len);
    } else { /* an OID without a name may be of any length */
        char *longer = malloc((size_t)len + 1);

        if (longer == NULL)
            return out_of_memory(out);
        OBJ_obj2txt(longer, len + 1, object, 0);
        sb_put_bytes(out, longer, (size_t)len);
        free(longer);
    }
    return 1;
}

/* Is it in UTF-8 as it stands? ASN1_STRING_to_UTF8() would take most of the time of a name. */
static int
is_ascii(const ASN1_STRING *string)
{
    const unsigned char *text = ASN1_STRING_get0_data(string);
    int type = ASN1_STRING_type(string), i;

    if (type != V_ASN1_UTF8STRING && type != V_ASN1_PRINTABLESTRING && type != V_ASN1_IA5STRING)
        return 0;
    for (i = 0; i < ASN1_STRING_length(string); i++)
        if (text[i] >= 0x80)
            return 0;
    return 1;
}

static int
put_converted(sb_block *out, const ASN1_STRING *string)
{
    unsigned char *text = NULL;
    int len;

    if (is_ascii(string)) {
        put_string(out, string);
        return 1;
    }
    if ((len = ASN1_STRING_to_UTF8(&text, string)) < 0)
        return 0;
    sb_put_bytes(out, text, (size_t)len);
    OPENSSL_free(text);
    return 1;
}

/* A string, or bytes for a unique identifier (RFC 4519 2.40), which the stdlib of Python 3.9 cannot
 * read. */
static int
put_value(sb_block *out, const ASN1_STRING *value)
{
    if (ASN1_STRING_type(value) != V_ASN1_BIT_STRING)
        return put_converted(out, value);
    sb_put_octets(out, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    return 1;
}

/* A pair of type and value. */
static int
put_attribute(sb_block *out, sb_x509_name_entry *entry)
{
    sb_sequence pair = sb_put_sequence(out, '(');

    if (!put_object_name(out, X509_NAME_ENTRY_get_object(entry)) ||
        !put_value(out, X509_NAME_ENTRY_get_data(entry)))
        return 0;
    pair.count = 2;
    sb_end_sequence(out, pair);
    return 1;
}

/* A tuple of relative distinguished names, each a tuple of attributes. */
static int
put_name(sb_block *out, sb_x509_name *name)
{
    sb_sequence names = sb_put_sequence(out, '('), set = {0, 0};
    int i, number = -1;

    for (i = 0; i < X509_NAME_entry_count(name); i++) {
        sb_x509_name_entry *entry = X509_NAME_get_entry(name, i);

        if (X509_NAME_ENTRY_set(entry) != number) {
            if (names.count++ > 0)
                sb_end_sequence(out, set);
            set = sb_put_sequence(out, '(');
        }
        number = X509_NAME_ENTRY_set(entry);
        if (!put_attribute(out, entry))
            return 0;
        set.count++;
    }
    if (names.count > 0)
        sb_end_sequence(out, set);
    sb_end_sequence(out, names);
    return 1;
}

static void
put_ip(sb_block *out, const ASN1_OCTET_STRING *ip)
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
    sb_put_bytes(out, text, n > 0 ? (size_t)n : 0);
}

/* OpenSSL's own rendering, "type:value". */
static int
put_printed(sb_block *out, GENERAL_NAME *name, BIO *memory)
{
    char *text = NULL, *colon;
    long len;

    if (GENERAL_NAME_print(memory, name) < 0)
        return 0;
    len = BIO_get_mem_data(memory, &text);
    if (len <= 0 || (colon = memchr(text, ':', (size_t)len)) == NULL)
        return 0;
    sb_put_bytes(out, text, (size_t)(colon - text));
    sb_put_bytes(out, colon + 1, (size_t)(text + len - colon - 1));
    (void)BIO_reset(memory);
    return 1;
}

/* The name of the type, then the value. */
static int
put_general_name(sb_block *out, GENERAL_NAME *name, BIO *memory)
{
    int type;
    void *value = GENERAL_NAME_get0_value(name, &type);

    switch (type) {
    case GEN_DIRNAME:
        sb_put_text(out, "DirName");
        return put_name(out, value);
    case GEN_EMAIL:
        sb_put_text(out, "email");
        put_string(out, value);
        return 1;
    case GEN_DNS:
        sb_put_text(out, "DNS");
        put_string(out, value);
        return 1;
    case GEN_URI:
        sb_put_text(out, "URI");
        put_string(out, value);
        return 1;
    case GEN_RID:
        sb_put_text(out, "Registered ID");
        return put_object_name(out, value);
    case GEN_IPADD:
        sb_put_text(out, "IP Address");
        put_ip(out, value);
        return 1;
    default:
        return put_printed(out, name, memory);
    }
}

static int
put_subject_alt_names(sb_block *out, const GENERAL_NAMES *names, BIO *memory)
{
    sb_sequence all, pair;
    int i;

    if (names == NULL)
        return 1;
    sb_put_text(out, "subjectAltName");
    all = sb_put_sequence(out, '(');
    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        pair = sb_put_sequence(out, '(');
        if (!put_general_name(out, sk_GENERAL_NAME_value(names, i), memory))
            return 0;
        pair.count = 2;
        sb_end_sequence(out, pair);
        all.count++;
    }
    sb_end_sequence(out, all);
    return 1;
}

static void
put_unknown_types(sb_block *out, const GENERAL_NAMES *names)
{
    sb_sequence unknown = sb_put_sequence(out, '(');
    int i, type;

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type < GEN_OTHERNAME || type > GEN_RID) {
            sb_put_integer(out, type);
            unknown.count++;
        }
    }
    sb_end_sequence(out, unknown);
}

/* With the first URI the key and the tuple of all begin. */
static void
put_uri(sb_block *out, const char *key, sb_sequence *uris, const GENERAL_NAME *name)
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);

    if (type != GEN_URI)
        return;
    if (uris->count == 0) {
        sb_put_text(out, key);
        *uris = sb_put_sequence(out, '(');
    }
    put_string(out, value);
    uris->count++;
}

static void
put_authority_info(sb_block *out, const AUTHORITY_INFO_ACCESS *info, int method, const char *key)
{
    sb_sequence uris = {0, 0};
    int i;

    for (i = 0; i < sk_ACCESS_DESCRIPTION_num(info); i++) {
        const ACCESS_DESCRIPTION *item = sk_ACCESS_DESCRIPTION_value(info, i);

        if (OBJ_obj2nid(item->method) == method)
            put_uri(out, key, &uris, item->location);
    }
    if (uris.count > 0)
        sb_end_sequence(out, uris);
}

static void
put_crl_points(sb_block *out, const CRL_DIST_POINTS *points)
{
    sb_sequence uris = {0, 0};
    int i, j;

    for (i = 0; i < sk_DIST_POINT_num(points); i++) {
        const DIST_POINT *point = sk_DIST_POINT_value(points, i);

        if (point->distpoint == NULL || point->distpoint->type != 0)
            continue; /* a name relative to the issuer's is no URI */
        for (j = 0; j < sk_GENERAL_NAME_num(point->distpoint->name.fullname); j++)
            put_uri(out, "crlDistributionPoints", &uris,
                    sk_GENERAL_NAME_value(point->distpoint->name.fullname, j));
    }
    if (uris.count > 0)
        sb_end_sequence(out, uris);
}

static int
put_names(sb_block *out, X509 *cert)
{
    sb_put_text(out, "subject");
    if (!put_name(out, X509_get_subject_name(cert)))
        return 0;
    sb_put_text(out, "issuer");
    return put_name(out, X509_get_issuer_name(cert));
}

/* In hexadecimal, as i2a_ASN1_INTEGER(), but that calls BIO_write() for each byte, and breaks
 * lines: of a number longer than RFC 5280 4.1.2.2 allows, the stdlib gives the first 35 bytes. */
static int
put_serial_number(sb_block *out, const ASN1_INTEGER *number)
{
    static const char digits[] = "0123456789ABCDEF";
    const unsigned char *bytes = ASN1_STRING_get0_data(number);
    size_t len = (size_t)ASN1_STRING_length(number), i;
    char *text = malloc(2 * len + 3), *end = text;

    if (text == NULL)
        return out_of_memory(out);
    if (ASN1_STRING_type(number) == V_ASN1_NEG_INTEGER)
        *end++ = '-';
    for (i = 0; i < len; i++) {
        *end++ = digits[bytes[i] >> 4];
        *end++ = digits[bytes[i] & 15];
    }
    sb_put_bytes(out, len > 0 ? text : "00", len > 0 ? (size_t)(end - text) : 2);
    free(text);
    return 1;
}

static void
set_two_digits(char *text, int number)
{
    text[0] = (char)('0' + number / 10);
    text[1] = (char)('0' + number % 10);
}

/* As ASN1_TIME_print(), which is slow, for the times that RFC 5280 4.1.2.5 allows, to the second
 * and in GMT. One that cannot be read prints as "Bad time value", with a 0 for the result. */
static void
put_time(sb_block *out, const ASN1_TIME *time, BIO *memory)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int len = ASN1_STRING_length(time), plain = ASN1_STRING_type(time) == V_ASN1_UTCTIME ? 13 : 15;
    char text[] = "Mon DD hh:mm:ss YYYY GMT";
    struct tm tm;

    if (len != plain || ASN1_STRING_get0_data(time)[len - 1] != 'Z' ||
        !ASN1_TIME_to_tm(time, &tm) || tm.tm_year < 1000 - 1900) {
        ASN1_TIME_print(memory, time);
        sb_put_bio(out, memory);
        return;
    }
    memcpy(text, months + 3 * tm.tm_mon, 3);
    set_two_digits(text + 4, tm.tm_mday);
    if (text[4] == '0')
        text[4] = ' ';
    set_two_digits(text + 7, tm.tm_hour);
    set_two_digits(text + 10, tm.tm_min);
    set_two_digits(text + 13, tm.tm_sec);
    set_two_digits(text + 16, (tm.tm_year + 1900) / 100);
    set_two_digits(text + 18, (tm.tm_year + 1900) % 100);
    sb_put_bytes(out, text, sizeof text - 1);
}

static int
put_numbers(sb_block *out, X509 *cert, BIO *memory)
{
    sb_put_text(out, "version");
    sb_put_integer(out, (int)X509_get_version(cert) + 1);
    sb_put_text(out, "serialNumber");
    if (!put_serial_number(out, X509_get0_serialNumber(cert)))
        return 0;
    sb_put_text(out, "notBefore");
    put_time(out, X509_get0_notBefore(cert), memory);
    sb_put_text(out, "notAfter");
    put_time(out, X509_get0_notAfter(cert), memory);
    return 1;
}

/* An extension is NULL as well where it is damaged or there are two: then it counts for nothing. */
static int
put_fields(sb_block *out, X509 *cert, BIO *memory)
{
    sb_sequence pair = sb_put_sequence(out, '(');
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    AUTHORITY_INFO_ACCESS *info = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);
    CRL_DIST_POINTS *points = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);
    int ok;

    sb_put_dict(out);
    ok = put_names(out, cert) && put_numbers(out, cert, memory) &&
         put_subject_alt_names(out, names, memory);
    put_authority_info(out, info, NID_ad_OCSP, "OCSP");
    put_authority_info(out, info, NID_ad_ca_issuers, "caIssuers");
    put_crl_points(out, points);
    sb_end_dict(out);
    put_unknown_types(out, names);
    GENERAL_NAMES_free(names);
    AUTHORITY_INFO_ACCESS_free(info);
    CRL_DIST_POINTS_free(points);
    pair.count = 2;
    sb_end_sequence(out, pair);
    return ok;
}

int
sb_cert_fields(sb_cert **certs, size_t n, sb_block *out, sb_error *err)
{
    BIO *memory;
    sb_sequence list;
    int ok;

    sb_block_init(out);
    sb_clear_queue();
    ok = (memory = BIO_new(BIO_s_mem())) != NULL;
    list = sb_put_sequence(out, '[');
    while (ok && list.count < n)
        ok = put_fields(out, (X509 *)certs[list.count++], memory);
    sb_end_sequence(out, list);
    sb_block_end_item(out);
    BIO_free(memory);
    if (!ok && out->failed != SB_NO_MEMORY) {
        sb_block_clear(out);
        return SB_FAIL_QUEUE(err);
    }
    if (sb_memory_was_short()) /* an extension that there was none for counts for nothing */
        out->failed = SB_NO_MEMORY;
    return sb_block_status(out, err);
}
