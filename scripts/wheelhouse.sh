#!/usr/bin/env bash
# Gather all that scripts/setup.sh installs into one folder, on a machine that has internet: wheels
# for Linux on x86-64 and Python 3.11, whatever this machine is, and the sources of what is built.
#
#   scripts/wheelhouse.sh FOLDER        with PYTHON=/path/to/python3: any Python that has pip
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly FOLDER=$1 PYTHON=${PYTHON:-python3} OLDEST_GLIBC=28
# Built by the set-up: Horovod always, mpi4py where the site has an MPI of its own.
readonly SOURCES='^(horovod|mpi4py)=='

stop() {
    echo "wheelhouse: $1" >&2
    exit 1
}

"$PYTHON" -m pip --version >/dev/null 2>&1 ||
    stop "$PYTHON has no pip: name one that has: make wheelhouse PYTHON=/path/to/python3"
mkdir -p "$FOLDER"

platforms=(--platform linux_x86_64 --platform manylinux1_x86_64 --platform manylinux2010_x86_64
    --platform manylinux2014_x86_64)
for ((minor = 5; minor <= OLDEST_GLIBC; minor++)); do
    platforms+=(--platform "manylinux_2_${minor}_x86_64")
done

pins() { sed -n 's/^\([A-Za-z0-9._-]*==[^ ]*\).*/\1/p' requirements.txt requirements-dev.txt; }

download() {
    "$PYTHON" -m pip download --no-deps --no-input --disable-pip-version-check --quiet \
        --progress-bar off --dest "$FOLDER" "$@" >&2 ||
        stop "something cannot be downloaded (see above): what is there is kept for the next try"
}

download "${platforms[@]}" --python-version 3.11 --implementation cp --abi cp311 --abi abi3 \
    --abi none --only-binary=:all: -r <(pins | grep -v '^horovod==')
download --no-binary horovod --no-binary mpi4py -r <(pins | grep -E "$SOURCES")
echo "wheelhouse: $FOLDER holds $(find "$FOLDER" -type f | wc -l) files," \
    "$(du -sh "$FOLDER" | cut -f 1): make setup WHEELHOUSE=$FOLDER" >&2
