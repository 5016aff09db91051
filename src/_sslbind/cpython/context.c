/* Context: what _SSLContext derives from. It makes the usual contexts in one call: OpenSSL's own
 * part of that leaves nothing of Python's in the caches, where each step costs several times its
 * usual time (benchmarks/README.md). */
#include "native.h"

#include <structmember.h>

typedef struct context {
    PyObject base;
    sb_ctx *ctx;
    int protocol;
    char check_hostname; /* as last set */
} context;

/* CPython's numbers. */
enum { PROTOCOL_TLS_CLIENT = 16, PROTOCOL_TLS_SERVER = 17 };

/* How a context of these two is made; of others there may be something to say. */
static struct {
    PyObject *ciphers; /* bytes, or None for OpenSSL's own; NULL: not known yet */
    int version;
} usual;

/* None: OpenSSL refused. */
static PyObject *
make(PyTypeObject *type, int protocol, PyObject *ciphers, int version)
{
    const char *list = ciphers != Py_None ? PyBytes_AsString(ciphers) : NULL;
    PyThreadState *thread;
    context *self;
    sb_ctx *ctx;

    if (list == NULL && ciphers != Py_None)
        return NULL;
    Py_INCREF(ciphers); /* another thread may come to know better ones */
    thread = PyEval_SaveThread();
    ctx = sb_ctx_new(protocol, list, version, NULL);
    PyEval_RestoreThread(thread);
    Py_DECREF(ciphers);
    if (ctx == NULL)
        return Py_BuildValue("");
    if ((self = (context *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0)) == NULL) {
        sb_ctx_free(ctx);
        return NULL;
    }
    self->ctx = ctx;
    self->protocol = protocol;
    self->check_hostname = (char)ctx->check_hostname;
    return (PyObject *)self;
}

/* Of (protocol, ciphers, least version). */
static PyObject *
make_by(PyObject *cls, PyObject *args)
{
    PyObject *ciphers;
    int protocol, version;

    if (!PyArg_ParseTuple(args, "iOi", &protocol, &ciphers, &version))
        return NULL;
    return make((PyTypeObject *)cls, protocol, ciphers, version);
}

/* None, too, if it is not a usual one that the arguments ask for. */
static PyObject *
make_usual(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *protocol = PyTuple_Size(args) == 1 ? PyTuple_GetItem(args, 0) : Py_None;
    int overflow;
    long number;

    if (usual.ciphers != NULL && keywords == NULL && PyLong_Check(protocol)) {
        number = PyLong_AsLongAndOverflow(protocol, &overflow);
        if (number == PROTOCOL_TLS_CLIENT || number == PROTOCOL_TLS_SERVER)
            return make(type, (int)number, usual.ciphers, usual.version);
    }
    return Py_BuildValue("");
}

/* What is not usual, or fails, is for the class's method in Python. */
static PyObject *
new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *self = make_usual(type, args, keywords), *method;

    if (self != Py_None)
        return self;
    Py_DECREF(self);
    if ((method = PyObject_GetAttrString((PyObject *)type, "_c_make")) == NULL)
        return NULL;
    self = PyObject_Call(method, args, keywords);
    Py_DECREF(method);
    return self;
}

PyObject *
sb_native_make_usually(PyObject *module, PyObject *args)
{
    PyObject *ciphers, *before = usual.ciphers;
    int version;

    (void)module;
    if (!PyArg_ParseTuple(args, "Oi", &ciphers, &version))
        return NULL;
    Py_INCREF(usual.ciphers = ciphers);
    usual.version = version;
    Py_XDECREF(before);
    return Py_BuildValue("");
}

sb_ctx *
sb_native_ctx(PyObject *object, PyTypeObject *type)
{
    if (PyType_IsSubtype(Py_TYPE(object), type))
        return ((context *)object)->ctx;
    PyErr_SetString(PyExc_TypeError, "a context is required");
    return NULL;
}

int
sb_native_serves(PyObject *object, PyTypeObject *type, int server_side, sb_ctx **ctx)
{
    if (!PyType_IsSubtype(Py_TYPE(object), type) ||
        ((context *)object)->protocol == (server_side ? PROTOCOL_TLS_CLIENT : PROTOCOL_TLS_SERVER))
        return 0;
    *ctx = ((context *)object)->ctx;
    return 1;
}

static PyObject *
address(context *self, void *unused)
{
    (void)unused;
    return PyLong_FromVoidPtr(self->ctx);
}

static void
dealloc(context *self)
{
    PyTypeObject *type = Py_TYPE(self);

    sb_ctx_free(self->ctx);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"_open", make_by, METH_CLASS | METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"_protocol", T_INT, offsetof(context, protocol), READONLY, NULL},
    {"_c_check_hostname", T_BOOL, offsetof(context, check_hostname), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"_address", (getter)address, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* For inspect.signature(), which asks the class that has no __new__ in Python. */
static const char doc[] = "Context(protocol=None, *args, **kwargs)\n--\n\n";

static PyType_Slot slots[] = {
    {Py_tp_new, new},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {Py_tp_doc, (void *)doc},
    {0, NULL},
};

PyType_Spec sb_native_context = {
    "sslbind._native.Context", sizeof(context), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots,
};
