"""What fault_injection.py is made of."""
