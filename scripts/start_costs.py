"""What the start of a rank costs on a slow file system: installed there, and packed.

Every path that a rank looks up where hvdtrain is installed takes a millisecond longer, as on a
parallel file system that many nodes ask at once. What the dynamic linker looks up by itself is not
slowed, so the difference is a little larger in truth.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from hvdtrain.installation.commit import PACKAGE
from hvdtrain.installation.packed import current_packed

_ROUNDS = 3

_SLOW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/types.h>

static void look_up(const char *path) {
  const char *slow = getenv("SLOW_PATHS");
  while (slow && path && *slow) {
    size_t length = strcspn(slow, ":");
    if (length && strncmp(path, slow, length) == 0) { usleep(1000); return; }
    slow += length + (slow[length] == ':');
  }
}

#define NEXT(name) (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define ONE(type, name, declared, path, ...)                     \
  type name declared { look_up(path); return (NEXT(name))(__VA_ARGS__); }

struct stat; struct stat64; typedef struct _IO_FILE FILE; typedef struct __dirstream DIR;
ONE(int, stat, (const char *p, struct stat *s), p, p, s)
ONE(int, stat64, (const char *p, struct stat64 *s), p, p, s)
ONE(int, lstat, (const char *p, struct stat *s), p, p, s)
ONE(int, lstat64, (const char *p, struct stat64 *s), p, p, s)
ONE(int, fstatat, (int d, const char *p, struct stat *s, int f), p, d, p, s, f)
ONE(int, fstatat64, (int d, const char *p, struct stat64 *s, int f), p, d, p, s, f)
ONE(int, access, (const char *p, int m), p, p, m)
ONE(ssize_t, readlink, (const char *p, char *b, size_t n), p, p, b, n)
ONE(FILE *, fopen, (const char *p, const char *m), p, p, m)
ONE(FILE *, fopen64, (const char *p, const char *m), p, p, m)
ONE(DIR *, opendir, (const char *p), p, p)
ONE(int, open, (const char *p, int f, unsigned m), p, p, f, m)
ONE(int, open64, (const char *p, int f, unsigned m), p, p, f, m)
ONE(int, openat, (int d, const char *p, int f, unsigned m), p, d, p, f, m)
ONE(int, openat64, (int d, const char *p, int f, unsigned m), p, d, p, f, m)
"""


def main() -> None:
    """Print the seconds of each start."""
    packed = current_packed()
    if packed is None:
        sys.exit("start_costs: hvdtrain pack comes first")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        library = _build(folder)
        begin = time.monotonic()
        subprocess.run(
            ["tar", "-xzf", packed.file, "-C", folder], stdin=subprocess.DEVNULL, check=True
        )
        print(f"unpacked in {time.monotonic() - begin:.1f} s")
        programs = {
            "installed": Path(sys.executable).with_name("hvdtrain"),
            "packed": folder / "bin" / "hvdtrain",
        }
        slow = ":".join({sys.prefix, sys.base_prefix, str(PACKAGE)})
        for delay, variables in (
            ("as it is", {}),
            ("1 ms a path", {"LD_PRELOAD": str(library), "SLOW_PATHS": slow}),
        ):
            for where, program in programs.items():
                seconds = min(_start(program, folder, variables) for _ in range(_ROUNDS))
                print(f"{where}, {delay}: {seconds:.1f} s to the end of the first step")


def _build(folder: Path) -> Path:
    source, library = folder / "slow.c", folder / "slow.so"
    source.write_text(_SLOW)
    words = ["gcc", "-w", "-shared", "-fPIC", "-fno-builtin", "-o", str(library), str(source)]
    subprocess.run(words, stdin=subprocess.DEVNULL, check=True)
    return library


def _start(program: Path, folder: Path, variables: Mapping[str, str]) -> float:
    """Seconds of a training of one step in a network that takes no time."""
    words = [
        *(str(program), "train", "--system", "local", "--nodes", "1", "--ranks-per-node", "1"),
        *("--rank-batch", "1", "--model", "small", "--images-per-epoch", "1", "--steps", "1"),
        *("--no-attest", "--results", str(folder / "results")),
    ]
    begin = time.monotonic()
    subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **variables},
        check=True,
    )
    return time.monotonic() - begin


if __name__ == "__main__":
    main()
