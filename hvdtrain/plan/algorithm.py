"""Which allreduce algorithm is in force, as far as the environment says."""

from __future__ import annotations

from collections.abc import Mapping

from hvdtrain.plan.record import Reduction

# Source: Intel MPI Developer Reference, I_MPI_ADJUST Family.
_INTEL = {
    "1": "recursive doubling",
    "2": "Rabenseifner's",
    "3": "reduce and broadcast",
    "4": "topology-aware reduce and broadcast",
    "5": "binomial gather and scatter",
    "6": "topology-aware binomial gather and scatter",
    "7": "Shumilin's ring",
    "8": "ring",
    "9": "Knomial",
}
# Source: ompi_info --param coll tuned --level 9, Open MPI 4.1.
_OPENMPI = {
    "1": "basic linear",
    "2": "reduce and broadcast",
    "3": "recursive doubling",
    "4": "ring",
    "5": "segmented ring",
    "6": "Rabenseifner's",
}


def allreduce_algorithm(reduction: Reduction, mpi: str, environ: Mapping[str, str]) -> str:
    """In words, with the setting that says so.

    Args:
        reduction: Horovod's back end.
        mpi: The MPI library's own name and version.
        environ: Of a rank.
    """
    match reduction:
        case "none":
            return "none: one rank"
        case "GLOO":
            return "ring (Gloo has no other)"
        case "CCL":
            return _said(environ, "CCL_ALLREDUCE", {}, "oneCCL")
    if "Intel" in mpi:
        return _said(environ, "I_MPI_ADJUST_ALLREDUCE", _INTEL, "Intel MPI")
    if "Open MPI" in mpi:
        if environ.get("OMPI_MCA_coll_tuned_use_dynamic_rules", "0") in ("0", "false"):
            return "Open MPI's own choice"
        name = "OMPI_MCA_coll_tuned_allreduce_algorithm"
        return _said(environ, name, _OPENMPI, "Open MPI")
    return "the MPI library's own choice"


def _said(environ: Mapping[str, str], name: str, names: Mapping[str, str], library: str) -> str:
    value = environ.get(name, "")
    if not value:
        return f"{library}'s own choice"
    # Intel MPI takes `8:0-1024;2:...` as well: what stands there is said, not interpreted.
    return f"{names.get(value, value)} ({name}={value})"
