"""The few kernels that the GPU back end adds to mujoco_warp's own. (No postponed annotations here: Warp reads them.)"""

# mypy: ignore-errors
# The types of a kernel's arguments are Warp's, not Python's.

import warp as wp

# mj_checkPos, mj_checkVel and mj_checkAcc call a state beyond this broken (mjMAXVAL); in float32 it is one step from infinity
GREATEST = wp.constant(1e10)

# What a step reports, as places in one array that the host reads now and then.
DIVERGED, OVERFLOWED, LIMITED, BITS, ROWS, CONTACTS = range(6)


@wp.kernel(enable_backward=False)
def note_contacts(
    count: wp.array[int],
    geoms: wp.array[wp.vec2i],
    distance: wp.array[float],
    margin: wp.array[float],
    world: wp.array[int],
    body_of: wp.array[int],
    touched: wp.array2d[bool],
):
    """Mark the bodies that touch the world (body 0). Launched over the whole contact buffer, which all worlds share."""
    i = wp.tid()
    if i >= count[0] or distance[i] >= margin[i]:
        return
    pair = geoms[i]
    if pair[0] < 0 or pair[1] < 0:  # a flex
        return
    first, second = body_of[pair[0]], body_of[pair[1]]
    if first == 0:
        touched[world[i], second] = True
    if second == 0:
        touched[world[i], first] = True


@wp.kernel(enable_backward=False)
def note_sizes(rows: wp.array[int], contacts: wp.array[int], pairs: wp.array[int], report: wp.array[int]):
    """Greatest number of constraint rows of any world, and of contacts and candidate pairs of all; counted beyond capacity too."""
    world = wp.tid()
    wp.atomic_max(report, wp.static(ROWS), rows[world])
    if world == 0:
        wp.atomic_max(report, wp.static(CONTACTS), wp.max(contacts[0], pairs[0]))


@wp.func
def trustworthy(values: wp.array[float]):
    for i in range(values.shape[0]):  # noqa: SIM110, a kernel
        if not (wp.abs(values[i]) <= GREATEST):  # not-a-number compares false
            return False
    return True


@wp.kernel(enable_backward=False)
def look_before(qpos: wp.array2d[float], qvel: wp.array2d[float], ctrl: wp.array2d[float], broken: wp.array[bool]):
    """Which worlds were given what is not finite or too large. The engine would make a zero or a bound of it and go on."""
    world = wp.tid()
    broken[world] = not (trustworthy(qpos[world]) and trustworthy(qvel[world]) and trustworthy(ctrl[world]))


@wp.kernel(enable_backward=False)
def look_after(qpos: wp.array2d[float], qvel: wp.array2d[float], qacc: wp.array2d[float], broken: wp.array[bool]):
    """Which worlds have come to what is not finite or too large."""
    world = wp.tid()
    if not (trustworthy(qpos[world]) and trustworthy(qvel[world]) and trustworthy(qacc[world])):
        broken[world] = True


@wp.kernel(enable_backward=False)
def judge(
    broken: wp.array[bool],
    capacity_bits: int,
    iteration_bits: int,
    overflow: wp.array[int],
    diverged: wp.array[bool],
    report: wp.array[int],
):
    """Which worlds are not to be trusted after this step; their overflow bits go into the report and are cleared."""
    world = wp.tid()
    bits = overflow[world]
    if broken[world]:
        wp.atomic_add(report, wp.static(DIVERGED), 1)
    if bits & capacity_bits:
        wp.atomic_add(report, wp.static(OVERFLOWED), 1)
    if bits & iteration_bits:
        wp.atomic_add(report, wp.static(LIMITED), 1)
    if bits:
        wp.atomic_or(report, wp.static(BITS), bits)
        overflow[world] = 0
    diverged[world] = broken[world] or (bits & capacity_bits) != 0


@wp.kernel(enable_backward=False)
def place(
    mask: wp.array[bool],
    new_qpos: wp.array2d[float],
    new_qvel: wp.array2d[float],
    qpos: wp.array2d[float],
    qvel: wp.array2d[float],
    touched: wp.array2d[bool],
    diverged: wp.array[bool],
):
    """Put the masked worlds into new states."""
    world = wp.tid()
    if not mask[world]:
        return
    for i in range(qpos.shape[1]):
        qpos[world, i] = new_qpos[world, i]
    for i in range(qvel.shape[1]):
        qvel[world, i] = new_qvel[world, i]
    for i in range(touched.shape[1]):
        touched[world, i] = False
    diverged[world] = False
