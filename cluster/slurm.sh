#!/bin/bash
# One run on the nodes of a Slurm job, the first of which is the head as well:
#     sbatch --nodes=3 cluster/slurm.sh my.yaml --run.dir=/shared/runs
# `ray symmetric-run` starts Ray on every node, runs the command on the first and stops Ray again, all of it that is on
# the node: so nodes are taken for ourselves alone. Each node's own /etc/raycollab/labels.yaml says whose it is.
#SBATCH --job-name=raycollab
#SBATCH --exclusive
#SBATCH --ntasks-per-node=1
#SBATCH --signal=TERM@120
set -euo pipefail

experiment=${1:?give an experiment file, and settings such as --run.dir=/shared/runs}
shift

umask 077 # the token is read by this user alone
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$HOME/.ray/auth_token"
if [[ ! -s $RAY_AUTH_TOKEN_PATH ]]; then
  mkdir -p "$(dirname "$RAY_AUTH_TOKEN_PATH")"
  openssl rand -hex 32 >"$RAY_AUTH_TOKEN_PATH"
fi
chmod 600 "$RAY_AUTH_TOKEN_PATH"

head_name=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head_name" hostname -I | awk '{print $1}')

# shellcheck disable=SC2016 # what is quoted is expanded on each node
srun --nodes="$SLURM_JOB_NUM_NODES" bash -c '
  labels=()
  [[ -r /etc/raycollab/labels.yaml ]] && labels=(--labels-file=/etc/raycollab/labels.yaml)
  exec ray symmetric-run --address "$1:6379" --min-nodes "$SLURM_JOB_NUM_NODES" --dashboard-host=127.0.0.1 \
    "${labels[@]}" -- raycollab run "${@:2}"
' raycollab "$head_ip" "$experiment" "$@"
