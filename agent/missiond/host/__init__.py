# SPDX-License-Identifier: Apache-2.0
"""The edges to this host: clock, logind, service manager, polkit, battery and processes."""
