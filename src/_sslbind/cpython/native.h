/* What the C files of this folder share: of Python.h nothing but the stable ABI of Python 3.9. */
#ifndef SB_NATIVE_H
#define SB_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x03090000
#include <Python.h>

#include "../internal.h"

#ifndef METH_FASTCALL /* declared stable in 3.10, unchanged since 3.7 */
#define METH_FASTCALL 0x0080
#endif

/* native.c: the methods of Operations, of an object that is one. */
PyObject *sb_native_read(PyObject *connection, PyObject *const *args, Py_ssize_t n);
PyObject *sb_native_write(PyObject *connection, PyObject *data);
PyObject *sb_native_send_all(PyObject *connection, PyObject *data);
PyObject *sb_native_do_handshake(PyObject *connection);

/* native.c: a connection of this class over two memory buffers, by the six arguments of
 * _wrap_bio(). None: they need a closer look, or OpenSSL refused. */
typedef struct environment environment;
PyObject *sb_native_wrap(PyObject *cls, environment *env, PyObject *context, PyObject *const *args);

/* context.c: a class, and a function of the module: of (ciphers as bytes or None, least version),
 * what contexts are to be made with from now on. The third returns NULL, and raises, for what is no
 * object of that class. */
extern PyType_Spec sb_native_context;
PyObject *sb_native_make_usually(PyObject *module, PyObject *args);
sb_ctx *sb_native_ctx(PyObject *object, PyTypeObject *type);
/* Whether it is one that makes connections of this side; it does not raise. */
int sb_native_serves(PyObject *object, PyTypeObject *type, int server_side, sb_ctx **ctx);

/* shortcuts.c: a function of the module. */
PyObject *sb_native_shortcut(PyObject *module, PyObject *args);

#endif
