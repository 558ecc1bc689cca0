#!/usr/bin/env bash
# mmdet's command line:
# slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS as in mmdet.
if [ $# -lt 4 ]; then
    echo "usage: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]" >&2
    exit 2
fi
set -x
HERE=$(dirname "$0")
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
# SRUN_ARGS is a list of arguments
# shellcheck disable=SC2086
PYTHONPATH="$HERE/..":$PYTHONPATH exec srun -p "$1" \
    --job-name="$2" \
    --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="${GPUS:-8}" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    $SRUN_ARGS \
    python -u "$HERE/test.py" "$3" "$4" --launcher=slurm "${@:5}"
