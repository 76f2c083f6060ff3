"""Faults made on purpose beside a steady load of real calls, and the count of what they cost.

`./dev faults` plays them. kinds.py, judge.py and page.py are pure; the rest breaks things and looks at what is left.
"""
