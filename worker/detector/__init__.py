"""The SuSy network, its weights, its tiles, and the engine that runs it.

Reading order:

1. `tiles`: where the 224×224 tiles of an image lie.
2. `contrast`: which of them are worth scoring.
3. `model`: the network, from tiles to class probabilities.
4. `weights`: the weights file, written, read and checked; `paths` says which file a process uses.
5. `release`: how the authors' released file becomes a weights file; `torchscript` runs that file, after
   `torchscript_archive` has checked it; `parity` compares its answers with our network's.
6. `prepare`: the network as workers run it, in one precision and with fewer operations: `staircase` (linear steps on
   sums), `winograd` (convolutions with fewer multiplications).
7. `engine`: threads that score the tiles of all images in flight in batches, taken from a `fair_queue`.
8. `detector`: the above put together from the settings.
"""
