# SPDX-License-Identifier: Apache-2.0
"""missiond-peers: the unit for other hosts, in a separate process.

The agent has no network; this one has nothing else. They talk over the bus.
"""

IDENTITY = "identity.pem"
"""File in the unit's state directory with the key and certificate of this host."""
