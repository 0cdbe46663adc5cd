# SPDX-License-Identifier: Apache-2.0
"""The hand-over part of a link, without sockets or files: messages with answers, and state in pieces."""
