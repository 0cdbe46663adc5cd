# SPDX-License-Identifier: Apache-2.0
"""missiond-peers: everything about other hosts, in a process of its own.

The agent has no network; this one has nothing else. They talk over the bus.
"""

IDENTITY = "identity.pem"
"""File in the unit's state directory with the key and certificate of this host."""
