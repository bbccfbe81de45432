#!/bin/bash
#SBATCH --job-name=hvdtrain-perlmutter-cpu-64n-b2048
#SBATCH --nodes=64
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=128
#SBATCH --time=2-00:00:00
#SBATCH --qos=regular
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@600
#SBATCH --constraint=cpu
#SBATCH --comment="two words"

# ResNet-50, made by hvdtrain 0.1.0:
#   hvdtrain render-job --system perlmutter-cpu --nodes 64 --set 'comment=two words' --data /scratch/imagenet --hvdtrain /opt/hvdtrain/bin/hvdtrain
#
# system             Perlmutter, CPU nodes (NERSC)
# partition          regular (1-3072 nodes, 2-00:00:00), the first that the job fits into
# global batch       64 nodes x 2 ranks x 16 images = 2048
# recipe             linear-90: 90 epochs: 5 of warm-up, then a straight line to 0
# updates            56301: 90 epochs of 625.57
# peak learning rate 0.8
# forecast           none: no step time is known for perlmutter-cpu
# wall time          2-00:00:00, at most 3072 node-hours
# data               /scratch/imagenet
# program            /opt/hvdtrain/bin/hvdtrain, from where it is installed
# cores of rank 0    compute 0-62; communication 63; Horovod 191; data loading 59-63
# cores of rank 1    compute 64-126; communication 127; Horovod 255; data loading 123-127
# numbering          as if socket 0 came first; the job asks the node and corrects it

set -euo pipefail

# A job that is submitted from inside another one gets the variables of that one, and Slurm sets anew
# only those that it has a value for. The rest would mislead the steps of this job. Without a
# SLURM_MEM_PER_... of its own a step has the memory of the job.
unset ${!SLURM_CPU_BIND*} ${!SLURM_MEM_PER_*} ${!SLURM_SRUN_*} ${!SLURM_STEP*} ${!SRUN_*} \
    ${!PMI_*} ${!PMI2_*} ${!PMIX_SERVER_*} PMIX_NAMESPACE PMIX_RANK \
    SLURM_LAUNCH_NODE_IPADDR SLURM_DISTRIBUTION SLURM_EXPORT_ENV SLURM_HINT SLURM_THREADS_PER_CORE
if [ "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}" != "$SLURM_JOB_ID" ] &&
    array=$(env -u SLURM_CLUSTERS squeue --noheader --jobs="$SLURM_JOB_ID" --format=%F) &&
    [ "$array" != "$SLURM_ARRAY_JOB_ID" ]; then
    unset ${!SLURM_ARRAY_*}
fi
# The last task of an array has the number of the whole array as its SLURM_JOB_ID.
job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}

# The program: this installation, unless HVDTRAIN names another one.
HVDTRAIN=${HVDTRAIN:-/opt/hvdtrain/bin/hvdtrain}
if ! command -v "$HVDTRAIN" >/dev/null; then
    echo "$0: there is no program $HVDTRAIN on $HOSTNAME; set HVDTRAIN" >&2
    exit 1
fi

# Every run has a folder of its own. A restarted job has the number that it had before, and goes on
# with its run from the last checkpoint; another job does when HVDTRAIN_RUN_ID names the run.
results=results
run_id=hvdtrain-perlmutter-cpu-64n-b2048-$job
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

# Which processor ids are on which socket is read from this node. This sets
#   HVDTRAIN_COMPUTE_CPUS
#   HVDTRAIN_COMM_CPUS
#   HVDTRAIN_HOROVOD_CPUS
#   HVDTRAIN_DATA_CPUS
#   HOROVOD_THREAD_AFFINITY
core_map=$("$HVDTRAIN" cores --system perlmutter-cpu --ranks-per-node 2 \
    --comm-cores 2 --detect --format sh)
eval "$core_map"

# Compute threads: OpenMP and TensorFlow (each rank sets KMP_AFFINITY to its own list of compute cores)
export OMP_NUM_THREADS=63
export KMP_BLOCKTIME=1
export TF_NUM_INTRAOP_THREADS=63
export TF_NUM_INTEROP_THREADS=1
export TF_ENABLE_ONEDNN_OPTS=1

# Horovod: a dead rank ends the job instead of hanging it
export HOROVOD_CPU_OPERATIONS=MPI
export HOROVOD_CYCLE_TIME=1
export HOROVOD_DISABLE_GROUP_FUSION=1
export HOROVOD_STALL_CHECK_TIME_SECONDS=60
export HOROVOD_STALL_SHUTDOWN_TIME_SECONDS=300

# MPICH: the library's own choice of algorithm
export MPICH_MAX_THREAD_SAFETY=multiple

# The training data is copied to every node once, into a folder that only its owner may enter. What
# a start that lost its nodes has left on them is checked and used.
data_source=/scratch/imagenet
staged=$node_folder/hvdtrain-$UID-$run_id
data=$staged/data
remove_data() {
    timeout --kill-after=10 120 srun --nodes=64 --ntasks=64 --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1 \
        "$HVDTRAIN" stage remove -- "$staged" ||
        echo "$0: $staged may be left on some nodes" >&2
}
# One node looks through the data for all of them.
data_files=$results/$run_id/.data-files
prepare "$HVDTRAIN" stage list -- "$data_source" "$data_files"
# This ends when the last node has its copy, and fails when one has none.
prepare srun --nodes=64 --ntasks=64 --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1 \
    "$HVDTRAIN" stage copy --list "$data_files" --same-as "$results/$run_id/.data-sha256" \
    -- "$data_source" "$staged"

# The ranks check each other, their cores and their nodes, in less than a minute. A fault ends the
# job here and names the nodes that the next job had better leave out. Ranks that hang are no fault.
prepare srun --nodes=64 --ntasks=128 --ntasks-per-node=2 --cpus-per-task=128 --cpu-bind=none --kill-on-bad-exit=1 \
    "$HVDTRAIN" preflight \
    --system perlmutter-cpu \
    --nodes 64 \
    --ranks-per-node 2 \
    --rank-batch 16 \
    --recipe linear-90 \
    --data "$data" \
    --results "$results" \
    --run-id "$run_id"

# The ranks, in the background, so that this shell can take signals while it waits. The exit status
# of the job is theirs.
[ ! -e "$stop" ] || exit 85
srun --nodes=64 --ntasks=128 --ntasks-per-node=2 --cpus-per-task=128 --cpu-bind=none --kill-on-bad-exit=1 \
    "$HVDTRAIN" train \
    --system perlmutter-cpu \
    --nodes 64 \
    --ranks-per-node 2 \
    --rank-batch 16 \
    --recipe linear-90 \
    --data "$data" \
    --results "$results" \
    --run-id "$run_id" &
ranks=$!
wait_for "$ranks"
