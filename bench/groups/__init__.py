"""What `make bench` measures, in groups that run on their own: `python -m bench.suite --only GROUP`.

Read `pace` (rounds within a time limit), then `images`, `ledgers` and `workers`. Each group is a function from a `Pace`
to figures.
"""
