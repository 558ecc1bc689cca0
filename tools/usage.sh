# shellcheck shell=bash
# Sourced by dist_*.sh and slurm_*.sh with ARGUMENTS and EXAMPLE set: --help, and
# the error of a wrong call. As python -m crosskd …, CROSSKD_COMMAND says so.
COMMAND=${CROSSKD_COMMAND:-tools/$(basename "$0")}
PYTHON=${PYTHON:-python}
wrong_call() {
    echo "usage: $COMMAND $ARGUMENTS" >&2
    exit 2
}
case "${1:-}" in
-h | --help)
    printf 'usage: %s %s\n\nexample:\n  %s %s\n' \
        "$COMMAND" "$ARGUMENTS" "$COMMAND" "$EXAMPLE"
    exit 0
    ;;
esac
