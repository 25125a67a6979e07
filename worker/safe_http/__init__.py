"""HTTP requests to untrusted hosts: images by URL, callbacks.

Reading order: `addresses` (which addresses are public), `urls` (the one parser), `policy` (where requests may go),
`network` (resolve once, connect to the address that was judged, keep the deadline), `client` (requests and redirects),
`retry_after` (a header). Only `network` and `client` need the extra http.
"""
