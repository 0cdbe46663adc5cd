# SPDX-License-Identifier: Apache-2.0
"""What a mission needs in order to be started again, here or on another host."""
