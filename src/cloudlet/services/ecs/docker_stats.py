"""A container's statistics in the words of Docker's API, which the task metadata endpoint speaks.

https://docs.docker.com/reference/api/engine/version/v1.30/#tag/Container/operation/ContainerStats
"""

from dataclasses import dataclass
from typing import Any

from cloudlet.engines.ports import DiskUse, Usage


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured when (epoch seconds)."""

    at: float
    usage: Usage


def stats(runtime_id: str, name: str, before: Sample | None, now: Sample, time: Any) -> dict[str, Any]:
    """Two samples of a container (or one, where it was never measured before) as Docker says them; `time` writes a time
    as text."""
    seen = now.usage
    answer = {
        "read": time(now.at), "preread": time(before.at if before else 0.0), "id": runtime_id, "name": name,
        "num_procs": 0, "pids_stats": {"current": seen.processes}, "storage_stats": {},
        "cpu_stats": _cpu(seen), "precpu_stats": _cpu(before.usage) if before else {},
        "memory_stats": {"usage": seen.memory_total_bytes, "max_usage": seen.memory_peak_bytes,
                         "stats": dict(seen.memory_details), "limit": seen.memory_limit_bytes},
        "blkio_stats": {
            "io_service_bytes_recursive": [entry for disk in seen.disks for entry in _disk(
                disk, disk.read_bytes, disk.write_bytes)],
            "io_serviced_recursive": [entry for disk in seen.disks for entry in _disk(disk, disk.reads, disk.writes)],
            "io_queue_recursive": [], "io_service_time_recursive": [], "io_wait_time_recursive": [],
            "io_merged_recursive": [], "io_time_recursive": [], "sectors_recursive": []},
        "networks": {traffic.interface: {
            "rx_bytes": traffic.rx_bytes, "rx_packets": traffic.rx_packets, "rx_errors": traffic.rx_errors,
            "rx_dropped": traffic.rx_dropped, "tx_bytes": traffic.tx_bytes, "tx_packets": traffic.tx_packets,
            "tx_errors": traffic.tx_errors, "tx_dropped": traffic.tx_dropped} for traffic in seen.traffic}}
    if before and now.at > before.at:
        passed = now.at - before.at
        rates = {f"{way}_bytes_per_sec": max(0.0, _total(seen, way) - _total(before.usage, way)) / passed
                 for way in ("rx", "tx")}
        answer["network_rate_stats"] = rates
    return answer


def _cpu(usage: Usage) -> dict[str, Any]:
    periods, throttled, seconds = usage.throttled
    return {"cpu_usage": {"total_usage": _ns(usage.cpu_seconds), "usage_in_kernelmode": _ns(usage.kernel_seconds),
                          "usage_in_usermode": _ns(usage.user_seconds)},
            "system_cpu_usage": _ns(usage.host_cpu_seconds), "online_cpus": usage.cpus,
            "throttling_data": {"periods": periods, "throttled_periods": throttled, "throttled_time": _ns(seconds)}}


def _disk(disk: DiskUse, read: int, written: int) -> list[dict[str, Any]]:
    return [{"major": disk.major, "minor": disk.minor, "op": word, "value": value}
            for word, value in (("Read", read), ("Write", written), ("Total", read + written))]


def _total(usage: Usage, way: str) -> int:
    return sum(traffic.rx_bytes if way == "rx" else traffic.tx_bytes for traffic in usage.traffic)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
