# SPDX-License-Identifier: Apache-2.0
"""State files, kept beyond the daemon: live tasks, counters and the use of quotas.

Files are written by one daemon process from one thread. But for hand-overs nothing here calls fsync(2): what
must survive is the death of the daemon, and data handed to the kernel does. After a power failure the files
may be old or torn, which every reader here expects. Hand-overs are what two hosts have agreed on, so that
their files are on the disk before the other host hears of it.
"""
