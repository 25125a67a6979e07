"""Commands about checks: one after the other, and many at once.

Reading order: `check` (images in this process), `submit` and `sweep` (images for the workers), `show` and `explain`
(one check), `review` (what a person says of one), `reviews` and `reviews_golden` (of many, and how reviewers compare),
`backlog` with `backlog_change` and `backlog_import` (what waits), `prune` (what ended long ago).
"""
