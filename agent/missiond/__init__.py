# SPDX-License-Identifier: Apache-2.0
"""missiond: background tasks and distributed missions for systemd hosts."""

__version__ = "0.1.0"
