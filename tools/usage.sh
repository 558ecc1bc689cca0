# shellcheck shell=bash
# Sourced by dist_*.sh and slurm_*.sh, which set WHAT, ARGUMENTS and EXAMPLE:
# --help, and the error for wrong arguments. CROSSKD_COMMAND is how the script
# was called if that was python -m crosskd ….
COMMAND=${CROSSKD_COMMAND:-tools/$(basename "$0")}
PYTHON=${PYTHON:-python}
wrong_call() {
    echo "usage: $COMMAND $ARGUMENTS" >&2
    exit 2
}
case "${1:-}" in
-h | --help)
    printf 'usage: %s %s\n\n%s\n\nexample:\n  %s \\\n      %s\n' \
        "$COMMAND" "$ARGUMENTS" "$WHAT" "$COMMAND" "$EXAMPLE"
    exit 0
    ;;
esac
