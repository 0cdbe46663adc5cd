# SPDX-License-Identifier: Apache-2.0
"""Mission lists in step between hosts: the published list, the view of a peer's, and the talk of the two.

The owner of a list is its only writer, so there is nothing to reconcile: a peer has all that happened up to
some point, named by list id and sequence number, or asks for the whole list.
"""
