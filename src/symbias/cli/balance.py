"""placeholder"""
balance = None
