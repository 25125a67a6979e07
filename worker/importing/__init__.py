"""Bringing many images in at once: manifests and folders of any size, in constant memory."""
