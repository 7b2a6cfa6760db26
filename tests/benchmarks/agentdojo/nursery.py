"""Starts `trionyx-proxy serve` processes out of one that has imported the proxy once: importing is most of a short run.

    python nursery.py host --socket FILE                       imports, then forks a process for each `connect`
    python nursery.py connect --socket FILE --config FILE      is that process's standard input, output and environment

What is forked runs the command's own `main` in a process of its own, with the environment of whoever connected.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys

MAX_REQUEST = 1 << 20


def host(path: str) -> None:
    """Fork a process for each request, until killed."""
    from trionyx_proxy.cli import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        with connection:
            data, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST, 3)
            while not data.endswith(b"\n"):
                data += connection.recv(MAX_REQUEST)
            # INVARIANT: the child keeps its copy of the connection open; its end is how `connect` learns of it.
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                for target, descriptor in enumerate(descriptors):
                    os.dup2(descriptor, target)
                    os.close(descriptor)
                request = json.loads(data)
                os.environ.clear()
                os.environ.update(request["environment"])
                code = 70
                try:
                    code = main(["serve", "--config", request["config"]])
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            for descriptor in descriptors:
                os.close(descriptor)


def connect(path: str, config: str) -> None:
    """Hand standard input, output and errors to a new process, and end when it does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        request = {"config": config, "environment": dict(os.environ)}
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        os.close(0)
        os.close(1)
        connection.recv(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Proxies that start quickly.")
    parser.add_argument("mode", choices=("host", "connect"))
    parser.add_argument("--socket", required=True)
    parser.add_argument("--config")
    options = parser.parse_args()
    if options.mode == "host":
        host(options.socket)
    else:
        connect(options.socket, options.config)


if __name__ == "__main__":
    main()
