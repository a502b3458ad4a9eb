"""The vehicle-routing simulator as one would explain it aloud: loops, dictionaries, float64, one episode."""

from collections import defaultdict

import numpy as np


def play(city, demand, actions, edges, strict=False):
    """Plays the flows `actions: [T, n, n]` and returns one record a step, and the idle counts after the last one.

    edges: pairs (i, j) in the order in which flows are cut. A record holds `features` [n, 13], `idle` [n] between
    matching and moves, `profit` of the matching, `cost` of the moves, `served`, `lost` and `in_flight` after the
    matching.
    """
    n, T = city.regions, city.horizon
    idle = [city.vehicles] * n
    landing = defaultdict(int)  # (step, origin, destination, with passengers) -> vehicles
    announced = defaultdict(int)  # (step, destination) -> vehicles
    records = []
    for t in range(T):
        profit, served, lost = 0.0, 0, 0
        for i in range(n):
            for j in sorted(np.flatnonzero(city.lam[t, i] > 0), key=lambda j: (-city.price[t, i, j], j)):
                take = min(idle[i], int(demand[t, i, j]))
                if take == 0:
                    continue
                time = int(city.pax_time[t, i, j])
                idle[i] -= take
                served += take
                profit += take * (city.price[t, i, j] - city.cost * time)
                if strict:
                    lost += landing[t + time, i, j, True]
                    landing[t + time, i, j, True] = take
                else:
                    landing[t + time, i, j, True] += take
                announced[t + time, j] += take
        features = np.zeros((n, 13))
        for i in range(n):
            features[i, 0] = idle[i]
            for k in range(1, 7):
                features[i, k] = idle[i] + announced[t + k, i]
                features[i, 6 + k] = (city.lam[t + k, i] * city.price[t + k, i]).sum()
        in_flight = sum(landing.values())
        record = {"features": 0.01 * features, "idle": list(idle), "profit": profit, "served": served, "lost": lost}

        cost = 0.0
        for i, j in edges:
            sent = 0 if i == j else min(idle[i], max(0, int(actions[t, i, j])))
            idle[i] -= sent
            time = int(city.reb_time[i, j])
            landing[t + time, i, j, False] += sent
            announced[t + time, j] += sent
            cost += city.cost * time * sent
        for i in range(n):
            for j in range(n):
                for passengers in (True, False):
                    idle[j] += landing.pop((t, i, j, passengers), 0)
        records.append(record | {"cost": cost, "in_flight": in_flight})
    return records, idle
