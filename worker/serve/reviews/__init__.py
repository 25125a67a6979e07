"""`/v1/reviews`: what people decide.

Reading order: `fields` (what requests have in common), `queue` (which checks wait), `claims` (a moderator is given one
check at a time), `reviews` (reviews of single checks), `supervision` (what those who supervise moderators do);
`documents` and `examples` describe them for OpenAPI.
"""
