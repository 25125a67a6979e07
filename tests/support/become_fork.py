"""The program `become_fork.py SOCKET`: gives its standard streams to a fork, and ends when that ends.

The fork is one of the process that listens on the socket: see `pytest_forks.py`.
"""

import contextlib
import os
import signal
import socket
import sys

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the fork as well
with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(ConnectionError):
    connection.connect(sys.argv[1])
    socket.send_fds(connection, [b"\0"], [0, 1, 2])
    os.close(0)
    os.close(1)  # so that the reader of this stream sees when the fork closes it
    connection.recv(1)
