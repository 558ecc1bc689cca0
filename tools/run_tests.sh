#!/usr/bin/env bash
# Set up what is missing and run all tests, a process for each of two cores, a
# file of tests at a time in their order; arguments go to pytest.
. "$(dirname "$0")/env.sh"
exec python -m pytest -n 2 --dist loadfile \
    --no-loadscope-reorder "${@:-tests}"
