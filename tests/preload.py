"""Libraries that a test puts between a program and the C library."""

from __future__ import annotations

import subprocess
from pathlib import Path

NO_LOCKS = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int flock_errno;

__attribute__((constructor)) static void read_variable(void) {
  const char *given = getenv("FLOCK_ERRNO");
  flock_errno = given ? atoi(given) : 0;
}

int flock(int descriptor, int operation) {
  if (flock_errno == 0) return syscall(SYS_flock, descriptor, operation);
  errno = flock_errno;
  return -1;
}
"""
"""`flock` fails with the number in FLOCK_ERRNO, or in `flock_errno`; 0: it does not."""


def build_library(folder: Path, source: str) -> Path:
    """A library for LD_PRELOAD."""
    (folder / "preload.c").write_text(source)
    library = folder / "preload.so"
    words = ["gcc", "-shared", "-fPIC", "-o", str(library), str(folder / "preload.c")]
    subprocess.run(words, check=True)
    return library
