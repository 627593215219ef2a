"""Where an image's channels lie in memory: `channels_last` [B, H, W, C] or `images_last` [C, H, W, B].

Both modules have the same functions, and code that works in either layout takes one of the modules as an argument.
Height and width are axes 1 and 2 in both, therefore a kernel that moves a window over them reads either.
"""

from types import ModuleType

Layout = ModuleType  # `channels_last` or `images_last`
