"""A folder of images: what in it is data, which folders are splits and which are classes."""
