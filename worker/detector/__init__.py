"""The SuSy network, its weights, its tiles, and the engine that runs it.

Reading order:

1. `tiles`: where the 224×224 tiles of an image lie.
2. `contrast`: which of them are worth scoring.
3. `model`: the network, from tiles to class probabilities.
4. `weights`: the weights file, written, read and checked; `paths` says which file a process uses.
5. `release`: how the authors' released file becomes a weights file; `torchscript` runs that file, `parity` compares
   its answers with our network's.
6. `engine`: one thread that scores the tiles of all images in flight in batches, taken from a `fair_queue`.
7. `detector`: the above put together from the settings.
"""
