# SPDX-License-Identifier: Apache-2.0
"""What hand-overs need of a link, without sockets or files: messages with answers, and state in pieces."""
