"""The pump: what moves bytes where a connection is over another module's memory buffers."""

from __future__ import annotations

import _thread

from . import _ffi
from ._ffi import SMALL, ffi, lib, small_pool, take_scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Pump:
    """Moves bytes between buffers of another module's MemoryBIO class and the connection's own.

    asyncio, trio and others make stdlib's MemoryBIO and hand it to our wrap_bio(). What an
    operation needs is not known before it, so all that is there is taken over before it, and
    what is left at the end of TLS is given back.
    """

    __slots__ = (
        "c_conn",
        "draining",
        "ended",
        "filling",
        "incoming",
        "more",
        "order",
        "outgoing",
    )

    c_conn: Any  #: whoever makes the connection sets it

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        # A signal handler or a finaliser may use the connection while a frame below it moves
        # bytes: it must not wait for that frame, nor overtake it, which goes on when it returns.
        self.order = _thread.RLock()
        self.ended = self.filling = self.draining = self.more = False

    def fill(self) -> bool:
        """Take over what came in; return whether there was anything."""
        incoming = self.incoming
        if not (incoming.pending or incoming.eof):
            return False
        own = lib.sb_conn_in(self.c_conn)
        with self.order:
            if self.filling:
                return False
            try:
                self.filling = True
                data = incoming.read()
                if data and lib.sb_bio_write(own, data, len(data)) != _ffi.OK:
                    raise MemoryError
                ended = incoming.eof and not self.ended
                if ended:
                    self.ended = True
                    lib.sb_bio_write_eof(own)
            finally:
                self.filling = False
        return bool(data) or ended

    def drain_if_needed(self) -> None:
        """Hand over what is to go out, at little cost if nothing is."""
        if lib.sb_bio_pending(lib.sb_conn_out(self.c_conn)):
            self.drain()

    def drain(self) -> None:
        """Hand over what is to go out."""
        with self.order:
            self.more = True
            if self.draining:
                return
            try:
                self.draining = True
                while self.more:
                    self.more = False
                    self._hand_over()
            finally:
                self.draining = False

    def _hand_over(self) -> None:
        own = lib.sb_conn_out(self.c_conn)
        target, view = scratch = take_scratch()
        count = lib.sb_bio_read_all(own, target, SMALL)
        if 0 < count <= SMALL:
            self.outgoing.write(view[:count])
        elif count:
            length = ffi.new("size_t *")
            memory = lib.sb_bio_take(own, length)
            try:
                self.outgoing.write(ffi.buffer(memory, length[0]))
            finally:
                lib.sb_free(memory)
        small_pool.append(scratch)

    def give_back(self) -> None:
        """Return what came behind the peer's close_notify, unless the end was marked already."""
        own = lib.sb_conn_in(self.c_conn)
        with self.order:
            left = lib.sb_bio_pending(own)
            if left and not self.incoming.eof:
                behind = ffi.new("char[]", left)
                lib.sb_bio_read(own, behind, left)
                self.incoming.write(ffi.buffer(behind)[:] + self.incoming.read())
