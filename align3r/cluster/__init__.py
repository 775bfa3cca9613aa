"""The only room that knows Ray: a cluster, or this machine as one; tasks sent and answered."""

from align3r.cluster.connection import connected
from align3r.cluster.tasks import Cluster, Died, Needs, Work

__all__ = ["Cluster", "Died", "Needs", "Work", "connected"]
