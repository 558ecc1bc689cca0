"""End with an error if the port given on the command line is in use."""
import socket
import sys

PORT = sys.argv[1]
with socket.socket() as probe:
    # as torch does: a port that a finished run just left can be used
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(('', int(PORT)))
    except (OSError, OverflowError, ValueError) as e:
        sys.exit(f'port {PORT}, which the processes meet at, cannot be used: '
                 f'{e}. Set PORT to a free port')
