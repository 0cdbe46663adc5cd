# SPDX-License-Identifier: Apache-2.0
"""Hand-over messages and states on their way through the peer unit."""
