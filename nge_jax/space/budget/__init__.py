"""Cells within limits on their network's size: `costs` counts them, `strongest` derives one, `relative` draws them."""
