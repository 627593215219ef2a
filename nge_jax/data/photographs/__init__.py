"""ImageNet and data sets like it: decoded and cropped on the host, augmented on the device.

Read `batches` first. `decode` crops JPEGs as it decodes them, `files` lists a user's own, `jitter` flips images and
changes their colors.
"""
