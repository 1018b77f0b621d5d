#!/bin/bash
#SBATCH --job-name=georanker
#SBATCH --array=0-7
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=6
#SBATCH --mem=48G
#SBATCH --requeue
#SBATCH --output=%x-%A_%a.log
# The tasks of an array share one command; a job after them does what is left and makes the result. From the checkout,
# on a file system that all nodes see:
#
#   job=$(sbatch --parsable docs/slurm/array.sh evaluate.py --dataset im2gps3k --model_path ...)
#   sbatch --dependency=afterany:$job --gres=gpu:1 --wrap "python evaluate.py --dataset im2gps3k --model_path ..."
#
# The second command is the first one's, without the array. See docs/nodes.md.
set -euo pipefail

cd "$SLURM_SUBMIT_DIR"
export RANK=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN))
export WORLD_SIZE=$SLURM_ARRAY_TASK_COUNT
# The tasks count here what is taken; one that is queued again goes on with the same count.
export GEORANKER_SHARED_WORK=$SLURM_SUBMIT_DIR/outputs/shared_work/$SLURM_ARRAY_JOB_ID

exec "${PYTHON:-python}" "$@"
