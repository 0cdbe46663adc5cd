# SPDX-License-Identifier: Apache-2.0
"""Mission lists in step between hosts: what one publishes, what it sees of a peer, what the two say.

The owner of a list is its only writer, so there is nothing to reconcile: a peer has all that happened up to
some point, named by list id and sequence number, or asks for the whole list.
"""
