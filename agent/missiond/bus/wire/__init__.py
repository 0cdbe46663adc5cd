# SPDX-License-Identifier: Apache-2.0
"""The D-Bus wire: addresses, authentication, signatures, messages, one socket."""
