#!/bin/bash
# Trains a cell on ImageNet on all GPUs of several machines. From the checkout's root, with the program installed:
#
#   sbatch experiments/slurm_train.sh --config=configs/train_imagenet.py --workdir=/shared/runs/imagenet
#   sbatch --nodes=1 experiments/slurm_train.sh --config=configs/train_cifar10.py --workdir=/shared/runs/cifar10
#
# Each GPU has one task. The processes find each other through Slurm's variables, and all of them must see the workdir.
# Slurm sends SIGTERM when the time is up or the job is preempted. The training then saves a checkpoint and exits with
# 75. The job goes back into the queue and resumes from the checkpoint.
#
#SBATCH --job-name=nge_train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm_%j.out

set -u
trap : TERM  # meant for srun's processes; the shell waits for them
srun --kill-on-bad-exit=0 python -m nge_jax.main "$@"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
