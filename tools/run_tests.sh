#!/usr/bin/env bash
# Set up what is missing and run all tests in a process for each of two cores;
# one takes tests over from the other at the end.  Arguments go to pytest.
. "$(dirname "$0")/env.sh"
exec python -m pytest -n 2 --dist worksteal "${@:-tests}"
