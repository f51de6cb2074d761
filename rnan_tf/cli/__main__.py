import sys

from rnan_tf.cli import main

sys.exit(main())
