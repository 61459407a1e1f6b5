import sys

sys.exit("this module ends the process")
