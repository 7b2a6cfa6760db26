"""Standard input and output as a byte pipe pair, whatever they are: pipes, a terminal, files, the null device.

It knows no messages. What lies on descriptors 0 and 1 is taken for the protocol alone.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys

import anyio

from trionyx_proxy.pep.wire import CHUNK_BYTES, ByteSink, ByteSource


class _PipeSource:
    """A descriptor read on the event loop."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def receive(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        data = await self._reader.read(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data


class PipeSink:
    """A descriptor written on the event loop, one message at a time."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, item: bytes) -> None:
        """Write all of `item`, or raise BrokenResourceError."""
        try:
            self._writer.write(item)
            await self._writer.drain()
        except (ConnectionError, RuntimeError) as error:
            raise anyio.BrokenResourceError from error


class _FileSource:
    """A regular file as standard input, as in `trionyx-proxy serve < messages.jsonl`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def receive(self, max_bytes: int = CHUNK_BYTES) -> bytes:
        data = await anyio.to_thread.run_sync(os.read, self._descriptor, max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data


class _FileSink:
    """A regular file as standard output."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def send(self, item: bytes) -> None:
        rest = memoryview(item)
        while rest:
            rest = rest[await anyio.to_thread.run_sync(os.write, self._descriptor, rest) :]


def _is_pollable(descriptor: int) -> bool:
    # The null device is a character device that no event loop can wait for.
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


async def claim_stdio() -> tuple[ByteSource, ByteSink]:
    """Take standard input and output for the protocol and close them to everyone else.

    Afterwards descriptor 0 reads nothing and descriptor 1 is standard error, so that no library or child
    can speak into the protocol.
    """
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    source: ByteSource
    sink: ByteSink
    if _is_pollable(incoming):
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(incoming, "rb", buffering=0)
        )
        source = _PipeSource(reader)
    else:
        source = _FileSource(incoming)
    if _is_pollable(outgoing):
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(outgoing, "wb", buffering=0)
        )
        sink = PipeSink(asyncio.StreamWriter(transport, protocol, None, loop))
    else:
        sink = _FileSink(outgoing)
    return source, sink
