/* What the programs in this directory share: promises, operations as Python calls them. */
#ifndef SB_HARNESS_H
#define SB_HARNESS_H

#include "internal.h"

#define HOST "localhost"
#define REQUIRE(ok, err) require_at((ok), #ok, (err), __FILE__, __LINE__)

extern const char *directory; /* where the certificates are */

/* Exits with what was promised and where, unless it holds; err may be NULL. */
void require_at(int ok, const char *what, const sb_error *err, const char *file, int line);

/* What the SNI callback of a connection does, with its handle; NULL: nothing. */
extern int (*on_sni)(void *handle);

const char *in_directory(const char *name, char out[512]);

/* As the Python side does it: an interrupted call is repeated with what it returned. */
long long handshake(sb_conn *conn, double timeout, sb_error *err);
long long read_some(sb_conn *conn, char *buf, size_t cap, double timeout, sb_error *err);
long long write_all(sb_conn *conn, const char *buf, size_t len, double timeout, sb_error *err);
long long end(sb_conn *conn, double timeout, sb_error *err);

#endif
