# SPDX-License-Identifier: Apache-2.0
"""The application: joins the pure core to the host, and is what the bus serves."""
