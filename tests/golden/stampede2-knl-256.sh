#!/bin/bash
#SBATCH --job-name=hvdtrain-stampede2-knl-256n-b8192
#SBATCH --nodes=256
#SBATCH --ntasks-per-node=1
#SBATCH --time=02:42:00
#SBATCH --partition=normal
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@185

# ResNet-50, made by hvdtrain 0.1.0:
#   hvdtrain render-job --nodes 256 --data /scratch/imagenet --hvdtrain /opt/hvdtrain/bin/hvdtrain
#
# system             Stampede2, Knights Landing nodes (TACC, switched off in 2024)
# partition          normal (1-256 nodes, 2-00:00:00), the first that the job fits into
# global batch       256 nodes x 1 rank x 32 images = 8192
# recipe             linear-90: 90 epochs: 5 of warm-up, then a straight line to 0
# updates            14075: 90 epochs of 156.392
# peak learning rate 3.2
# epoch time         87.8 s (79.6 to 96.1), 14585 images/s
# time to train      2.2 h, at most 2.4 h; 562 node-hours
# forecast           fitted to Table V, within 4.9 %: the paper's Intel Caffe and MLSL
# wall time          02:42:00, at most 691 node-hours
# data               /scratch/imagenet
# program            /opt/hvdtrain/bin/hvdtrain, from where it is installed
# cores of rank 0    compute 0-63; communication 64-67; Horovod 132; data loading 133-135,200-203,268-271

set -euo pipefail

# A job that is submitted from inside another one gets the variables of that one, and Slurm sets anew
# only those that it has a value for. The rest would mislead the steps of this job. Without a
# SLURM_MEM_PER_... of its own a step has the memory of the job.
unset ${!SLURM_CPU_BIND*} ${!SLURM_MEM_PER_*} ${!SLURM_SRUN_*} ${!SLURM_STEP*} ${!SRUN_*} \
    ${!PMI_*} ${!PMI2_*} ${!PMIX_SERVER_*} PMIX_NAMESPACE PMIX_RANK \
    SLURM_LAUNCH_NODE_IPADDR SLURM_CPUS_PER_TASK SLURM_DISTRIBUTION SLURM_EXPORT_ENV SLURM_HINT SLURM_THREADS_PER_CORE
if [ "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}" != "$SLURM_JOB_ID" ] &&
    array=$(env -u SLURM_CLUSTERS squeue --noheader --jobs="$SLURM_JOB_ID" --format=%F) &&
    [ "$array" != "$SLURM_ARRAY_JOB_ID" ]; then
    unset ${!SLURM_ARRAY_*}
fi
# The last task of an array has the number of the whole array as its SLURM_JOB_ID.
job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}

# The MPI that hvdtrain was built with. Module scripts read variables that may be unset.
set +u
module load intel impi
set -u

# The program: this installation, unless HVDTRAIN names another one.
HVDTRAIN=${HVDTRAIN:-/opt/hvdtrain/bin/hvdtrain}
if ! command -v "$HVDTRAIN" >/dev/null; then
    echo "$0: there is no program $HVDTRAIN on $HOSTNAME; set HVDTRAIN" >&2
    exit 1
fi

# Every run has a folder of its own. A restarted job has the number that it had before, and goes on
# with its run from the last checkpoint; another job does when HVDTRAIN_RUN_ID names the run.
results=results
run_id=hvdtrain-stampede2-knl-256n-b8192-$job
run_id=${HVDTRAIN_RUN_ID:-$run_id}
mkdir -p -- "$results/$run_id"

# While this file is there, the job stops: what prepares the training is ended, and the ranks of the
# training stop after their step, write a checkpoint and end with status 85. It is a file, because
# not every launcher passes a signal on.
stop=$results/$run_id/.stop
rm -f -- "$stop"

# A folder of each node's own.
node_folder=/dev/shm

# Waits for a process in the background: a signal ends the wait, not the process.
wait_for() {
    while kill -0 "$1" 2>/dev/null; do
        wait "$1" || true
    done
    wait "$1"
}

# Stops the job, at once before the training.
step=
halt() {
    touch -- "$stop" || true
    if [ "$step" ]; then
        kill -- "-$step" "$step" 2>/dev/null || true
    fi
}

# Runs what comes before the training, in a session of its own, so that all of it can be ended.
prepare() {
    setsid "$@" &
    step=$!
    [ ! -e "$stop" ] || halt
    wait_for "$step" && status=0 || status=$?
    step=
    [ ! -e "$stop" ] || exit 85
    return "$status"
}

# Before the time limit Slurm sends USR1 to this shell. TERM comes when the job is cancelled, and
# when its time is up; then it may still go back into the queue.
cancelled=
late=
terminate() {
    halt
    reason=$(env -u SLURM_CLUSTERS squeue --noheader --jobs="$job" --format=%r 2>/dev/null) || true
    if [ "$reason" = TimeLimit ]; then
        late=yes
    else
        cancelled=yes
    fi
}
# Once the time is up Slurm starts no step, and data would stay on the nodes. So ranks that do not
# stop are ended before, with two minutes left to clean up.
time_left() {
    at=$(env -u SLURM_CLUSTERS squeue --noheader --jobs="$job" --format=%e 2>/dev/null) &&
        at=$(date --date="$at" +%s 2>/dev/null) && echo $((at - $(date +%s)))
}
end_ranks_in() {
    sleep "$1"
    steps=$(env -u SLURM_CLUSTERS squeue --noheader --steps --jobs="$job" --format=%i)
    # A step that cleans up begins after the ranks have ended.
    kill -0 "$ranks" || return 0
    for one in $steps; do
        [[ ${one##*.} = *[!0-9]* ]] || env -u SLURM_CLUSTERS scancel "$one"
    done
}
hurry() {
    halt
    [ "${ranks:-}" ] && left=$(time_left) || return 0
    end_ranks_in $((left > 300 ? left - 150 : left > 0 ? left / 2 : 0)) </dev/null >/dev/null 2>&1 &
}
trap hurry USR1
trap terminate TERM

# This ends a job that was started again three times and did not come further.
"$HVDTRAIN" attempt begin --results "$results" --run-id "$run_id"

# However the job ends, it leaves no data on the nodes: another start may be on other ones.
leave() {
    status=$?
    [ -z "$step" ] || kill -- "-$step" 2>/dev/null || true
    if [ "${staged:-}" ] && [ -z "${late:-}" ]; then
        remove_data
    fi
    # Ranks that were stopped, died or hung are started again: the job goes back into the queue,
    # unless it was cancelled, has ended, or would fail in the same way.
    if [ "$status" != 0 ] && [ -z "$cancelled" ] &&
        { [ "${ranks:-}" ] || [ -e "$stop" ] || [ -e "$results/$run_id/.hang" ]; }; then
        "$HVDTRAIN" attempt end --requeue \
            --results "$results" --run-id "$run_id" || true
    fi
    exit "$status"
}
trap leave EXIT

# The core map: one list for each rank of the node, divided by colons
export HVDTRAIN_COMPUTE_CPUS=0-63
export HVDTRAIN_COMM_CPUS=64-67
export HVDTRAIN_HOROVOD_CPUS=132
export HVDTRAIN_DATA_CPUS=133-135,200-203,268-271

# Compute threads: OpenMP and TensorFlow
export OMP_NUM_THREADS=64
export KMP_AFFINITY='granularity=fine,proclist=[0-63],explicit'
export KMP_BLOCKTIME=1
export TF_NUM_INTRAOP_THREADS=64
export TF_NUM_INTEROP_THREADS=1
export TF_ENABLE_ONEDNN_OPTS=1

# oneCCL: its threads on the communication cores, of all ranks of the node; ring
export CCL_WORKER_COUNT=4
export CCL_WORKER_AFFINITY=64,65,66,67
export CCL_ALLREDUCE=ring

# Horovod: a dead rank ends the job instead of hanging it
export HOROVOD_CPU_OPERATIONS=CCL
export HOROVOD_THREAD_AFFINITY=132
export HOROVOD_CYCLE_TIME=1
export HOROVOD_DISABLE_GROUP_FUSION=1
export HOROVOD_STALL_CHECK_TIME_SECONDS=60
export HOROVOD_STALL_SHUTDOWN_TIME_SECONDS=300

# Intel MPI: each rank on its own cores; ring allreduce
export I_MPI_PIN=1
export I_MPI_PIN_DOMAIN='[f0000000000000000f0000000000000000f0000000000000000fffffffffffffffff]'
export I_MPI_ADJUST_ALLREDUCE=8

# The training data is copied to every node once, into a folder that only its owner may enter. What
# a start that lost its nodes has left on them is checked and used.
data_source=/scratch/imagenet
staged=$node_folder/hvdtrain-$UID-$run_id
data=$staged/data
remove_data() {
    timeout --kill-after=10 120 ibrun \
        "$HVDTRAIN" stage remove -- "$staged" ||
        echo "$0: $staged may be left on some nodes" >&2
}
# One node looks through the data for all of them.
data_files=$results/$run_id/.data-files
prepare "$HVDTRAIN" stage list -- "$data_source" "$data_files"
# This ends when the last node has its copy, and fails when one has none.
prepare ibrun \
    "$HVDTRAIN" stage copy --list "$data_files" --same-as "$results/$run_id/.data-sha256" \
    -- "$data_source" "$staged"

# The ranks check each other, their cores and their nodes, in less than a minute. A fault ends the
# job here and names the nodes that the next job had better leave out. Ranks that hang are no fault.
prepare ibrun \
    "$HVDTRAIN" preflight \
    --system stampede2-knl \
    --nodes 256 \
    --ranks-per-node 1 \
    --rank-batch 32 \
    --recipe linear-90 \
    --data "$data" \
    --results "$results" \
    --run-id "$run_id"

# ibrun takes nodes and ranks from the job. No tacc_affinity and no mem_affinity before it: the
# ranks pin themselves.
# The ranks, in the background, so that this shell can take signals while it waits. The exit status
# of the job is theirs.
[ ! -e "$stop" ] || exit 85
ibrun \
    "$HVDTRAIN" train \
    --system stampede2-knl \
    --nodes 256 \
    --ranks-per-node 1 \
    --rank-batch 32 \
    --recipe linear-90 \
    --data "$data" \
    --results "$results" \
    --run-id "$run_id" &
ranks=$!
wait_for "$ranks"
