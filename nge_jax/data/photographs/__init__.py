"""ImageNet and data sets like it: decoded and cropped on the host, augmented on the device.

Read `batches` first. `crop` decodes parts of image files by PIL. `prepared` reads TFDS's sets, `decode` crops their
images by TensorFlow. `files` lists a user's own, `jitter` flips images and changes their colors.
"""
