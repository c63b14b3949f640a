"""Nodes with the labels in the arguments, each a party's, and a head; ends with its input."""

import sys

from ray.cluster_utils import Cluster

from benchmarks.chaos.nodes import STORE

cluster = Cluster(
    initialize_head=True,
    head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE},
)
for party in sys.argv[1:]:
    cluster.add_node(num_cpus=1, object_store_memory=STORE, labels={"raycollab.io/party": party})
sys.stdout.write(f"address: {cluster.address}\n")
sys.stdout.flush()
sys.stdin.read()
cluster.shutdown()
