#!/usr/bin/env bash
# Build .venv: TensorFlow, an MPI, oneCCL, Horovod built for them, ITEX, and this package.
#
#   scripts/setup.sh                     Intel MPI and oneCCL from the Python registry
#   MPI=system scripts/setup.sh          the site's MPI: the mpicxx on PATH
#   PYTHON=/path/to/python3.11 ...       another Python than the first 3.11 on PATH
#   TESTS=yes ...                        also what tests and linters need
#   WHEELHOUSE=folder ...                from what `make wheelhouse` has gathered, and nothing else
#
# A choice once made is kept until another one is given. The work is a row of stages; each leaves
# a stamp with the hash of what it was made from, so an interrupted set-up goes on where it was, a
# changed pin redoes the stages that depend on it, and a complete set-up ends here at once. pip's
# own configuration (mirrors, certificates, proxies) is honoured.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.." # One place, by whatever symbolic links it was reached.

readonly VENV=$PWD/.venv SELF=scripts/setup.sh
readonly STAMPS=$VENV/.setup LOG=$VENV/setup.log
readonly FULL_MB=4000 UPDATE_MB=1000
# What Horovod's library is compiled from and linked with: a change of these builds it anew.
readonly LINKED='^(tensorflow|impi-devel|impi-rt|oneccl-devel|horovod)'

say() { printf '%s\n' "$*" >&2; }

stop() {
    say "set-up: $1"
    exit 1
}

hash_of() { sha256sum | cut -c 1-16; }

# The lines of one or several groups of the requirements.
pins() {
    local group
    for group in "$@"; do
        awk -v group="[$group]" '/^# \[/ { inside = ($2 == group) } inside && /^[^#]/' \
            requirements.txt requirements-dev.txt
    done
}

# --- what was chosen -------------------------------------------------------------------------

remembered() { sed -n "s/^$1=//p" "$STAMPS/choices" 2>/dev/null || true; }

choose() {
    MPI=${MPI:-$(remembered MPI)}
    MPI=${MPI:-intel}
    PYTHON=${PYTHON:-$(remembered PYTHON)}
    PYTHON=$(command -v "$PYTHON" || echo "$PYTHON")
    TESTS=${TESTS:-$(remembered TESTS)}
    case $MPI in
        intel) MPICXX= ;;
        system) MPICXX=$(command -v mpicxx || remembered MPICXX) ;;
        *) stop "MPI=$MPI is not known: use MPI=intel or MPI=system" ;;
    esac
}

choices() { printf 'MPI=%s\nMPICXX=%s\nPYTHON=%s\n' "$MPI" "$MPICXX" "$PYTHON"; }

# A virtual environment cannot be moved, so its place belongs to what it was made from.
key_of_all() {
    {
        echo "$VENV $TESTS"
        choices
        cat requirements.txt ${TESTS:+requirements-dev.txt} pyproject.toml "$SELF"
    } | hash_of
}

# --- what the machine must have ----------------------------------------------------------------

check_machine() {
    [[ $(uname -s)-$(uname -m) == Linux-x86_64 ]] ||
        stop "TensorFlow 2.15 with oneCCL needs Linux on x86-64; this is $(uname -s) on $(uname -m)"
    check_glibc
    [[ $VENV != *[[:space:]]* ]] ||
        stop "MPI's compiler wrappers cannot work in a path with spaces: move $PWD"
    find_python
    check_compiler
    PACKAGE_GROUPS=(tensorflow tools)
    WITH_ONECCL=yes
    if [[ $MPI == intel ]]; then
        PACKAGE_GROUPS+=(intel-mpi mpi4py)
    else
        check_site_mpi
    fi
    [[ $WITH_ONECCL == no ]] || PACKAGE_GROUPS+=(oneccl)
    check_disk
}

# The oldest that some of the pinned packages are built for.
check_glibc() {
    local version
    version=$(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)
    [[ $(printf '%s\n' 2.28 "$version" | sort -V | head -n 1) == 2.28 ]] ||
        stop "the C library of this system is $version and 2.28 is needed: use a newer node or system"
}

find_python() {
    local candidate version found=
    for candidate in ${PYTHON:-python3.11 python3}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            PYTHON=$(command -v "$candidate")
            "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
                stop "$PYTHON cannot make virtual environments: apt-get install python3.11-venv"
            return
        fi
        version=$("$candidate" -V 2>/dev/null | cut -d ' ' -f 2 || true)
        found+="$candidate is ${version:-missing}, "
    done
    stop "Python 3.11 is needed, but ${found%, }: apt-get install python3.11 python3.11-venv, or\
 'module load' it on a cluster, or name it: make setup PYTHON=/path/to/python3.11"
}

check_compiler() {
    command -v make >/dev/null || stop "make is missing: apt-get install make"
    echo 'int main() { if constexpr (true) return 0; }' |
        "${CXX:-g++}" -std=c++17 -x c++ - -o /dev/null 2>/dev/null ||
        stop "no C++17 compiler (${CXX:-g++}) to build Horovod with: apt-get install g++, or\
 'module load gcc' on a cluster"
}

check_site_mpi() {
    [[ -n $MPICXX ]] ||
        stop "MPI=system, but no mpicxx on PATH: 'module load' the site's MPI, or\
 apt-get install libopenmpi-dev openmpi-bin, or leave MPI=system out"
    local program
    program=$(mktemp)
    printf '#include <mpi.h>\nint main() { return MPI_Finalize(); }\n' |
        "$MPICXX" -x c++ - -o "$program" 2>/dev/null ||
        stop "$MPICXX cannot compile an MPI program: install the development files of that MPI"
    # oneCCL loads libmpi.so.12 by itself: the name of Intel MPI and of MPIs compatible with it.
    # Beside another MPI in one process that cannot work.
    [[ $(ldd "$program") == *libmpi.so.12* ]] || WITH_ONECCL=no
    rm -f "$program"
}

check_disk() {
    local free_mb needed_mb=$FULL_MB
    [[ -e $STAMPS/packages ]] && needed_mb=$UPDATE_MB
    free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
    ((free_mb >= needed_mb)) ||
        stop "$PWD has $free_mb MB free and $needed_mb MB are needed: make room, or clone hvdtrain\
 to a larger file system"
    free_mb=$(quota_mb)
    ((${free_mb:-needed_mb} >= needed_mb)) ||
        stop "your quota leaves $free_mb MB in $PWD and $needed_mb MB are needed: make room, or clone\
 hvdtrain to the project's or the scratch file system"
}

# What the user's quota leaves here, in MB; nothing: there is none, or none that can be asked for.
quota_mb() {
    local device
    command -v quota >/dev/null || return 0
    device=$(df -P . | awk 'NR == 2 { print $1 }')
    # A * marks what is above the soft limit. 0 is no limit.
    quota --no-wrap --raw-grace 2>/dev/null | awk -v device="$device" '
        $1 == device { limit = $4 + 0 ? $4 : $3; if (limit > 0) print int((limit - $2) / 1024) }
    ' || true
}

# --- the stages --------------------------------------------------------------------------------

pip_install() {
    "$VENV/bin/python" -m pip install --no-deps --no-input --disable-pip-version-check \
        --progress-bar off "$@"
}

# pip writes RECORD last. A package without one was interrupted, but pip takes it for installed.
remove_half_installed() {
    local info
    for info in "$VENV"/lib/python3.11/site-packages/*.dist-info; do
        [[ -f $info/RECORD ]] || rm -rf "$info"
    done
}

do_venv() {
    remove_half_installed
    "$PYTHON" -m venv "$VENV"
}

# The first contact with the package index: with two tries, an unreachable one shows quickly.
do_build_tools() {
    remove_half_installed
    PIP_RETRIES=${PIP_RETRIES:-1} pip_install -r <(pins build)
}

do_packages() {
    remove_half_installed
    pip_install -r <(pins "${PACKAGE_GROUPS[@]}")
    [[ $MPI == system ]] || return 0
    # The site's MPI and mpi4py must be one library. The ready-made mpi4py takes the first MPI it
    # finds; one from pip's cache may have been built for another MPI.
    MPICC=${MPICXX%cxx}cc pip_install --no-cache-dir --no-build-isolation \
        --no-binary mpi4py --force-reinstall -r <(pins mpi4py)
}

# oneccl-devel has two libraries of one name. lib/libccl.so needs the SYCL runtime and does not
# load without it; the one for processors is this one. hvdtrain/stack.py knows the folder.
link_oneccl() {
    mkdir -p "$VENV/oneccl/lib"
    ln -sfn ../include "$VENV/oneccl/include"
    ln -sfn ../../lib/ccl/cpu/lib/libccl.so.1 "$VENV/oneccl/lib/libccl.so.1"
    ln -sfn libccl.so.1 "$VENV/oneccl/lib/libccl.so"
}

do_horovod() {
    if [[ $WITH_ONECCL == yes ]]; then
        link_oneccl
        export CCL_ROOT=$VENV/oneccl
    else
        unset CCL_ROOT
    fi
    [[ $MPI == system ]] || export I_MPI_ROOT=$VENV
    # A shell may hold the choices of another Horovod, for graphics processors for example.
    unset "${!HOROVOD_@}"
    export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1
    export HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
    # By default Horovod takes what the building machine can do. Every node of the supported
    # clusters has these three, whatever the login node has.
    export HOROVOD_BUILD_ARCH_FLAGS="-mavx -mf16c -mfma"
    # Set, because the make that called this script has left its own MAKEFLAGS. More than eight
    # compilers at a time are too much for a login node.
    local jobs
    jobs=$(nproc)
    export MAKEFLAGS=-j$((jobs < 8 ? jobs : 8))
    # pip keeps wheels it built; one built for another MPI or another place must not come back.
    PATH=$VENV/bin:${MPICXX:+${MPICXX%/*}:}$PATH pip_install --verbose --no-cache-dir \
        --no-build-isolation --no-binary horovod --force-reinstall -r <(pins horovod)
}

do_itex() {
    rm -rf "$VENV/itex" "$VENV/itex.partial"
    pip_install --target "$VENV/itex.partial/site-packages" -r <(pins itex)
    mv "$VENV/itex.partial" "$VENV/itex"
}

do_tests() {
    remove_half_installed
    pip_install -r <(pins development)
}

do_hvdtrain() { pip_install --no-build-isolation --editable .; }

do_verify() {
    "$VENV/bin/python" -m pip check
    "$VENV/bin/python" -c "from hvdtrain.stack import ensure_stack; ensure_stack()
import horovod.tensorflow as hvd
assert hvd.mpi_built() and hvd.gloo_built() and bool(hvd.ccl_built()) == ('$WITH_ONECCL' == 'yes')"
}

# --- running them ------------------------------------------------------------------------------

# stage NAME TEXT INPUT...: run do_NAME unless it has been done from the same inputs.
stage() {
    local name=$1 text=$2 key log_size started=$SECONDS status=0
    key=$({ printf '%s\n' "${@:3}"; declare -f "do_$name"; } | hash_of)
    stage_number=$((stage_number + 1))
    [[ $(cat "$STAMPS/$name" 2>/dev/null) != "$key" ]] || return 0
    rm -f "$STAMPS/$name"
    say "[$stage_number/$stages] $text"
    echo "=== $name, $(date '+%F %T')" >>"$LOG"
    log_size=$(stat -c %s "$LOG")
    # Not in a condition: there the shell would go on after a failed command.
    set +e
    (
        set -e
        "do_$name"
    ) >>"$LOG" 2>&1 </dev/null
    status=$?
    set -e
    ((status == 0)) || explain "$name" "$(tail -c "+$((log_size + 1))" "$LOG")"
    echo "$key" >"$STAMPS/$name.partial"
    mv "$STAMPS/$name.partial" "$STAMPS/$name"
    say "      done in $((SECONDS - started)) s"
}

# explain NAME SAID: the end of the log, then one line: what to do.
explain() {
    local name=$1 said=$2
    say "--- the end of $LOG"
    printf '%s\n' "$said" | tail -n 15 >&2
    say "---"
    case $said in
        *"No space left on device"* | *"quota exceeded"*)
            stop "the disk is full: make room below $PWD (df -h, quota), then run this again" ;;
        *"Name or service not known"* | *"name resolution"* | *"Connection refused"* | \
            *"Network is unreachable"* | *"ProxyError"* | *"SSLError"* | *"timed out"* | \
            *"Max retries exceeded"* | *"Connection broken"* | *"IncompleteRead"*)
            stop "the Python package index cannot be reached: check the network, or name the mirror\
 or proxy of your site (PIP_INDEX_URL, PIP_PROXY, PIP_CERT, pip.conf), then run this again" ;;
        *"No matching distribution found"*)
            [[ -z $WHEELHOUSE ]] ||
                stop "$WHEELHOUSE lacks a pinned version (see above): make wheelhouse, from this\
 checkout on a machine with internet, makes it anew"
            stop "the Python package index lacks a pinned version (see above): use an index that is\
 complete (PIP_INDEX_URL or pip.conf), then run this again" ;;
        *"Killed"* | *"Cannot allocate memory"*)
            stop "a program was killed, most likely for want of memory: 4 GB should be free" ;;
    esac
    stop "the stage '$name' failed; its log is above and in $LOG"
}

is_complete() {
    [[ -x $VENV/bin/python && $(cat "$STAMPS/done" 2>/dev/null) == "$(key_of_all)" ]]
}

# One set-up at a time. The lock is on this file, opened for writing because NFS wants that. It ends
# with the last process of the set-up.
wait_for_others() {
    local status=0
    exec 9>>"$SELF"
    flock --nonblock 9 || status=$?
    if ((status == 1)); then
        say "set-up: another one is at work in $PWD, waiting for it"
        flock 9
    elif ((status > 1)); then
        say "set-up: this file system has no locks: do not start a second one in $PWD"
    fi
}

# Make .venv ready for the stages: keep what was made for these choices and in this place, remove
# what was made for others, and touch nothing that another program made.
prepare_folder() {
    local base
    base=$({ echo "$VENV"; choices; } | hash_of)
    if [[ -e $VENV && $(cat "$STAMPS/base" 2>/dev/null) != "$base" ]]; then
        [[ -d $STAMPS ]] || stop "$VENV was not made by this set-up: move it away"
        say "another Python, MPI or folder than last time: starting afresh"
        rm -rf "$VENV"
    fi
    mkdir -p "$STAMPS" "$VENV/tmp"
    { choices; echo "TESTS=$TESTS"; } >"$STAMPS/choices"
    echo "$base" >"$STAMPS/base"
}

# Modules of a cluster set variables that would mix other packages in, and a pip.conf may say
# `user`. Temporary files go beside the rest: one place needs space, and /tmp may forbid programs.
clean_environment() {
    unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
    export PIP_USER=0 PYTHONNOUSERSITE=1 TMPDIR=$VENV/tmp
    rm -rf "$TMPDIR"
    mkdir -p "$TMPDIR"
    [[ -z $WHEELHOUSE ]] || export PIP_NO_INDEX=1 PIP_FIND_LINKS=$WHEELHOUSE PIP_CONFIG_FILE=/dev/null
}

# The folder of wheels by its whole path; empty: the package index.
find_wheelhouse() {
    WHEELHOUSE=${WHEELHOUSE:-}
    [[ -z $WHEELHOUSE ]] && return
    compgen -G "$WHEELHOUSE/tensorflow-*.whl" >/dev/null ||
        stop "WHEELHOUSE=$WHEELHOUSE holds no tensorflow-*.whl: name what make wheelhouse has made"
    WHEELHOUSE=$(cd "$WHEELHOUSE" && pwd)
    [[ $WHEELHOUSE != *[[:space:]]* ]] ||
        stop "pip cannot look into a folder with spaces in its path: move $WHEELHOUSE"
}

main() {
    choose
    if is_complete; then
        say "set-up: nothing to do"
        return
    fi
    wait_for_others
    choose
    if is_complete; then return; fi
    check_machine
    find_wheelhouse
    prepare_folder
    clean_environment
    trap 'stop "interrupted; the same command goes on from here"' INT TERM

    local minutes=2
    [[ $MPI == intel ]] || minutes=5 # mpi4py is compiled too.
    say "set-up: $VENV with $("$PYTHON" -V), MPI=$MPI; the log is $LOG"
    stage_number=0
    stages=7
    [[ -z $TESTS ]] || stages=8
    stage venv "a virtual environment"
    stage build_tools "build tools" "$(pins build)"
    stage packages "TensorFlow, MPI and tools: 1 GB to download, about $minutes minutes" \
        "${PACKAGE_GROUPS[*]}" "$(pins "${PACKAGE_GROUPS[@]}" mpi4py)"
    stage horovod "Horovod: compiling for about 4 minutes on two cores" \
        "$WITH_ONECCL" "$(pins tensorflow intel-mpi oneccl horovod | grep -E "$LINKED==")"
    stage itex "ITEX: 130 MB to download" "$(pins itex)"
    stage hvdtrain "this package" "$(cat pyproject.toml)"
    [[ -z $TESTS ]] || stage tests "what tests and linters need" "$(pins development)"
    stage verify "a first look: the packages agree, Horovod loads" \
        "$(cat "$STAMPS"/{packages,horovod,itex,hvdtrain}) $(cat "$STAMPS/tests" 2>/dev/null || true)"

    rm -rf "$TMPDIR"
    key_of_all >"$STAMPS/done"
    say "set-up: complete after $((SECONDS / 60)) min $((SECONDS % 60)) s"
}

main "$@"
