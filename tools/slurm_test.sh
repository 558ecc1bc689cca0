#!/usr/bin/env bash
# mmdet's command line:
# slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS as in mmdet.
WHAT='Evaluate on a Slurm cluster.'
ARGUMENTS='PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]'
EXAMPLE='gpu crosskd \
      crosskd::crosskd/crosskd_r18_gflv1_r50_fpn_1x_coco.py \
      work_dirs/crosskd_r18_gflv1_r50_fpn_1x_coco/epoch_12.pth'
HERE=$(dirname "$0")
. "$HERE/usage.sh"
[ $# -ge 4 ] || wrong_call
set -x
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
    "$PYTHON" -u "$HERE/test.py" "$3" "$4" --launcher=slurm "${@:5}"
