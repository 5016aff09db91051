/* The only file that knows OpenSSL versions: it gives the rest the newest names.
 *
 * SB_HAVE_* are always defined, 0 or 1, and are tested with #if. A missing function becomes an
 * inline of the same name, or the caller answers SB_UNSUPPORTED.
 */
#ifndef SB_COMPAT_H
#define SB_COMPAT_H

#include <openssl/crypto.h>
#include <openssl/opensslv.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "sslbind needs OpenSSL 3.0 or newer"
#endif

/* What this is compiled against; what runs may be newer. */
#define SB_COMPILED_VERSION ((unsigned long)OPENSSL_VERSION_NUMBER)

#define SB_HAVE_GROUP_NAME (OPENSSL_VERSION_NUMBER >= 0x30200000L)
#define SB_HAVE_BUILTIN_SIGALGS (OPENSSL_VERSION_NUMBER >= 0x30400000L)
#define SB_HAVE_IMPLEMENTED_GROUPS (OPENSSL_VERSION_NUMBER >= 0x30500000L)
#define SB_HAVE_SIGNATURE_NAME (OPENSSL_VERSION_NUMBER >= 0x30500000L)

/* OpenSSL 4.0 took the version-fixed methods away; there, limits on a flexible one serve. */
#define SB_HAVE_FIXED_METHODS (OPENSSL_VERSION_NUMBER < 0x40000000L)

#if defined(OPENSSL_NO_SSL3) || defined(OPENSSL_NO_SSL3_METHOD) || !SB_HAVE_FIXED_METHODS
#define SB_HAVE_SSL3 0
#else
#define SB_HAVE_SSL3 1
#endif
#if defined(OPENSSL_NO_TLS1) || (SB_HAVE_FIXED_METHODS && defined(OPENSSL_NO_TLS1_METHOD))
#define SB_HAVE_TLS1 0
#else
#define SB_HAVE_TLS1 1
#endif
#if defined(OPENSSL_NO_TLS1_1) || (SB_HAVE_FIXED_METHODS && defined(OPENSSL_NO_TLS1_1_METHOD))
#define SB_HAVE_TLS1_1 0
#else
#define SB_HAVE_TLS1_1 1
#endif
#if defined(OPENSSL_NO_TLS1_2) || (SB_HAVE_FIXED_METHODS && defined(OPENSSL_NO_TLS1_2_METHOD))
#define SB_HAVE_TLS1_2 0
#else
#define SB_HAVE_TLS1_2 1
#endif
#ifdef OPENSSL_NO_TLS1_3
#define SB_HAVE_TLS1_3 0
#else
#define SB_HAVE_TLS1_3 1
#endif

#ifdef OPENSSL_NO_NEXTPROTONEG
#define SB_HAVE_NPN 0
#else
#define SB_HAVE_NPN 1
#endif

#ifdef OPENSSL_NO_PSK
#define SB_HAVE_PSK 0
#else
#define SB_HAVE_PSK 1
#endif

#ifdef OPENSSL_NO_KTLS
#define SB_HAVE_KTLS 0
#else
#define SB_HAVE_KTLS 1
#endif

#if !SB_HAVE_GROUP_NAME
static inline const char *
SSL_get0_group_name(SSL *ssl)
{
    (void)ssl;
    return NULL;
}
#endif

#if !SB_HAVE_SIGNATURE_NAME
static inline long
SSL_get0_signature_name(const SSL *ssl, const char **name)
{
    (void)ssl;
    *name = NULL;
    return 0;
}

static inline long
SSL_get0_peer_signature_name(const SSL *ssl, const char **name)
{
    (void)ssl;
    *name = NULL;
    return 0;
}
#endif

/* The URI that SSL_CTX_set_default_verify_store() adds, where it is that of the default directory,
 * and opened each time; NULL where the function is as cheap as it looks. What runs decides. */
static inline const char *
sb_default_store_uri(void)
{
    const char *dir;

    if (OpenSSL_version_num() >= 0x30100000L)
        return NULL;
    dir = OPENSSL_issetugid() ? NULL : getenv(X509_get_default_cert_dir_env());
    return dir != NULL ? dir : X509_get_default_cert_dir();
}

/* The method of a fixed version, or NULL where limits must serve in its place. */
static inline const SSL_METHOD *
sb_fixed_method(int version)
{
#if SB_HAVE_FIXED_METHODS
    switch (version) {
#if SB_HAVE_SSL3
    case SSL3_VERSION:
        return SSLv3_method();
#endif
#if SB_HAVE_TLS1
    case TLS1_VERSION:
        return TLSv1_method();
#endif
#if SB_HAVE_TLS1_1
    case TLS1_1_VERSION:
        return TLSv1_1_method();
#endif
#if SB_HAVE_TLS1_2
    case TLS1_2_VERSION:
        return TLSv1_2_method();
#endif
    default:
        break;
    }
#else
    (void)version;
#endif
    return NULL;
}

/* OpenSSL 4.0 made the arguments of these const, and ASN1_STRING opaque. */
#if OPENSSL_VERSION_NUMBER >= 0x40000000L
typedef const X509_NAME sb_x509_name;
typedef const X509_NAME_ENTRY sb_x509_name_entry;
typedef const X509_EXTENSION sb_x509_extension;
typedef const X509 sb_verified_x509;
typedef const X509_STORE_CTX sb_looking_store_ctx;
#else
typedef X509_NAME sb_x509_name;
typedef X509_NAME_ENTRY sb_x509_name_entry;
typedef X509_EXTENSION sb_x509_extension;
typedef X509 sb_verified_x509;
typedef X509_STORE_CTX sb_looking_store_ctx;
#endif

#endif
