# SPDX-License-Identifier: Apache-2.0
"""Rules of tasks: kinds, quota, leases and ends."""
