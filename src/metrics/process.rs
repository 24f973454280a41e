//! The metrics of the process that every Prometheus library has, from `/proc`.

use procfs::process::Process;
use prometheus::{Counter, IntGauge, Registry};

use super::register;

/// Metrics of the process.
#[derive(Clone)]
pub(super) struct ProcessFigures {
    cpu_seconds: Counter,
    open_files: IntGauge,
    max_files: IntGauge,
    virtual_bytes: IntGauge,
    resident_bytes: IntGauge,
    start_time: IntGauge,
    threads: IntGauge,
}

impl ProcessFigures {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help));
        Ok(Self {
            cpu_seconds: register(
                registry,
                Counter::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
            )?,
            open_files: gauge("process_open_fds", "Number of open file descriptors.")?,
            max_files: gauge("process_max_fds", "Maximum number of open file descriptors.")?,
            virtual_bytes: gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            resident_bytes: gauge("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            start_time: gauge(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            )?,
            threads: gauge("process_threads", "Number of OS threads in the process.")?,
        })
    }

    /// Reads the figures of this process. What cannot be read stays as it was.
    pub fn sample(&self) {
        let Ok(process) = Process::myself() else { return };
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        if let Ok(stat) = process.stat() {
            let ticks_per_second = procfs::ticks_per_second().max(1);
            let ticks = u32::try_from(stat.utime + stat.stime).unwrap_or(u32::MAX);
            let per_second = u32::try_from(ticks_per_second).unwrap_or(u32::MAX);
            let seconds = f64::from(ticks) / f64::from(per_second);
            self.cpu_seconds.inc_by((seconds - self.cpu_seconds.get()).max(0.0));
            self.virtual_bytes.set(int(stat.vsize));
            self.resident_bytes.set(int(stat.rss.saturating_mul(procfs::page_size())));
            self.threads.set(stat.num_threads);
            if let Ok(booted) = procfs::boot_time_secs() {
                self.start_time.set(int(booted + stat.starttime / ticks_per_second));
            }
        }
        if let Ok(open) = process.fd_count() {
            self.open_files.set(i64::try_from(open).unwrap_or(i64::MAX));
        }
        if let Ok(limits) = process.limits()
            && let procfs::process::LimitValue::Value(most) = limits.max_open_files.soft_limit
        {
            self.max_files.set(int(most));
        }
    }
}
