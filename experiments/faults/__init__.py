"""Parts of the command fault_injection.py."""
