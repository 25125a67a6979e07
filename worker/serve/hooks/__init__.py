"""`/v1/hooks`: the `routes` that take what storages and upload servers report, and `examples` for OpenAPI."""
