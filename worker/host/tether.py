"""`python -m worker.host.tether PARENT`: a worker that ends with the process that started it.

A supervisor that is killed is started again, and its successor needs the GPUs: the old workers must be gone.
Their jobs go on elsewhere, from the last checkpoint, as soon as their leases are over.
"""

from __future__ import annotations

import sys

from worker.ending import end_at_once
from worker.host.kernel import die_with

if __name__ == "__main__":
    die_with(int(sys.argv[1]))

    from worker.main import main  # not before: it takes a second, in which a parent may die

    end_at_once(main())
