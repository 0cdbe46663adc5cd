# SPDX-License-Identifier: Apache-2.0
"""Links between hosts: TLS, frames, sockets, certificates."""
