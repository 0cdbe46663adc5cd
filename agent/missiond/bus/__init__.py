# SPDX-License-Identifier: Apache-2.0
"""D-Bus: connection, server and routing; no other package imports dbus-next.

The library supplies the value types and decodes message bodies; connection,
framing, encoding, routing and caller identity are here, because a service on
the system bus has to survive clients that the libraries do not expect.
"""
