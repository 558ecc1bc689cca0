#!/usr/bin/env bash
# mmdet's command line: dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# Several nodes: NNODES, NODE_RANK, PORT, MASTER_ADDR. Without a GPU: gloo.
WHAT='Evaluate on several GPUs; GPUS is the number of GPUs, or of
processes on CPUs.'
ARGUMENTS='CONFIG CHECKPOINT GPUS [arguments of test.py]'
EXAMPLE='crosskd::crosskd/crosskd_r18_gflv1_r50_fpn_1x_coco.py \
      work_dirs/crosskd_r18_gflv1_r50_fpn_1x_coco/epoch_12.pth 8'
HERE=$(dirname "$0")
. "$HERE/usage.sh"
[[ "${3:-}" =~ ^[1-9][0-9]*$ ]] || wrong_call
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
# the first node opens the port
[ "${NODE_RANK:-0}" != 0 ] || "$PYTHON" "$HERE/free_port.py" "${PORT:-29500}" || exit 1
PYTHONPATH="$HERE/..":$PYTHONPATH exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$HERE/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
