"""MemoryBIO: a queue of bytes with an end."""

from __future__ import annotations

import array
import mmap
import random
import ssl

import pytest

import sslbind


def test_starts_empty(mod):
    """A new BIO holds nothing and is not at its end."""
    bio = mod.MemoryBIO()
    assert (bio.pending, bio.eof, bio.read(), bio.read(10)) == (0, False, b"", b"")


def test_first_in_first_out(mod):
    """Bytes come out in the order in which they went in, in pieces of any size."""
    bio = mod.MemoryBIO()
    assert bio.write(b"hello ") == 6
    assert bio.write(b"world") == 5
    assert bio.pending == 11
    assert bio.read(2) == b"he"
    assert bio.read(0) == b""
    assert bio.read(100) == b"llo world"
    assert bio.pending == 0


def test_read_all(mod):
    """Without a size, or with a negative one, everything comes out."""
    bio = mod.MemoryBIO()
    bio.write(b"abc")
    assert bio.read() == b"abc"
    bio.write(b"def")
    assert bio.read(-1) == b"def"
    bio.write(b"ghi")
    assert bio.read(-5) == b"ghi"


def test_end(mod):
    """`eof` is true once the end was written and everything has been read."""
    bio = mod.MemoryBIO()
    bio.write(b"rest")
    bio.write_eof()
    assert not bio.eof
    with pytest.raises(mod.SSLError, match="write"):
        bio.write(b"more")
    assert bio.read(2) == b"re"
    assert not bio.eof
    assert bio.read() == b"st"
    assert bio.eof
    assert bio.read() == b""
    bio.write_eof()
    assert bio.eof


@pytest.mark.parametrize("kind", (bytes, bytearray, memoryview, lambda b: array.array("b", b)))
def test_any_buffer(mod, kind):
    """Anything with a contiguous buffer may be written."""
    bio = mod.MemoryBIO()
    assert bio.write(kind(b"buffer")) == 6
    assert bio.read() == b"buffer"


def test_wide_items_count_as_bytes(mod):
    """Sizes are bytes, whatever the items of the buffer are."""
    bio = mod.MemoryBIO()
    wide = array.array("I", range(100))
    assert bio.write(wide) == 400
    assert bio.pending == 400
    assert bio.read() == wide.tobytes()


def test_buffers_that_are_gone(mod):
    """What a released view or a closed map says of itself is what a write raises."""
    view, area = memoryview(b"gone"), mmap.mmap(-1, 16)
    view.release()
    area.close()
    context = mod.SSLContext(mod.PROTOCOL_TLS_SERVER)
    obj = context.wrap_bio(mod.MemoryBIO(), mod.MemoryBIO(), server_side=True)
    for write in (mod.MemoryBIO().write, obj.write):
        for gone in (view, area):
            with pytest.raises(ValueError):
                write(gone)


def test_empty_write(mod):
    """An empty write is no end."""
    bio = mod.MemoryBIO()
    assert bio.write(b"") == 0
    assert not bio.eof


@pytest.mark.parametrize("seed", range(5))
def test_like_a_queue(seed):
    """Random writes and reads give the same results as with the stdlib's BIO."""
    dice = random.Random(seed)
    ours, theirs = sslbind.MemoryBIO(), ssl.MemoryBIO()
    for _ in range(500):
        if dice.random() < 0.5:
            data = dice.randbytes(dice.choice((0, 1, 17, 1000, 16384, 70000)))
            assert ours.write(data) == theirs.write(data)
        else:
            size = dice.choice((-1, 0, 1, 5, 1000, 16389, 200000))
            assert ours.read(size) == theirs.read(size)
        assert ours.pending == theirs.pending
        assert ours.eof == theirs.eof


def test_large(mod):
    """Megabytes go through."""
    bio = mod.MemoryBIO()
    data = bytes(1000) * 5000
    bio.write(data)
    assert bio.pending == len(data)
    assert bio.read(len(data) - 1) == data[:-1]
    assert bio.read() == data[-1:]
