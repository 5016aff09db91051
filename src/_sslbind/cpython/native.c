/* The hot methods, as CPython's own C modules have them. It is a second module of the same shared
 * library, `_native`, with four classes. Context (context.c), MemoryBIO and Operations are what the
 * classes of those names in sslbind/_portable.py are, method by method, for PyPy and for an
 * interpreter without a GIL; Keeper frees what C has allocated.
 *
 * Why: a call of a cffi function with four arguments, the copy out of a scratch buffer and a frame
 * of Python cost 0.4 us more than such a method, for a read of 64 bytes that OpenSSL decrypts in
 * 0.5 (benchmarks/README.md). Nothing is decided here: the operations are those of io.c, what they
 * may answer is told in api.h, and whatever is no plain success goes to Python's _finish().
 *
 * This folder alone knows Python.h, of it nothing but the stable ABI of Python 3.9, and is compiled
 * for nothing but CPython with a GIL, which guards what is static here.
 */
#include "native.h"

#include <structmember.h>

#include <limits.h>
#include <stdlib.h>

/* Of the stable ABI from the first, although some headers leave them out or deprecate them. With a
 * memoryview that holds the buffer for as long as the pointer is in use, the two do what a
 * Py_buffer does, which is stable only since Python 3.11. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
extern int PyObject_AsReadBuffer(PyObject *object, const void **memory, Py_ssize_t *len);
extern int PyObject_AsWriteBuffer(PyObject *object, void **memory, Py_ssize_t *len);
extern int _PyBytes_Resize(PyObject **bytes, Py_ssize_t size);
extern PyObject *PyWeakref_GetObject(PyObject *reference);
#ifndef PyBUF_READ
#define PyBUF_READ 0x100
#endif

enum {
    DIRECT = 16384,       /* larger reads may go by scratch: see read_many_bytes() */
    SCRATCH = 256 * 1024, /* what asyncio asks for, always */
    KEPT = 4,             /* buffers of that size */
    SMALL = 4096,         /* handed over as bytes, for a memoryview costs more than a copy */
    EXPECTED = 4,         /* large reads, after one that has filled more than half */
    SHARED = 100000000,   /* nanoseconds after which another thread that wrote is forgotten */
};

/* The functions behind two methods of the interpreter's MemoryBIO, and one of its sockets. They are
 * called as they are, for the way by the method's object is 200 instructions longer, for each
 * record. */
typedef PyObject *array_fn(PyObject *self, PyObject *const *args, Py_ssize_t n);
typedef PyObject *object_fn(PyObject *self, PyObject *object);

/* What each interpreter of a process has for itself; never freed, as its modules hardly are. */
struct environment {
    PyTypeObject *context; /* our classes of these names */
    PyTypeObject *memory;
    PyObject *session;
    PyObject *context_name; /* a session's attribute */
    PyObject *keeper;       /* our class, and the attribute where others have one */
    PyObject *keeper_name;
    PyObject *get_timeout; /* of socket.socket, which gevent and eventlet override */
    object_fn *timeout_of; /* the function behind that, or NULL */
    PyObject *no_socket;
    PyObject *want_read;
    PyObject *bio; /* the interpreter's own MemoryBIO, or None */
    Py_ssize_t bio_at; /* where OpenSSL's BIO stands in one; 0: not to be had, < 0: not asked yet */
    array_fn *bio_read;
    object_fn *bio_write;
    PyObject *eof; /* the name of a property */
    Py_ssize_t size_max; /* of a read */
};

typedef struct operations {
    PyObject base;
    PyObject *sock; /* a weak reference, or None over memory buffers */
    PyObject *pump; /* None, or what moves bytes for foreign memory buffers that are in Python */
    PyObject *incoming; /* the interpreter's own memory buffers, or NULL */
    PyObject *outgoing;
    PyObject *context;
    PyObject *owner; /* a weak reference, or None */
    PyObject *hostname;
    PyObject *parked; /* what a callback raised, for the operation to raise; or NULL */
    sb_conn *conn; /* its own */
    environment *env;
    int draining;
    int inside; /* operations that count on what was taken from `incoming` */
    int fills; /* large reads that are still expected to fill more than half of what they ask for */
} operations;

static char *scratch[KEPT];
static int n_scratch;

static char *
take_scratch(void)
{
    return n_scratch > 0 ? scratch[--n_scratch] : malloc(SCRATCH);
}

static void
put_scratch(char *memory)
{
    if (n_scratch < KEPT)
        scratch[n_scratch++] = memory;
    else
        free(memory);
}

static PyObject *
strong(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

static int
raise(PyObject *exception)
{
    if (exception != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_XDECREF(exception);
    return -1;
}

/* A TypeError, whose text ends with the name of an object's type, in the place of what was raised.
 * A metaclass may have made the name an object of any kind. */
static PyObject *
refuse(const char *text, PyObject *object)
{
    PyObject *name;

    PyErr_Clear();
    name = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__name__");
    if (name != NULL)
        PyErr_Format(PyExc_TypeError, text, name);
    Py_XDECREF(name);
    return NULL;
}

/* Bytes to be read from, until release(). */
typedef struct source {
    const char *bytes;
    Py_ssize_t len;
    PyObject *view;
} source;

static int
hold(source *source, PyObject *object)
{
    const void *memory;
    char *bytes;

    source->view = NULL;
    if (PyBytes_Check(object)) {
        PyBytes_AsStringAndSize(object, &bytes, &source->len);
        source->bytes = bytes;
        return 1;
    }
    if ((source->view = PyMemoryView_FromObject(object)) == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) /* else it has bytes, but not to give away */
            refuse("a bytes-like object is required, not '%S'", object);
        return 0;
    }
    if (PyObject_AsReadBuffer(source->view, &memory, &source->len) < 0) {
        Py_CLEAR(source->view);
        return 0;
    }
    source->bytes = memory;
    return 1;
}

static void
release(source *source)
{
    Py_XDECREF(source->view);
}

/* ---------------------------------------------------------------- MemoryBIO */

typedef struct memory_bio {
    PyObject base;
    sb_bio *bio;
} memory_bio;

static PyObject *
memory_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    memory_bio *self = (memory_bio *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);

    (void)args;
    (void)keywords;
    if (self != NULL && (self->bio = sb_bio_new()) == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static int
memory_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    (void)self;
    if (PyTuple_Size(args) == 0 && (keywords == NULL || PyDict_Size(keywords) == 0))
        return 0;
    PyErr_SetString(PyExc_TypeError, PyTuple_Size(args) > 0
                                         ? "MemoryBIO() takes no arguments"
                                         : "MemoryBIO() takes no keyword arguments");
    return -1;
}

static void
memory_dealloc(memory_bio *self)
{
    PyTypeObject *type = Py_TYPE(self);

    sb_bio_free(self->bio);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* Up to max bytes; other threads may take some meanwhile. */
static PyObject *
memory_take(sb_bio *bio, size_t max)
{
    size_t len = sb_bio_pending(bio);
    PyObject *data;
    long long count;

    if (len > max)
        len = max;
    if ((data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)len)) == NULL || len == 0)
        return data;
    if ((count = sb_bio_read(bio, PyBytes_AsString(data), len)) < (long long)len)
        _PyBytes_Resize(&data, (Py_ssize_t)count);
    return data;
}

static PyObject *
memory_read(memory_bio *self, PyObject *const *args, Py_ssize_t n)
{
    PyObject *number;
    long long size = -1;
    int overflow = 0;

    if (n > 1)
        return PyErr_Format(PyExc_TypeError, "read expected at most 1 argument, got %zd", n);
    if (n == 1) {
        if ((number = PyNumber_Index(args[0])) == NULL)
            return NULL;
        size = PyLong_AsLongLongAndOverflow(number, &overflow);
        Py_DECREF(number);
        if (overflow || size < INT_MIN || size > INT_MAX)
            return PyErr_Format(PyExc_OverflowError, "signed integer is out of range for a C int");
    }
    return memory_take(self->bio, size < 0 ? SIZE_MAX : (size_t)size);
}

static PyObject *
memory_write(memory_bio *self, PyObject *object)
{
    source data;
    int status;

    if (!hold(&data, object))
        return NULL;
    if (self->bio->eof) {
        release(&data);
        return PyObject_CallMethod((PyObject *)self, "_refuse", NULL);
    }
    status = sb_bio_write(self->bio, data.bytes, (size_t)data.len);
    release(&data);
    return status == SB_OK ? PyLong_FromSsize_t(data.len) : PyErr_NoMemory();
}

static PyObject *
memory_write_eof(memory_bio *self, PyObject *unused)
{
    (void)unused;
    sb_bio_write_eof(self->bio);
    return Py_BuildValue("");
}

static PyObject *
memory_pending(memory_bio *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(sb_bio_pending(self->bio));
}

static PyObject *
memory_eof(memory_bio *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(sb_bio_eof(self->bio));
}

static PyMethodDef memory_methods[] = {
    {"read", (PyCFunction)(void (*)(void))memory_read, METH_FASTCALL,
     "read($self, size=-1, /)\n--\n\n"
     "Take and return up to `size` bytes, all if it is negative; b\"\" if there are none.\n\n"
     "Raises: TypeError: not an integer; OverflowError: it does not fit a C int.\n"
     "See: BIO_read(3)."},
    {"write", (PyCFunction)memory_write, METH_O,
     "write($self, b, /)\n--\n\n"
     "Append `b`, bytes-like; return its length in bytes.\n\n"
     "Raises: SSLError: write_eof() came first. TypeError, BufferError: no contiguous bytes.\n"
     "See: BIO_write(3)."},
    {"write_eof", (PyCFunction)memory_write_eof, METH_NOARGS,
     "write_eof($self, /)\n--\n\n"
     "Mark the end: once the buffer is empty, readers see the end of the stream.\n\n"
     "See: BIO_set_mem_eof_return(3)."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef memory_properties[] = {
    {"pending", (getter)memory_pending, NULL,
     "The number of bytes in the buffer. See: BIO_pending(3).", NULL},
    {"eof", (getter)memory_eof, NULL,
     "Is the buffer empty, and was `write_eof` called? See: BIO_eof(3).", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot memory_slots[] = {
    {Py_tp_new, memory_new},           {Py_tp_init, memory_init},
    {Py_tp_dealloc, memory_dealloc},   {Py_tp_methods, memory_methods},
    {Py_tp_getset, memory_properties}, {0, NULL},
};

static PyType_Spec memory_spec = {
    "sslbind._native.MemoryBIO",
    sizeof(memory_bio),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    memory_slots,
};

/* ---------------------------------------------------------------- Keeper */

/* What frees something of C's with its last reference: see keeper() of sslbind/_ffi.py. */
typedef struct keeper {
    PyObject base;
    void *kept;
    void (*free)(void *);
} keeper;

static void
free_session(void *session)
{
    sb_session_free(session);
}

static void
free_cert(void *cert)
{
    sb_cert_free(cert);
}

static const struct kind {
    const char *name;
    void (*free)(void *);
} kinds[] = {
    {"sb_session_free", free_session},
    {"sb_cert_free", free_cert},
};

/* Of an address and the name of the function that frees what is there. */
static PyObject *
keeper_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *address;
    const char *name;
    keeper *self;
    size_t i = 0;

    (void)keywords;
    if (!PyArg_ParseTuple(args, "O!s", &PyLong_Type, &address, &name))
        return NULL;
    while (i < sizeof kinds / sizeof *kinds && strcmp(kinds[i].name, name) != 0)
        i++;
    if (i == sizeof kinds / sizeof *kinds)
        return PyErr_Format(PyExc_ValueError, "nothing is freed by %s", name);
    self = (keeper *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL) {
        self->kept = PyLong_AsVoidPtr(address);
        self->free = kinds[i].free;
    }
    return (PyObject *)self;
}

static void
keeper_dealloc(keeper *self)
{
    PyTypeObject *type = Py_TYPE(self);

    self->free(self->kept);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyType_Slot keeper_slots[] = {
    {Py_tp_new, keeper_new},
    {Py_tp_dealloc, keeper_dealloc},
    {0, NULL},
};

static PyType_Spec keeper_spec = {
    "sslbind._native.Keeper", sizeof(keeper), 0, Py_TPFLAGS_DEFAULT, keeper_slots,
};

/* The session that an object of ours keeps, as long as it lives. Returns NULL: it is none. */
static sb_session *
session_of(PyObject *object, const environment *env)
{
    PyObject *found = PyObject_GetAttr(object, env->keeper_name);
    void *kept = NULL;

    if (found != NULL && (PyObject *)Py_TYPE(found) == env->keeper &&
        ((keeper *)found)->free == free_session)
        kept = ((keeper *)found)->kept;
    else if (found != NULL)
        PyErr_SetString(PyExc_TypeError, "a Keeper of its kind is required");
    Py_XDECREF(found);
    return kept;
}

/* ---------------------------------------------------------------- foreign memory buffers */

/* Returns -1: it raised. */
static int
call_pump(operations *self, const char *method)
{
    PyObject *answer = PyObject_CallMethod(self->pump, method, NULL);
    int truth = answer == NULL ? -1 : PyObject_IsTrue(answer);

    Py_XDECREF(answer);
    return truth;
}

/* The BIO of one of the interpreter's memory buffers, which the GIL guards; NULL: not to be had. */
static BIO *
within(operations *self, PyObject *buffer)
{
    BIO *mem = NULL;

    if (self->env->bio_at > 0 && buffer != NULL)
        memcpy(&mem, (char *)buffer + self->env->bio_at, sizeof mem);
    return mem;
}

static int
without_memory(void)
{
    PyErr_NoMemory();
    return -1;
}

/* Move what has come in. Between the two calls no code in Python runs, nor any other thread.
 * Returns 1: there was something. */
static int
take_input(operations *self)
{
    BIO *mem = within(self, self->incoming);
    PyObject *data;
    char *bytes;
    Py_ssize_t len;
    int status = SB_OK;

    if (mem != NULL) {
        status = sb_bio_fill(self->conn->in, mem);
        return status < 0 ? without_memory() : status;
    }
    data = self->env->bio_read(self->incoming, NULL, 0);
    if (data == NULL || PyBytes_AsStringAndSize(data, &bytes, &len) < 0) {
        Py_XDECREF(data);
        return -1;
    }
    if (len > 0)
        status = sb_bio_write(self->conn->in, bytes, (size_t)len);
    Py_DECREF(data);
    return status == SB_OK ? len > 0 : without_memory();
}

/* Returns 1: the input has ended, which was not known. */
static int
note_end(operations *self)
{
    BIO *mem = within(self, self->incoming);
    PyObject *eof;
    int ended;

    if (self->conn->in->eof)
        return 0;
    if (mem != NULL) {
        ended = sb_bio_has_ended(mem);
    } else {
        eof = PyObject_GetAttr(self->incoming, self->env->eof);
        ended = eof == NULL ? -1 : PyObject_IsTrue(eof);
        Py_XDECREF(eof);
    }
    if (ended > 0)
        sb_bio_write_eof(self->conn->in);
    return ended;
}

/* Take over what has come in, and whether that is all. Returns 1: there was something new. */
static int
fill(operations *self)
{
    int came, ended;

    if (self->incoming == NULL)
        return self->pump == Py_None ? 0 : call_pump(self, "fill");
    if ((came = take_input(self)) < 0 || (ended = note_end(self)) < 0)
        return -1;
    return came || ended;
}

/* Write into the interpreter's buffer. Returns 0: it raised, or `data` is NULL. */
static int
write_out(operations *self, PyObject *data)
{
    PyObject *count = NULL;

    if (data != NULL)
        count = self->env->bio_write(self->outgoing, data);
    Py_XDECREF(count);
    return count != NULL;
}

static PyObject *
view_of(const char *bytes, size_t len)
{
    return PyMemoryView_FromMemory((char *)(uintptr_t)bytes, (Py_ssize_t)len, PyBUF_READ);
}

/* Without a copy of our own. */
static int
write_large(operations *self)
{
    size_t len;
    char *memory = sb_bio_take(self->conn->out, &len);
    PyObject *view = view_of(memory, len);
    int written = write_out(self, view);

    Py_XDECREF(view);
    sb_free(memory);
    return written;
}

static int
write_small(operations *self, size_t len)
{
    PyObject *data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)len);
    int written;

    if (data != NULL)
        sb_bio_read(self->conn->out, PyBytes_AsString(data), len);
    written = write_out(self, data);
    Py_XDECREF(data);
    return written;
}

/* Lets records go from OpenSSL's buffer to the interpreter's, or to the connection's own, which
 * borrows the memory of that for the while. */
typedef struct outlet {
    sb_sink sink;
    operations *self;
    BIO *mem; /* of the interpreter's, or NULL */
    size_t to_lend; /* with room for so much, at the first record; 0: it need not be, or is done */
    PyObject *view; /* of the last record, for the next one will lie there, too */
    const char *record;
    size_t len;
} outlet;

static int
keep_record(sb_sink *sink, const char *record, size_t len)
{
    outlet *out = (outlet *)sink;
    sb_bio *own = out->self->conn->out;

    if (out->to_lend > 0)
        sb_bio_borrow(own, out->mem, out->to_lend, 1);
    out->to_lend = 0;
    if (sb_bio_write(own, record, len) == SB_OK)
        return 1;
    PyErr_NoMemory();
    return 0;
}

static int
write_record(sb_sink *sink, const char *record, size_t len)
{
    outlet *out = (outlet *)sink;

    if (out->view == NULL || record != out->record || len != out->len) {
        Py_XDECREF(out->view);
        out->view =
            len > SMALL ? view_of(record, len) : PyBytes_FromStringAndSize(record, (Py_ssize_t)len);
        out->record = len > SMALL ? record : NULL;
        out->len = len;
    }
    return write_out(out->self, out->view);
}

/* Whoever wants the connection meanwhile waits for its lock, without the GIL: as in a callback. */
static int
let_others_run(sb_sink *sink)
{
    outlet *out = (outlet *)sink;
    PyThreadState *thread;

    if (out->mem != NULL && sb_bio_drain(out->self->conn->out, out->mem) != SB_OK) {
        PyErr_NoMemory();
        return 0;
    }
    thread = PyEval_SaveThread();
    PyEval_RestoreThread(thread);
    if (out->mem != NULL)
        sb_bio_borrow(out->self->conn->out, out->mem, 0, 1);
    return 1;
}

/* Hand over what is to go out. A collection of garbage may run here, and a finaliser of it use this
 * connection: it must not overtake us, who go on when it returns. */
static int
drain(operations *self)
{
    BIO *mem;
    size_t len;
    int written;

    if (self->incoming == NULL)
        return self->pump == Py_None ? 0 : call_pump(self, "drain");
    if (self->draining)
        return 0;
    if ((mem = within(self, self->outgoing)) != NULL)
        return sb_bio_drain(self->conn->out, mem) == SB_OK ? 0 : without_memory();
    while ((len = sb_bio_pending(self->conn->out)) > 0) {
        self->draining = 1;
        written = len > SMALL ? write_large(self) : write_small(self, len);
        self->draining = 0;
        if (!written)
            return -1;
    }
    return 0;
}

/* The same at the end of an operation, whether or not it has raised. Returns -1: an exception is
 * set. What nobody has read goes back, should no other thread be about to read it. */
static long long
drain_after(operations *self, long long result)
{
    PyObject *type, *value, *traceback;
    BIO *mem;
    int status;

    self->inside--;
    if (self->incoming == NULL && self->pump == Py_None)
        return result;
    if (self->inside == 0 && (mem = within(self, self->incoming)) != NULL)
        sb_bio_give_back(self->conn->in, mem);
    PyErr_Fetch(&type, &value, &traceback);
    status = drain(self);
    if (status >= 0) {
        PyErr_Restore(type, value, traceback);
        return result;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return -1;
}

/* ---------------------------------------------------------------- the way across */

static int
is_ready(operations *self)
{
    if (self->conn != NULL)
        return 1;
    PyErr_SetString(PyExc_ValueError, "the connection was never made");
    return 0;
}

/* The socket's timeout for C: 0 never waits, a negative number waits without limit. */
static int
get_timeout(operations *self, double *timeout)
{
    PyObject *sock, *value;

    *timeout = 0.0;
    if (!is_ready(self))
        return -1;
    if (self->sock == Py_None)
        return 0;
    if ((sock = PyWeakref_GetObject(self->sock)) == NULL)
        return -1;
    if (sock == Py_None)
        return raise(PyObject_CallFunctionObjArgs(self->env->no_socket, NULL));
    Py_INCREF(sock);
    value = self->env->timeout_of != NULL
                ? self->env->timeout_of(sock, NULL)
                : PyObject_CallFunctionObjArgs(self->env->get_timeout, sock, NULL);
    Py_DECREF(sock);
    if (value == NULL)
        return -1;
    *timeout = value == Py_None ? -1.0 : PyFloat_AsDouble(value);
    Py_DECREF(value);
    return *timeout == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* What an operation has come to: a count, or -1 and an exception. */
static long long
finish(operations *self, long long result, const char *doing)
{
    int parked = atomic_load(&self->conn->called_python);
    PyObject *count;

    if (parked) /* hardly ever, and an exchange is dear */
        parked = atomic_exchange(&self->conn->called_python, 0);
    if (!parked && result >= 0)
        return result;
    if (!parked && result == SB_WANT_READ) /* event loops meet this after all other reads */
        return raise(PyObject_CallFunctionObjArgs(self->env->want_read, NULL));
    count = PyObject_CallMethod((PyObject *)self, "_finish", "Ls", result, doing);
    result = count == NULL ? -1 : PyLong_AsLongLong(count);
    Py_XDECREF(count);
    return result;
}

/* No result of an operation: a signal's handler has raised, or the pump. */
static const long long INTERRUPTED = LLONG_MIN;

/* The GIL is dropped for each operation but for quick ones: to retake it takes 0.05 us, and 5 ms if
 * another thread is busy in Python. Nobody may wait for a connection's lock with the GIL held:
 * whoever has that lock may be in a callback. */
static long long
read_within(operations *self, char *buf, size_t size, double timeout)
{
    PyThreadState *thread;
    long long result;

    if (sb_conn_read_quickly(self->conn, buf, size, &result))
        return result;
    for (;;) {
        thread = PyEval_SaveThread();
        result = sb_conn_read(self->conn, buf, size, timeout);
        PyEval_RestoreThread(thread);
        if (result > sb_again)
            return result;
        if (PyErr_CheckSignals() < 0)
            return INTERRUPTED;
        timeout = (double)result;
    }
}

static long long
read_pumped(operations *self, char *buf, size_t size)
{
    long long result;
    int more = self->incoming != NULL ? take_input(self) : fill(self);

    while (more >= 0) {
        result = read_within(self, buf, size, 0.0);
        if (result != SB_WANT_READ)
            return result;
        if ((more = fill(self)) == 0)
            return result;
    }
    return INTERRUPTED;
}

static long long
read_to(operations *self, char *buf, size_t size)
{
    long long result;
    double timeout;

    if (get_timeout(self, &timeout) < 0)
        return -1;
    self->inside++;
    if (self->incoming == NULL && self->pump == Py_None)
        result = read_within(self, buf, size, timeout);
    else
        result = read_pumped(self, buf, size);
    if (result != INTERRUPTED)
        result = finish(self, result, "read");
    return drain_after(self, result);
}

/* Do several threads make large writes over the interpreter's buffers? Then all are to encrypt at
 * the same time. One alone keeps the GIL: records can go where they belong without a copy of our
 * own, and to retake it from a thread that is busy in Python takes 5 ms. */
static int
is_shared(void)
{
    static atomic_ulong last_thread;
    static atomic_llong shared_until;
    unsigned long thread = PyThread_get_thread_ident(),
                  last = atomic_exchange(&last_thread, thread);
    int64_t now = sb_now_ns();

    if (last != thread && last != 0)
        atomic_store(&shared_until, now + SHARED);
    return now < atomic_load(&shared_until);
}

/* May records go there at once? Not while others are on their way from our own buffer. */
static int
may_write_records(operations *self, size_t len)
{
    return self->outgoing != NULL && !self->draining && (len <= SMALL || !is_shared());
}

/* With the GIL. Returns 0: nothing was done. What was borrowed with what waited in it goes back
 * before any code in Python runs. */
static int
write_quickly(operations *self, const char *buf, size_t len, long long *result)
{
    outlet out = {{write_record, let_others_run}, self, NULL, 0, NULL, NULL, 0};
    int done;

    if (!may_write_records(self, len))
        return sb_conn_write_quickly(self->conn, buf, len, NULL, result);
    if ((out.mem = within(self, self->outgoing)) != NULL) {
        out.sink.take = keep_record;
        out.to_lend = len > SMALL ? sb_encrypted_length(len) : 0;
    }
    done = sb_conn_write_quickly(self->conn, buf, len, &out.sink, result);
    Py_XDECREF(out.view);
    if (done && out.mem != NULL && sb_bio_drain(self->conn->out, out.mem) != SB_OK)
        PyErr_NoMemory();
    if (PyErr_Occurred())
        *result = INTERRUPTED;
    return done;
}

/* The memory alone, of a buffer where nothing waits: others may use that meanwhile. */
static void
borrow_for(operations *self, size_t len)
{
    BIO *mem = within(self, self->outgoing);

    if (mem != NULL && len > SMALL)
        sb_bio_borrow(self->conn->out, mem, 0, 0);
}

/* As read_within(). Over foreign memory buffers it may come back after each batch, for that to be
 * moved on while it is in the processor's cache. */
static long long
write_within(operations *self, const char *buf, size_t len, double timeout)
{
    PyThreadState *thread;
    long long result;
    int came;

    for (;;) {
        if (!write_quickly(self, buf, len, &result)) {
            borrow_for(self, len);
            thread = PyEval_SaveThread();
            result = sb_conn_write(self->conn, buf, len, timeout);
            PyEval_RestoreThread(thread);
        }
        if (result == INTERRUPTED)
            return result;
        if (result <= sb_again) {
            if (drain(self) < 0 || PyErr_CheckSignals() < 0)
                return INTERRUPTED;
            timeout = (double)result;
        } else {
            if (result != SB_WANT_READ || (came = fill(self)) == 0)
                return result;
            if (came < 0)
                return INTERRUPTED;
        }
    }
}

/* A signal handler may have raised: let other threads write. Another one may have the connection's
 * lock and be in a callback, which waits for the GIL. */
static void
stop_writing(operations *self)
{
    PyThreadState *thread = PyEval_SaveThread();

    sb_conn_stop_writing(self->conn);
    PyEval_RestoreThread(thread);
}

static long long
write_from(operations *self, const char *buf, size_t len)
{
    long long result;
    double timeout;

    if (get_timeout(self, &timeout) < 0)
        return -1;
    self->inside++;
    result = write_within(self, buf, len, timeout);
    if (result != INTERRUPTED)
        result = finish(self, result, "write");
    if (result < 0)
        stop_writing(self);
    return drain_after(self, result);
}

/* The handshake, or the end. */
static long long
perform(operations *self, long long (*call)(sb_conn *, double), const char *doing)
{
    PyThreadState *thread;
    long long result;
    double timeout;

    if (get_timeout(self, &timeout) < 0)
        return -1;
    self->inside++;
    if (fill(self) < 0)
        return drain_after(self, -1);
    for (;;) {
        thread = PyEval_SaveThread();
        result = call(self->conn, timeout);
        PyEval_RestoreThread(thread);
        if (result > sb_again)
            break;
        if (PyErr_CheckSignals() < 0)
            return drain_after(self, -1);
        timeout = (double)result;
    }
    return drain_after(self, finish(self, result, doing));
}

/* ---------------------------------------------------------------- methods */

static PyObject *
as_number(long long count)
{
    return count < 0 ? NULL : PyLong_FromLongLong(count);
}

static PyObject *
read_bytes(operations *self, size_t size)
{
    PyObject *data = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    long long count;

    if (data == NULL)
        return NULL;
    if ((count = read_to(self, PyBytes_AsString(data), size)) < 0)
        Py_CLEAR(data);
    else if ((size_t)count < size)
        _PyBytes_Resize(&data, (Py_ssize_t)count);
    return data;
}

static PyObject *
read_by_scratch(operations *self, size_t size)
{
    char *memory = take_scratch();
    PyObject *data = NULL;
    long long count;

    if (memory == NULL)
        return PyErr_NoMemory();
    if ((count = read_to(self, memory, size)) >= 0)
        data = PyBytes_FromStringAndSize(memory, (Py_ssize_t)count);
    put_scratch(memory);
    return data;
}

/* A program asks for more than there is, as a rule: to copy little is cheaper than to cut much off.
 * A transfer that fills what it asks for will do so again, although it meets moments when little is
 * there, and a copy would be a tenth of its time. */
static PyObject *
read_many_bytes(operations *self, size_t size)
{
    size_t cap = size < SCRATCH ? size : SCRATCH;
    PyObject *data = self->fills ? read_bytes(self, cap) : read_by_scratch(self, cap);

    if (data != NULL && (size_t)PyBytes_Size(data) > cap / 2)
        self->fills = EXPECTED;
    else if (self->fills > 0)
        self->fills--;
    return data;
}

static PyObject *
read_into(operations *self, Py_ssize_t size, PyObject *buffer)
{
    PyObject *view = PyMemoryView_FromObject(buffer);
    void *memory;
    Py_ssize_t cap;
    long long count;

    if (view == NULL && PyErr_ExceptionMatches(PyExc_MemoryError))
        return NULL;
    if (view == NULL || PyObject_AsWriteBuffer(view, &memory, &cap) < 0) {
        Py_XDECREF(view);
        return refuse("read() argument 2 must be read-write bytes-like object, not %S", buffer);
    }
    if (size <= 0 || size > cap)
        size = cap;
    count = size > 0 ? read_to(self, memory, (size_t)size) : 0;
    Py_DECREF(view);
    return as_number(count);
}

/* An integer, or what has __index__. Returns 0: it is none, or too large. */
static int
as_size(operations *self, PyObject *object, Py_ssize_t *size)
{
    PyObject *number = PyNumber_Index(object);

    if (number == NULL)
        return 0;
    *size = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    if (*size == -1 && PyErr_Occurred())
        return 0;
    if (self->env != NULL && *size > self->env->size_max) {
        PyErr_SetString(PyExc_OverflowError, "signed integer is greater than maximum");
        return 0;
    }
    return 1;
}

static PyObject *
operations_read(operations *self, PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t size;

    if (n != 1 && n != 2)
        return PyErr_Format(PyExc_TypeError, "read() takes 1 or 2 arguments, not %zd", n);
    if (!as_size(self, args[0], &size))
        return NULL;
    if (n == 2 && args[1] != Py_None)
        return read_into(self, size, args[1]);
    if (size < 0) {
        PyErr_SetString(PyExc_ValueError, "size should not be negative");
        return NULL;
    }
    if (size == 0)
        return PyBytes_FromStringAndSize(NULL, 0);
    return size <= DIRECT ? read_bytes(self, (size_t)size) : read_many_bytes(self, (size_t)size);
}

static PyObject *
operations_write(operations *self, PyObject *object)
{
    PyObject *count;
    source data;

    if (!hold(&data, object))
        return NULL;
    count = as_number(write_from(self, data.bytes, (size_t)data.len));
    release(&data);
    return count;
}

/* Nothing to send, nothing done: the stdlib's sendall() then calls no send(). */
PyObject *
sb_native_send_all(PyObject *connection, PyObject *object)
{
    long long count = 0;
    source data;

    if (!hold(&data, object))
        return NULL;
    if (data.len > 0)
        count = write_from((operations *)connection, data.bytes, (size_t)data.len);
    release(&data);
    return count < 0 ? NULL : Py_BuildValue("");
}

PyObject *
sb_native_read(PyObject *connection, PyObject *const *args, Py_ssize_t n)
{
    return operations_read((operations *)connection, args, n);
}

PyObject *
sb_native_write(PyObject *connection, PyObject *data)
{
    return operations_write((operations *)connection, data);
}

static PyObject *
operations_do_handshake(operations *self, PyObject *unused)
{
    (void)unused;
    return perform(self, sb_conn_handshake, "handshake") < 0 ? NULL : Py_BuildValue("");
}

PyObject *
sb_native_do_handshake(PyObject *connection)
{
    return operations_do_handshake((operations *)connection, NULL);
}

static PyObject *
operations_shut_down(operations *self, PyObject *unused)
{
    (void)unused;
    return perform(self, sb_conn_shutdown, "shutdown") < 0 ? NULL : Py_BuildValue("");
}

static PyObject *
operations_timeout(operations *self, PyObject *unused)
{
    double timeout;

    (void)unused;
    return get_timeout(self, &timeout) < 0 ? NULL : PyFloat_FromDouble(timeout);
}

static PyObject *
take_bytes(sb_block *block)
{
    PyObject *bytes = PyBytes_FromStringAndSize(block->data, (Py_ssize_t)block->len);

    sb_block_clear(block);
    return bytes;
}

/* What `known` has of a certificate, by its DER form, else its fields, as marshal.loads() takes
 * them. None: they could not be read. */
static PyObject *
look_up(sb_cert *cert, PyObject *der, PyObject *known)
{
    PyObject *found = PyDict_GetItemWithError(known, der);
    PyThreadState *thread;
    sb_block block;
    sb_error err;
    int status;

    if (found != NULL)
        return strong(found);
    if (PyErr_Occurred())
        return NULL;
    thread = PyEval_SaveThread(); /* it may have thousands of names */
    status = sb_cert_fields(&cert, 1, &block, &err);
    PyEval_RestoreThread(thread);
    if (status == SB_OK)
        return take_bytes(&block);
    sb_block_clear(&block);
    return strong(Py_None);
}

/* Of its DER form and what is known of it: b"" if that is not asked for, or it is not verified.
 * None: its fields could not be read. Takes the certificate. */
static PyObject *
describe(sb_cert *cert, sb_block *block, int verified, PyObject *known)
{
    PyObject *der = take_bytes(block), *fields = NULL, *pair = NULL;

    if (der != NULL && verified && known != Py_None)
        fields = look_up(cert, der, known);
    else if (der != NULL)
        fields = PyBytes_FromStringAndSize(NULL, 0);
    if (fields == Py_None)
        pair = strong(fields);
    else if (fields != NULL)
        pair = PyTuple_Pack(2, der, fields);
    Py_XDECREF(der);
    Py_XDECREF(fields);
    sb_cert_free(cert);
    return pair;
}

static PyObject *
operations_peer_cert(operations *self, PyObject *known)
{
    PyThreadState *thread;
    sb_block der;
    sb_error err;
    sb_cert *cert;
    int verified;

    if (!is_ready(self))
        return NULL;
    thread = PyEval_SaveThread();
    verified = sb_conn_peer_cert(self->conn, &cert, &der, &err);
    PyEval_RestoreThread(thread);
    return verified < 0 ? strong(Py_None) : describe(cert, &der, verified, known);
}

static void
make_one(void *arg)
{
    PyObject **object = arg;

    *object = PyObject_CallObject(*object, NULL);
}

/* Where in an object of the interpreter's class the BIO stands that it is made with, if OpenSSL
 * tells us of that, which no other copy of it does. Returns 0: nowhere. Not before it is needed,
 * for what OpenSSL tells it by makes the end of every BIO a little slower from then on. */
static Py_ssize_t
find_bio(PyObject *type)
{
    PyObject *object = type, *number;
    const void *made = sb_bio_made_by(make_one, &object);
    Py_ssize_t at = sizeof(PyObject), size = 0;

    if (made != NULL && object != NULL &&
        (number = PyObject_GetAttrString(type, "__basicsize__")) != NULL) {
        size = PyLong_AsSsize_t(number);
        Py_DECREF(number);
    }
    while (at + (Py_ssize_t)sizeof made <= size &&
           memcmp((char *)object + at, &made, sizeof made) != 0)
        at += (Py_ssize_t)sizeof made;
    Py_XDECREF(object);
    PyErr_Clear();
    return at + (Py_ssize_t)sizeof made <= size ? at : 0;
}

/* A pump is there for buffers that are not of our own class: those of the interpreter's class it is
 * not asked about, since between methods in C no code in Python can run. */
static int
set_buffers(operations *self, PyObject *incoming, PyObject *outgoing)
{
    environment *env = self->env;
    int status;

    if (self->pump == Py_None) {
        status = sb_conn_set_buffers(self->conn, ((memory_bio *)incoming)->bio,
                                     ((memory_bio *)outgoing)->bio);
    } else {
        status = sb_conn_set_buffers(self->conn, NULL, NULL);
        if ((PyObject *)Py_TYPE(incoming) == env->bio &&
            (PyObject *)Py_TYPE(outgoing) == env->bio) {
            if (env->bio_at < 0)
                env->bio_at = find_bio(env->bio);
            Py_INCREF(self->incoming = incoming);
            Py_INCREF(self->outgoing = outgoing);
            self->conn->batch = SB_LARGE_BATCH; /* each costs a wait for the GIL */
        }
    }
    return status == SB_OK;
}

/* None for None. */
static PyObject *
weak(PyObject *object)
{
    if (object != Py_None)
        return PyWeakref_NewRef(object, NULL);
    Py_INCREF(object);
    return object;
}

/* What a connection is opened with. */
typedef struct opening {
    sb_ctx *ctx;
    int server_side;
    const char *host;
    int fd;
    sb_session *session;
    PyObject *context;
    PyObject *hostname; /* as str, or None, as all that follow */
    PyObject *owner;
    PyObject *sock;
    PyObject *incoming;
    PyObject *outgoing;
    PyObject *pump;
} opening;

static sb_conn *
new_conn(const opening *with)
{
    sb_conn *conn = sb_conn_new(with->ctx, with->server_side, with->host, with->fd, NULL);
    sb_error ignored;

    if (conn == NULL || with->session == NULL ||
        sb_conn_set_session(conn, with->session, &ignored) == SB_OK)
        return conn;
    sb_conn_free(conn);
    return NULL;
}

/* None: OpenSSL refused. */
static PyObject *
open_connection(PyTypeObject *cls, environment *env, const opening *with)
{
    PyThreadState *thread = PyEval_SaveThread();
    sb_conn *conn = new_conn(with);
    operations *self;

    PyEval_RestoreThread(thread);
    if (conn == NULL)
        return Py_BuildValue("");
    if ((self = (operations *)((allocfunc)PyType_GetSlot(cls, Py_tp_alloc))(cls, 0)) == NULL) {
        sb_conn_free(conn);
        return NULL;
    }
    self->conn = conn;
    self->env = env;
    sb_conn_set_handle(conn, self); /* while hooks run, an operation keeps it alive */
    self->context = strong(with->context);
    self->hostname = strong(with->hostname);
    self->owner = weak(with->owner);
    self->sock = weak(with->sock);
    self->pump = strong(with->pump);
    if (self->owner == NULL || self->sock == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    if (with->sock == Py_None && !set_buffers(self, with->incoming, with->outgoing)) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

/* Of (environment, context, server's side, host as bytes, as str, session, descriptor, owner,
 * socket, incoming, outgoing, pump). */
static PyObject *
operations_make(PyTypeObject *cls, PyObject *const *args, Py_ssize_t n)
{
    environment *env;
    opening with;

    if (n != 12)
        return PyErr_Format(PyExc_TypeError, "_make() takes 12 arguments, not %zd", n);
    if ((env = PyCapsule_GetPointer(args[0], NULL)) == NULL)
        return NULL;
    with.ctx = sb_native_ctx(with.context = args[1], env->context);
    with.server_side = args[2] == Py_True;
    with.host = args[3] != Py_None ? PyBytes_AsString(args[3]) : NULL;
    with.hostname = args[4];
    with.session = args[5] != Py_None ? session_of(args[5], env) : NULL;
    with.fd = (int)PyLong_AsLong(args[6]);
    with.owner = args[7];
    with.sock = args[8];
    with.incoming = args[9];
    with.outgoing = args[10];
    with.pump = args[11];
    return PyErr_Occurred() ? NULL : open_connection(cls, env, &with);
}

/* Whether it is None or a host name that may go to OpenSSL as it is, which is put into *host: ASCII
 * in a plain str, not empty, and without a leading dot or a NUL. */
static int
is_plain_host(PyObject *name, PyObject **host)
{
    char *bytes;
    Py_ssize_t len;

    *host = NULL;
    if (name == Py_None)
        return 1;
    if (Py_TYPE(name) != &PyUnicode_Type || (*host = PyUnicode_AsASCIIString(name)) == NULL)
        return 0;
    PyBytes_AsStringAndSize(*host, &bytes, &len);
    return len > 0 && bytes[0] != '.' && strlen(bytes) == (size_t)len;
}

/* Likewise: a session of ours, and of this context. */
static int
is_plain_session(PyObject *session, PyObject *context, const environment *env, sb_session **found)
{
    PyObject *made_in;

    *found = NULL;
    if (session == Py_None)
        return 1;
    if ((PyObject *)Py_TYPE(session) != env->session ||
        (made_in = PyObject_GetAttr(session, env->context_name)) == NULL)
        return 0;
    Py_DECREF(made_in);
    return made_in == context && (*found = session_of(session, env)) != NULL;
}

static int
is_ours(PyObject *buffer, const environment *env)
{
    return PyType_IsSubtype(Py_TYPE(buffer), env->memory);
}

PyObject *
sb_native_wrap(PyObject *cls, environment *env, PyObject *context, PyObject *const *args)
{
    PyObject *host = NULL, *connection, *session = args[5];
    opening with = {0};

    with.server_side = args[2] == Py_True;
    if (!is_ours(args[0], env) || !is_ours(args[1], env) ||
        (args[2] != Py_False && !with.server_side) ||
        !sb_native_serves(context, env->context, with.server_side, &with.ctx) ||
        !is_plain_session(session, context, env, &with.session) ||
        (with.server_side && with.session != NULL) || !is_plain_host(args[3], &host)) {
        Py_XDECREF(host);
        PyErr_Clear();
        return Py_BuildValue("");
    }
    with.host = host != NULL ? PyBytes_AsString(host) : NULL;
    with.hostname = args[3];
    with.fd = -1;
    with.context = context;
    with.owner = args[4];
    with.incoming = args[0];
    with.outgoing = args[1];
    with.sock = with.pump = Py_None;
    connection = open_connection((PyTypeObject *)cls, env, &with);
    Py_XDECREF(host);
    return connection;
}

static PyObject *
operations_address(operations *self, void *unused)
{
    (void)unused;
    return is_ready(self) ? PyLong_FromVoidPtr(self->conn) : NULL;
}

/* ---------------------------------------------------------------- the class */

static int
operations_traverse(operations *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->sock);
    Py_VISIT(self->pump);
    Py_VISIT(self->incoming);
    Py_VISIT(self->outgoing);
    Py_VISIT(self->context);
    Py_VISIT(self->owner);
    Py_VISIT(self->parked);
    return 0;
}

static int
operations_clear(operations *self)
{
    Py_CLEAR(self->sock);
    Py_CLEAR(self->pump);
    Py_CLEAR(self->incoming);
    Py_CLEAR(self->outgoing);
    Py_CLEAR(self->context);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->hostname);
    Py_CLEAR(self->parked);
    return 0;
}

static void
operations_dealloc(operations *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    operations_clear(self);
    sb_conn_free(self->conn);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef operations_methods[] = {
    {"read", (PyCFunction)(void (*)(void))operations_read, METH_FASTCALL,
     "read($self, size, buffer=None, /)\n--\n\n"
     "Return up to `size` bytes, or put them into `buffer` and return how many.\n\n"
     "As soon as a byte is there it returns, with as many whole records as have arrived and\n"
     "fit. See: SSL_read_ex(3)."},
    {"write", (PyCFunction)operations_write, METH_O,
     "write($self, b, /)\n--\n\n"
     "Send `b` and return its length; after SSLWantWriteError repeat with the same data.\n\n"
     "See: SSL_write_ex(3)."},
    {"do_handshake", (PyCFunction)operations_do_handshake, METH_NOARGS,
     "do_handshake($self, /)\n--\n\n"
     "Perform the handshake. See: SSL_do_handshake(3).\n\n"
     "Raises: SSLCertVerificationError, SSLError, OSError, TimeoutError, SSLWantReadError,\n"
     "        SSLWantWriteError; what a callback raised."},
    {"_shut_down", (PyCFunction)operations_shut_down, METH_NOARGS, NULL},
    {"_timeout", (PyCFunction)operations_timeout, METH_NOARGS, NULL},
    {"_peer_cert", (PyCFunction)operations_peer_cert, METH_O, NULL},
    {"_make", (PyCFunction)(void (*)(void))operations_make, METH_CLASS | METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef operations_members[] = {
    {"_sock", T_OBJECT_EX, offsetof(operations, sock), READONLY, NULL},
    {"_pump", T_OBJECT_EX, offsetof(operations, pump), READONLY, NULL},
    {"_context", T_OBJECT_EX, offsetof(operations, context), 0, NULL},
    {"_owner", T_OBJECT_EX, offsetof(operations, owner), 0, NULL},
    {"_server_hostname", T_OBJECT_EX, offsetof(operations, hostname), READONLY, NULL},
    {"_parked", T_OBJECT, offsetof(operations, parked), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef operations_properties[] = {
    {"_address", (getter)operations_address, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot operations_slots[] = {
    {Py_tp_getset, operations_properties},
    {Py_tp_methods, operations_methods},
    {Py_tp_members, operations_members},
    {Py_tp_traverse, operations_traverse},
    {Py_tp_clear, operations_clear},
    {Py_tp_dealloc, operations_dealloc},
    {0, NULL},
};

static PyType_Spec operations_spec = {
    "sslbind._native.Operations",
    sizeof(operations),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    operations_slots,
};

/* ---------------------------------------------------------------- the module */

/* The function behind an object's own method, if it is one of C that is called in this way; else
 * NULL. */
static PyCFunction
function_of(PyObject *object, const char *name, int flags)
{
    PyObject *method = PyObject_GetAttrString(object, name);
    PyCFunction function = NULL;

    if (method == NULL)
        PyErr_Clear();
    else if (Py_TYPE(method) == &PyCFunction_Type && PyCFunction_GetFlags(method) == flags &&
             PyCFunction_GetSelf(method) == object)
        function = PyCFunction_GetFunction(method);
    Py_XDECREF(method);
    return function;
}

/* Of one of the interpreter's MemoryBIOs, or None. Others are pumped by code in Python. */
static void
learn_methods(environment *env, PyObject *bio)
{
    env->bio_read = (array_fn *)(void (*)(void))function_of(bio, "read", METH_FASTCALL);
    env->bio_write = (object_fn *)function_of(bio, "write", METH_O);
    env->bio = env->bio_read != NULL && env->bio_write != NULL ? (PyObject *)Py_TYPE(bio) : Py_None;
}

static PyObject *
make_environment(PyObject *module, PyObject *args)
{
    environment *env = calloc(1, sizeof *env);
    PyObject *bio, *sock;
    int share;

    (void)module;
    if (env == NULL)
        return PyErr_NoMemory();
    if ((env->keeper_name = PyUnicode_InternFromString("_keeper")) == NULL ||
        (env->eof = PyUnicode_InternFromString("eof")) == NULL ||
        (env->context_name = PyUnicode_InternFromString("_ctx")) == NULL ||
        !PyArg_ParseTuple(args, "O!O!OOOOOOOnp", &PyType_Type, &env->context, &PyType_Type,
                          &env->memory, &env->session, &env->keeper, &env->get_timeout, &sock,
                          &env->no_socket, &env->want_read, &bio, &env->size_max, &share)) {
        free(env);
        return NULL;
    }
    learn_methods(env, bio);
    env->timeout_of = (object_fn *)function_of(sock, "gettimeout", METH_NOARGS);
    env->bio_at = share ? -1 : 0;
    Py_INCREF(env->context);
    Py_INCREF(env->memory);
    Py_INCREF(env->session);
    Py_INCREF(env->keeper);
    Py_INCREF(env->get_timeout);
    Py_INCREF(env->no_socket);
    Py_INCREF(env->want_read);
    Py_INCREF(env->bio);
    return PyCapsule_New(env, NULL, NULL);
}

/* The connection that a hook was called with. */
static PyObject *
connection_at(PyObject *module, PyObject *handle)
{
    PyObject *self = PyLong_AsVoidPtr(handle);

    (void)module;
    Py_XINCREF(self);
    return self;
}

static PyMethodDef functions[] = {
    {"connection_at", connection_at, METH_O, NULL},
    {"environment", make_environment, METH_VARARGS, NULL},
    {"make_usually", sb_native_make_usually, METH_VARARGS, NULL},
    {"shortcut", sb_native_shortcut, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int
add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);

    if (type == NULL || PyModule_AddObject(module, name, type) == 0)
        return type == NULL ? -1 : 0;
    Py_DECREF(type);
    return -1;
}

static int
fill_module(PyObject *module)
{
    return add_type(module, "Keeper", &keeper_spec) < 0 ||
                   add_type(module, "Context", &sb_native_context) < 0 ||
                   add_type(module, "MemoryBIO", &memory_spec) < 0 ||
                   add_type(module, "Operations", &operations_spec) < 0
               ? -1
               : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", NULL, 0, functions, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void); /* for -Wmissing-prototypes */

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
