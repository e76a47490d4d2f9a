#!/bin/sh
# Command-line tests: see the bottom of this file for how to add one.
exit 0
