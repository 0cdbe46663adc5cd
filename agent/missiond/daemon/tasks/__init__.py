# SPDX-License-Identifier: Apache-2.0
"""Transient and continuous tasks on a real host: leases, locks and owners."""
