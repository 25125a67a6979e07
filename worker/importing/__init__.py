"""Bulk import of manifests and folders of any size, in constant memory. Read `records`, then `load`."""
