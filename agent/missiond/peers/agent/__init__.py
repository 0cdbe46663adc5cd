# SPDX-License-Identifier: Apache-2.0
"""What the peer unit and the agent tell each other."""
