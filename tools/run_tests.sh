#!/usr/bin/env bash
# Set up what is missing and run all tests in two processes, which share the
# remaining tests at the end.  Arguments go to pytest.
. "$(dirname "$0")/env.sh"
exec python -m pytest -n 2 --dist worksteal "${@:-tests}"
