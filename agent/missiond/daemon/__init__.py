# SPDX-License-Identifier: Apache-2.0
"""The agent on a real host: tasks, missions, keep-alive and hand-over."""
