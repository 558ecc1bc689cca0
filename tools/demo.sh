#!/usr/bin/env bash
# Set up what is missing and run the demo; arguments go to demo.py.
. "$(dirname "$0")/env.sh"
exec python tools/demo.py "$@"
