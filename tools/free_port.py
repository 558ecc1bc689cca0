"""End with an error where the port named on the command line is in use."""
import socket
import sys

PORT = sys.argv[1]
with socket.socket() as probe:
    # what a finished run left behind is no obstacle to torch either
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(('', int(PORT)))
    except (OSError, OverflowError, ValueError) as e:
        sys.exit(f'port {PORT}, where the ranks would meet, cannot be used: '
                 f'{e}. Set PORT to the number of a free one')
