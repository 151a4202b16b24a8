"""Known answers of queueing theory, in the unit of the service time. Source: Kleinrock, Queueing Systems, volume 1."""

from math import factorial


def mmc_response(servers: int, load: float, service: float) -> float:
    """The mean time in an M/M/c queue, by Erlang's C formula; `load` is the share of the servers' time that is used."""
    offered = servers * load
    waiting = offered**servers / factorial(servers) / (1 - load)
    none = sum(offered**k / factorial(k) for k in range(servers)) + waiting
    return service + waiting / none * service / (servers * (1 - load))


def md1_response(load: float, service: float) -> float:
    """The mean time in an M/D/1 queue, by Pollaczek and Khinchine."""
    return service + load * service / (2 * (1 - load))


def repair_response(machines: int, repairers: int, think: float, service: float) -> float:
    """The mean time of a repair where `machines` fail after `think`, and `repairers` work on them (M/M/c//N)."""
    weights = [1.0]
    for broken in range(machines):
        rate = (machines - broken) / think * service / min(broken + 1, repairers)
        weights.append(weights[-1] * rate)
    total = sum(weights)
    mean_broken = sum(broken * weight for broken, weight in enumerate(weights)) / total
    throughput = sum(min(broken, repairers) * weight for broken, weight in enumerate(weights)) / total / service
    return mean_broken / throughput
