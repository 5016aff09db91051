"""How fast sslbind is: `python -m benchmarks` compares it with the stdlib's ssl and with bare C.

The way through: `workloads` defines each row once, over a `sides.Side`; `worker` runs one row of
one side in a process of its own; `bare.c` does the same work without Python; `runner` lets the
processes take turns; `report` makes the table and the chart. README.md says what the rows mean.
"""
