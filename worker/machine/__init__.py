"""What the machine gives this process, and how its memory is shared.

Reading order: `memory` (the budget that images in flight share), `cores`, `cgroups` (the limits of control groups),
then `threads` (one function over many items).
"""
