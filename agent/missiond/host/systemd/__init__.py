# SPDX-License-Identifier: Apache-2.0
"""systemd and services: the manager, logind, oomd, hostnamed."""
