/* Shortcuts: what the hot methods of SSLObject, SSLSocket and contexts nearly always do, without
 * their frames.
 *
 * Each stands before a method in Python and has its name, signature and docstring. Other keywords,
 * flags, a socket without TLS, a connection of another class: whatever is not plain it leaves to
 * that method, which alone says what such a call means. A frame takes 0.1 us, of 0.9 for 64 bytes.
 *
 * A method's function in C gets no data of its own, so each has its place in a static table: it
 * serves the first import, in the first interpreter; any other goes without.
 */
#include "native.h"

#include <string.h>

typedef PyObject *plain_call(PyObject *connection, PyObject *const *args, Py_ssize_t n);

typedef struct shortcut {
    plain_call *call;
    Py_ssize_t least; /* arguments that are plain, and by position */
    Py_ssize_t most;
    int of_socket;   /* a stream may end without close_notify: suppress_ragged_eofs */
    PyObject *method;
    PyMethodDef definition;
} shortcut;

static PyObject *connection_type; /* NULL: no shortcut has been made */
static PyObject *ragged_eof;
static PyObject *name_of_connection;
static environment *env;
static PyObject *names_to_wrap[4];

/* ---------------------------------------------------------------- plain calls */

static PyObject *
receive_into(PyObject *connection, PyObject *const *args, Py_ssize_t n)
{
    PyObject *size = PyLong_FromLong(0), *reordered[2] = {size, args[0]}, *count;

    (void)n;
    if (size == NULL)
        return NULL;
    count = sb_native_read(connection, reordered, 2);
    Py_DECREF(size);
    return count;
}

static PyObject *
put(PyObject *connection, PyObject *const *args, Py_ssize_t n)
{
    (void)n;
    return sb_native_write(connection, args[0]);
}

static PyObject *
send_all(PyObject *connection, PyObject *const *args, Py_ssize_t n)
{
    (void)n;
    return sb_native_send_all(connection, args[0]);
}

static PyObject *
shake(PyObject *connection, PyObject *const *args, Py_ssize_t n)
{
    (void)args;
    (void)n;
    return sb_native_do_handshake(connection);
}

/* ---------------------------------------------------------------- the methods in Python */

static PyObject *
call_method(const shortcut *self, PyObject *object, PyObject *const *args, Py_ssize_t n,
            PyObject *names)
{
    Py_ssize_t i, n_names = names != NULL ? PyTuple_Size(names) : 0;
    PyObject *positional = PyTuple_New(n + 1), *keywords = NULL, *answer = NULL;

    if (positional == NULL)
        return NULL;
    Py_INCREF(object);
    PyTuple_SetItem(positional, 0, object);
    for (i = 0; i < n; i++) {
        Py_INCREF(args[i]);
        PyTuple_SetItem(positional, i + 1, args[i]);
    }
    if (n_names > 0 && (keywords = PyDict_New()) == NULL)
        goto done;
    for (i = 0; i < n_names; i++)
        if (PyDict_SetItem(keywords, PyTuple_GetItem(names, i), args[n + i]) < 0)
            goto done;
    answer = PyObject_Call(self->method, positional, keywords);
done:
    Py_DECREF(positional);
    Py_XDECREF(keywords);
    return answer;
}

/* The stream of a socket has ended without close_notify, which is to look like any end, or not. */
static PyObject *
end_of(PyObject *sock, int in_numbers)
{
    PyObject *type, *value, *traceback, *suppress;
    int suppressed;

    PyErr_Fetch(&type, &value, &traceback);
    suppress = PyObject_GetAttrString(sock, "suppress_ragged_eofs");
    suppressed = suppress == NULL ? -1 : PyObject_IsTrue(suppress);
    Py_XDECREF(suppress);
    if (suppressed == 0) {
        PyErr_Restore(type, value, traceback);
        return NULL;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    if (suppressed < 0)
        return NULL;
    return in_numbers ? PyLong_FromLong(0) : PyBytes_FromStringAndSize(NULL, 0);
}

static PyObject *
take(const shortcut *self, PyObject *object, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *connection, *answer;

    if (names != NULL || n < self->least || n > self->most)
        return call_method(self, object, args, n, names);
    if ((connection = PyObject_GetAttr(object, name_of_connection)) == NULL)
        return NULL;
    if ((PyObject *)Py_TYPE(connection) != connection_type) {
        Py_DECREF(connection);
        return call_method(self, object, args, n, names);
    }
    answer = self->call(connection, args, n);
    Py_DECREF(connection);
    if (answer == NULL && self->of_socket && PyErr_ExceptionMatches(ragged_eof))
        return end_of(object, self->call == receive_into || (n == 2 && args[1] != Py_None));
    return answer;
}

/* As SSLObject._create() calls it: the names are constants there, and so the same objects. */
static int
are_names_to_wrap(PyObject *names)
{
    Py_ssize_t i, n = names != NULL ? PyTuple_Size(names) : 0;

    for (i = 0; i < n && i < 4; i++)
        if (PyTuple_GetItem(names, i) != names_to_wrap[i])
            return 0;
    return n == 4;
}

static PyObject *
wrap_bio(const shortcut *self, PyObject *context, PyObject *const *args, Py_ssize_t n,
         PyObject *names)
{
    PyObject *connection;

    if (n == 2 && are_names_to_wrap(names)) {
        connection = sb_native_wrap(connection_type, env, context, args);
        if (connection != Py_None)
            return connection;
        Py_DECREF(connection);
    }
    return call_method(self, context, args, n, names);
}

/* ---------------------------------------------------------------- the table */

#define SHORTCUTS(EACH)                                                                            \
    EACH(_SSLContext, _wrap_bio, wrap_bio, NULL, 0, 0, 0)                                          \
    EACH(SSLObject, read, take, sb_native_read, 1, 2, 0)                                           \
    EACH(SSLObject, write, take, put, 1, 1, 0)                                                     \
    EACH(SSLObject, do_handshake, take, shake, 0, 0, 0)                                            \
    EACH(SSLSocket, read, take, sb_native_read, 1, 2, 1)                                           \
    EACH(SSLSocket, write, take, put, 1, 1, 0)                                                     \
    EACH(SSLSocket, recv, take, sb_native_read, 1, 1, 1)                                           \
    EACH(SSLSocket, recv_into, take, receive_into, 1, 1, 1)                                        \
    EACH(SSLSocket, send, take, put, 1, 1, 0)                                                      \
    EACH(SSLSocket, sendall, take, send_all, 1, 1, 0)

#define DEFINE(cls, method, by, call, least, most, of_socket)                                         \
    static PyObject *cls##_##method(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);           \
    static shortcut on_##cls##_##method = {                                                           \
        call,                                                                                         \
        least,                                                                                        \
        most,                                                                                         \
        of_socket,                                                                                    \
        NULL,                                                                                         \
        {#method, (PyCFunction)(void (*)(void))cls##_##method, METH_FASTCALL | METH_KEYWORDS, NULL}}; \
    static PyObject *cls##_##method(PyObject *self, PyObject *const *args, Py_ssize_t n,              \
                                    PyObject *names)                                                  \
    {                                                                                                 \
        return by(&on_##cls##_##method, self, args, n, names);                                        \
    }
SHORTCUTS(DEFINE)

#define PLACE(cls, method, by, call, least, most, of_socket)                                       \
    {#cls "." #method, &on_##cls##_##method},
static const struct place {
    const char *name;
    shortcut *shortcut;
} places[] = {SHORTCUTS(PLACE)};

static shortcut *
find(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof places / sizeof *places; i++)
        if (strcmp(places[i].name, name) == 0)
            return places[i].shortcut;
    return NULL;
}

/* For the text see PyMethodDef.ml_doc; it is kept, as what else is static here. */
static PyObject *
make(shortcut *made, PyObject *cls, PyObject *method, PyObject *text)
{
    PyObject *bytes = PyUnicode_AsUTF8String(text);

    if (bytes == NULL)
        return NULL;
    made->definition.ml_doc = PyBytes_AsString(bytes);
    Py_INCREF(made->method = method);
    return PyDescr_NewMethod((PyTypeObject *)cls, &made->definition);
}

PyObject *
sb_native_shortcut(PyObject *module, PyObject *args)
{
    PyObject *cls, *method, *text, *connection, *eof, *environment;
    const char *name;
    shortcut *made;

    (void)module;
    if (!PyArg_ParseTuple(args, "OsOUOOO", &cls, &name, &method, &text, &connection, &eof,
                          &environment))
        return NULL;
    if ((made = find(name)) == NULL)
        return PyErr_Format(PyExc_ValueError, "there is no shortcut for %s", name);
    if (connection_type == NULL) {
        if ((name_of_connection = PyUnicode_InternFromString("_sslobj")) == NULL ||
            (names_to_wrap[0] = PyUnicode_InternFromString("server_side")) == NULL ||
            (names_to_wrap[1] = PyUnicode_InternFromString("server_hostname")) == NULL ||
            (names_to_wrap[2] = PyUnicode_InternFromString("owner")) == NULL ||
            (names_to_wrap[3] = PyUnicode_InternFromString("session")) == NULL ||
            (env = PyCapsule_GetPointer(environment, NULL)) == NULL)
            return NULL;
        Py_INCREF(ragged_eof = eof);
        Py_INCREF(connection_type = connection);
    }
    if (made->method == NULL && connection == connection_type)
        return make(made, cls, method, text);
    Py_INCREF(method);
    return method;
}
