"""The texts between the tables of ``scaling.py``."""

MEASURED = """## Measured: an update

CPU nanoseconds a weight, the least of five turns, since other work on the machine can only add; kernels of transformers in TensorFlow
variables, density 0.1, prune rate 0.5. `read` copies masks, weights and momenta out of variables, `score` makes shares and scores,
`select` finds what to prune and to grow, `write` assigns masks and multiplies weights by them; each by itself. `rest` is what the whole
update takes beyond these: fresh memory for what is in between, and Python; it depends on how large layers are, so the last row, whose
constants the model uses, has some of the layers of the larger network below. `pack` and `unpack` turn masks into bits and back.

{costs}
Do these constants predict a larger update?

{check}
## Measured: four workers

Four processes with the same network, connected by pipes, each a host; NumPy arrays, no variables. Predicted from one process' costs
for the worker that has most to do, which is what an update takes where each has a core. Here the four shared {cores} of this machine's cores:
the wall time is that of processes that wait for one another, and says nothing of four hosts.

{workers}
"""

BISECTION = """## Measured: thresholds without sorting

The k-th largest of so many scores, bit by bit, compiled by XLA for one thread: each pass compares all scores with a candidate and counts.
Predicted from the time in which NumPy reads the same scores once, to find their maximum. So the time that bandwidth alone takes is a lower
bound; the error says how far above it XLA's code for this processor is.

{bisection}
## Measured: masks in files

One kernel of a million weights, SGD with momentum.

{checkpoints}
From a byte a weight follows:

{sizes}
"""

ALL_REDUCE = """## Modelled: gradients

All-reduce in a ring, float32; the link's bandwidth is what one replica can send. Today all gradients are sent, those of missing weights
as zeros when the growth window is closed: nothing is saved. The last column is the mean over steps if then only the values of active weights were sent,
at density {density:g}, with a window of {window} in {every} steps. They need no places: all replicas have the same masks.

{table}
"""

FREE = """## Modelled: where an update stops being free

Per cent of the training time that mask updates take as they are today, one every {every} steps, by number of replicas. A step is the longer of
6 x weights x uses / ({flops:.3g} flop/s) and the all-reduce over {replicas_link}; the host reads 15 bytes a weight and writes one to each of its
{replicas_per_host} devices over {host_link:.3g} bytes/s.

Each replica has its own batch ({uses:,.0f} uses of each weight a step):

{same_each}
All replicas share the batch that {replicas_per_host} have above:

{same_whole}
"""

WAYS = """## Modelled: what to do then

Seconds of an update, by how it is done; {hosts_link} between hosts of {replicas_per_host} replicas. The first two are what there is: a process
for each host, as under MultiWorkerMirroredStrategy; or one for all, as under TPUStrategy, which sends a byte a weight to every replica. The others:
{cores} cores of each host share the layers; one host decides and sends bits; hosts share the layers, evenly, and send bits; or replicas
find thresholds by themselves, from {memory:.4g} bytes/s of memory.

{few}
{many}
Fewest steps between updates with which these take at most 1 % of the time, for 1 G weights; a batch for each replica:

{spacing_each}
One batch for all:

{spacing_whole}"""
