# SPDX-License-Identifier: Apache-2.0
"""Hand-over messages and states between the agent and links."""
