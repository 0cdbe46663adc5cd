# SPDX-License-Identifier: Apache-2.0
"""systemd and its services: the manager, logind, oomd, hostnamed."""
