"""Makes simgrid.json: the ring allreduce on a fat tree, message by message. Print it with

    apt-get install python3-simgrid
    /usr/bin/python3 -m tests.plan.forecast.reference.make_simgrid \\
        > tests/plan/forecast/reference/simgrid.json

from the top of the checkout; it takes a minute. Debian 12 has SimGrid 3.32, for its own Python
3.11. The registry has it as `simgrid`, to be built with CMake, a C++ compiler and Boost.

The tree has the shape of Stampede2's: 28 nodes under a leaf switch, with 20 links up from it, all
of 100 Gbit/s. Every node sends its part to the next one in the ring as soon as it has received the
part before it. A ring repeats itself, so STEPS of its 2 (N - 1) messages are simulated after
WARM_UP others, and their mean stands for all.

`in_order`: the ring goes through the nodes in the order of the tree. `shuffled`: in a random order,
as when a job gets nodes all over the machine and its ring does not know where they are.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile

import simgrid

NODES = (256, 512, 1024, 1536)
GRADIENT_BYTES = 4 * 25_557_032
LINK_BYTES_PER_SECOND = 12.5e9
LINK_SECONDS = 0.5e-6
LEAF_NODES = 28
LEAF_UPLINKS = 20
LEAVES = 56
STEPS = 8
WARM_UP = 4
SEEDS = (1, 2, 3)

# A link at its nominal speed: nothing is taken off for TCP.
OPTIONS = (
    *("network/model:CM02", "network/TCP-gamma:0", "network/weight-S:0"),
    *("network/bandwidth-factor:1", "network/latency-factor:1", "network/crosstraffic:0"),
)
PLATFORM = f"""<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="tree" prefix="n" suffix="" radical="0-{LEAF_NODES * LEAVES - 1}" speed="1Gf"
    bw="{LINK_BYTES_PER_SECOND:.0f}Bps" lat="{LINK_SECONDS:.9f}s" topology="FAT_TREE"
    topo_parameters="2;{LEAF_NODES},{LEAVES};1,{LEAF_UPLINKS};1,1" loopback_bw="1e15Bps"
    loopback_lat="0s"/>
</platform>
"""


def ring_seconds(order: list[str]) -> float:
    """Seconds of one message of a ring over the nodes in this order; one engine in a process."""
    engine = simgrid.Engine(
        ["ring", "--log=root.threshold:error", *(f"--cfg={o}" for o in OPTIONS)]
    )
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as platform:
        platform.write(PLATFORM)
        platform.flush()
        engine.load_platform(platform.name)
    hosts = [simgrid.Host.by_name(name) for name in order]
    part = GRADIENT_BYTES // len(hosts)
    ended: list[float] = []

    def node(rank: int) -> None:
        successor = simgrid.Mailbox.by_name(str((rank + 1) % len(hosts)))
        own = simgrid.Mailbox.by_name(str(rank))
        for step in range(WARM_UP + STEPS):
            sent = successor.put_async("part", part)
            own.get()
            sent.wait()
            if rank == 0 and step in (WARM_UP - 1, WARM_UP + STEPS - 1):
                ended.append(simgrid.Engine.clock)

    for rank, host in enumerate(hosts):
        simgrid.Actor.create(f"rank{rank}", host, node, rank)
    engine.run()
    return (ended[1] - ended[0]) / STEPS


def simulate(nodes: int, seed: int | None) -> float:
    """Seconds of a whole allreduce, simulated in a process of its own."""
    words = [sys.executable, "-m", "tests.plan.forecast.reference.make_simgrid", str(nodes)]
    words += [] if seed is None else [str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=3600)
    return 2 * (nodes - 1) * float(done.stdout)


def main() -> None:
    if len(sys.argv) > 1:
        nodes, *seed = map(int, sys.argv[1:])
        order = [f"n{number}" for number in range(nodes)]
        for value in seed:
            random.Random(value).shuffle(order)
        print(ring_seconds(order))
        return
    results = [
        {
            "nodes": nodes,
            "in_order_seconds": simulate(nodes, None),
            "shuffled_seconds": [simulate(nodes, seed) for seed in SEEDS],
        }
        for nodes in NODES
    ]
    facts = {
        "simgrid": simgrid.simgrid_version,
        "gradient_bytes": GRADIENT_BYTES,
        "link_bytes_per_second": LINK_BYTES_PER_SECOND,
        "link_seconds": LINK_SECONDS,
        "leaf_nodes": LEAF_NODES,
        "leaf_uplinks": LEAF_UPLINKS,
        "rings": results,
    }
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
