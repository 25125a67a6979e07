"""Where a worker's CPU time goes: samples of the running process, by stage of a check, and as a flame graph.

Read `sampling` (py-spy's samples), `stages` (which frame belongs to which stage), `flame` (the picture), `operators`
(the network by torch's profiler), and `__main__`, which is the command.
"""
