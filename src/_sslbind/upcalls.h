/* The Python functions that C may call; sslbind/_hooks.py defines each of them.
 *
 * `handle` is what the connection, context or call was given. When Python fails, each returns
 * its failing value, never one that OpenSSL takes for success. Nor does 0 let anything pass, which
 * cffi returns where it cannot call Python at all, as in a subinterpreter; as a password it is an
 * empty one.
 */

/* The client asked for `name`, or for none with NULL. Returns -1 to go on, or the TLS alert to
 * end the handshake with, plus one; 0: this was not called. */
int sb_py_sni(void *handle, const char *name);

/* A message was sent (write = 1) or received. SSL_CTX_set_msg_callback(3) */
void sb_py_message(void *handle, int write, int version, int type, const char *buf, size_t len);

/* Put a password of up to `cap` bytes into buf. Returns its length, or -1. */
int sb_py_password(void *handle, char *buf, int cap);

/* Put the identity (NUL-terminated, up to id_cap bytes with it) and the key; returns the key's
 * length, 0 to refuse. SSL_CTX_set_psk_client_callback(3) */
unsigned int sb_py_psk_client(void *handle, const char *hint, char *identity, unsigned int id_cap,
                              char *psk, unsigned int cap);
unsigned int sb_py_psk_server(void *handle, const char *identity, char *psk, unsigned int cap);
