"""Tests of the load benchmark: does the tool measure right, and does a wrong answer fail its run?"""
