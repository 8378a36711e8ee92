"""Touches as many megabytes of memory as its argument says, and gives them back.

A virtual machine may get its memory from its host on first touch only, which is slower than a disk.
"""

import sys

memory = bytearray(int(sys.argv[1]) << 20)
for start in range(0, len(memory), 4096):
    memory[start] = 1
