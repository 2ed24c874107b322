"""What all tests have in common: servers that they start serve no HTTP unless a test asks for it.

Ports are the machine's, and the process that serves HTTP takes a second of a processor to begin.
"""

import os

os.environ["FILEMILL__WEB__LISTEN"] = "off"
