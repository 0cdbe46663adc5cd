# SPDX-License-Identifier: Apache-2.0
"""Rules of keep-alive: OOM scores and what is still to be restored."""
