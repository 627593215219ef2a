#!/bin/bash
# Makes a run for each element of a Slurm job array: for each seed, or for each row of a file of settings.
#
#   sbatch --array=0-9 experiments/slurm_array.sh search search_cifar:alpha
#   sbatch --array=1-12 experiments/slurm_array.sh --rows=settings.txt train train_cifar10 genotype=DARTS_V2
#   SLURM_ARRAY_TASK_ID=3 bash experiments/slurm_array.sh search search_digits:gradient,smoke    without Slurm
#
# Behind the options stand the words of `nge`. Without --rows the element's number is the seed, and the run's folder is
# WORKDIR/seed-NUMBER. With --rows, the line of this number has more words, such as search.epochs=50 'data.dir=/my data',
# and the folder is WORKDIR/row-NUMBER. Lines count from 1. --workdir=WORKDIR comes first too; it is runs/array else.
#
# Slurm sends SIGTERM when the time is up or the element is preempted. The run then saves a checkpoint and exits with 75.
# The element goes back into the queue, and goes on from the checkpoint. The same sbatch goes on with all elements.
#
#SBATCH --job-name=nge_array
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm_%A_%a.out

set -u
fail() { echo "error: $*" >&2; exit 2; }

rows='' workdir=runs/array
while [ $# -gt 0 ]; do
    case "$1" in
        --rows=*) rows=${1#*=} ;;
        --workdir=*) workdir=${1#*=} ;;
        *) break ;;
    esac
    shift
done
number=${SLURM_ARRAY_TASK_ID:-}
[[ $number =~ ^[0-9]+$ ]] || fail "SLURM_ARRAY_TASK_ID: found '$number', expected the number of an element (--array)"
[ $# -ge 2 ] || fail "found '$*', expected the words of nge, such as search search_cifar"

if [ -n "$rows" ]; then
    [ -r "$rows" ] || fail "--rows: $rows: no such file"
    # xargs takes quotes off, as the shell would.
    words=$(sed -n "${number}p" "$rows" | xargs -r -n1 printf '%s\n') || fail "$rows: line $number: wrong quotes"
    [ -n "$words" ] || fail "$rows: found no words in line $number"
    mapfile -t more <<< "$words"
    folder=$workdir/row-$number
else
    more=("seed=$number") folder=$workdir/seed-$number
fi

launcher=()
[ -n "${SLURM_JOB_ID:-}" ] && launcher=(srun --ntasks=1)
trap : TERM # meant for srun's process; the shell waits for it
"${launcher[@]}" nge "$@" "${more[@]}" --workdir="$folder" --num_processes=1
code=$?
if [ "$code" -eq 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
