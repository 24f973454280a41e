//! The properties of the machine, which are needed to compare results.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// Number of syncs that are measured.
const SYNCS: u32 = 500;

pub fn print() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value_of = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("processor: {} ({cores} cores)", value_of(&read("/proc/cpuinfo"), "model name"));
    println!("memory: {}", value_of(&read("/proc/meminfo"), "MemTotal"));
    println!("kernel: {}", read("/proc/sys/kernel/osrelease").trim());
    println!("load before: {}", read("/proc/loadavg").trim());
    println!("4 KiB overwritten and fdatasync: {} µs", sync_micros());
}

fn sync_micros() -> u128 {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions::new().create_new(true).write(true).clone();
    let file = options.open(folder.path().join("sync")).unwrap();
    file.write_all_at(&[1; 8_192], 0).unwrap();
    file.sync_all().unwrap();
    let begun = Instant::now();
    for turn in 0..SYNCS {
        file.write_all_at(&[2; 4_096], u64::from(turn % 2) * 4_096).unwrap();
        file.sync_data().unwrap();
    }
    begun.elapsed().as_micros() / u128::from(SYNCS)
}
