# SPDX-License-Identifier: Apache-2.0
"""Processes, proc(5): identity, jobs, starts and exits."""
