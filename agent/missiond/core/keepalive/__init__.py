# SPDX-License-Identifier: Apache-2.0
"""Rules of keep-alive: OOM scores and pending restores."""
