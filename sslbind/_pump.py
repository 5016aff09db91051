"""The pump: what moves bytes where a connection is over another module's memory buffers."""

from __future__ import annotations

import _thread
import os

from . import _ffi
from ._ffi import SMALL, ffi, lib, small_pool, take_scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_forks = 0  #: that led to this process, since this module was imported
_renewing = _thread.RLock()  # a finaliser may come by here while its own thread has it


def _count_fork() -> None:
    global _forks, _renewing
    _forks += 1
    _renewing = _thread.RLock()  # a thread that is gone may have had the other


os.register_at_fork(after_in_child=_count_fork)


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
        "forks",
        "incoming",
        "more",
        "order",
        "outgoing",
    )

    c_conn: Any  #: whoever makes the connection sets it

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.ended = self.more = False
        self._begin()

    def _begin(self) -> None:
        # A signal handler or a finaliser may use the connection while a frame below it moves
        # bytes: it must not wait for that frame, nor overtake it, which goes on when it returns.
        self.order = _thread.RLock()
        self.filling = self.draining = False
        self.forks = _forks

    def _ordered(self) -> Any:
        """Return the lock: in a child process a new one, for the thread that had it may be gone."""
        if self.forks != _forks:
            with _renewing:
                if self.forks != _forks:
                    self._begin()
        return self.order

    def fill(self) -> bool:
        """Take over what came in; return whether there was anything."""
        incoming = self.incoming
        if not (incoming.pending or incoming.eof):
            return False
        own = lib.sb_conn_in(self.c_conn)
        with self._ordered():
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
        with self._ordered():
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
        with self._ordered():
            left = lib.sb_bio_pending(own)
            if left and not self.incoming.eof:
                behind = ffi.new("char[]", left)
                lib.sb_bio_read(own, behind, left)
                self.incoming.write(ffi.buffer(behind)[:] + self.incoming.read())
