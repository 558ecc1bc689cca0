#!/usr/bin/env bash
# Set up what is missing and run all tests; arguments go to pytest.
. "$(dirname "$0")/env.sh"
exec python -m pytest "${@:-tests}"
