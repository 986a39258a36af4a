//! What the process takes of its machine, and what the machine has left.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::process::{Resource, getrlimit};

/// Where to look.
pub struct Machine {
    /// A folder on the disk that data are kept on.
    pub data_folder: PathBuf,
    /// The certificates that this process shows, by what they are for.
    pub certificates: Vec<(&'static str, Expiry)>,
    /// When the process began.
    pub started: SystemTime,
}

/// When the certificate expires that is in use now.
pub type Expiry = Box<dyn Fn() -> SystemTime + Send + Sync>;

/// At one moment. What the system does not tell is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachineSnapshot {
    pub started_s: f64,
    pub clock_s: f64,
    pub processor_s: f64,
    pub resident_bytes: u64,
    /// What the process may have, by its control group or because the machine has no more.
    pub memory_bytes_max: u64,
    pub open_files: u64,
    pub open_files_max: u64,
    pub threads: u64,
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
    /// When each expires, in seconds since the Unix epoch.
    pub certificates: Vec<(String, f64)>,
}

impl Machine {
    pub fn now(&self) -> MachineSnapshot {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let (disk_bytes, disk_free_bytes) = disk(&self.data_folder);
        let expiries = self.certificates.iter().map(|(name, expiry)| ((*name).to_owned(), seconds(expiry())));
        MachineSnapshot {
            started_s: seconds(self.started),
            clock_s: seconds(SystemTime::now()),
            processor_s: processor_s(&fs::read_to_string("/proc/self/stat").unwrap_or_default()),
            resident_bytes: field(&status, "VmRSS:").saturating_mul(1 << 10),
            memory_bytes_max: memory_bytes_max(),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
            // Without limit is as good as this.
            open_files_max: getrlimit(Resource::Nofile).current.unwrap_or(1 << 30),
            threads: field(&status, "Threads:"),
            disk_bytes,
            disk_free_bytes,
            certificates: expiries.collect(),
        }
    }
}

/// The number behind a name, as in `VmRSS:   1234 kB`; 0 if it is not there.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processor time, of the system for the process included. The name in the second column may hold anything but ends with the last
/// bracket.
fn processor_s(stat: &str) -> f64 {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // The 14th and the 15th column; the third is the first of the rest.
    let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|column| column.parse::<u64>().ok());
    ticks.sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn memory_bytes_max() -> u64 {
    let of_machine =
        field(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:").saturating_mul(1 << 10);
    let of_group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = of_group.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    limits.chain([of_machine]).filter(|bytes| *bytes > 0).min().unwrap_or(0)
}

/// How large the disk of a folder is, and what of it is left to who is no administrator.
fn disk(folder: &Path) -> (u64, u64) {
    let Ok(disk) = rustix::fs::statvfs(folder) else { return (0, 0) };
    (disk.f_blocks.saturating_mul(disk.f_frsize), disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_name_of_a_process_may_look_like_columns() {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let stat = "7 (a) 1 2 3) R 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 123 456 789";
        assert_eq!(processor_s(stat), 300.0 / ticks);
        assert_eq!(processor_s(""), 0.0);
    }

    #[test]
    fn what_is_told_of_this_process_can_be_true() {
        let machine = Machine {
            data_folder: std::env::temp_dir(),
            certificates: vec![(
                "internal",
                Box::new(|| UNIX_EPOCH + Duration::from_secs(1_893_553_445)) as Expiry,
            )],
            started: SystemTime::now(),
        };
        let now = machine.now();
        assert!(now.resident_bytes > 1 << 20 && now.resident_bytes <= now.memory_bytes_max, "{now:?}");
        assert!(now.threads >= 1 && now.open_files >= 3 && now.open_files <= now.open_files_max, "{now:?}");
        assert!(now.disk_free_bytes <= now.disk_bytes && now.disk_bytes > 0, "{now:?}");
        assert!(now.clock_s >= now.started_s, "{now:?}");
        assert_eq!(now.certificates, [("internal".to_owned(), 1_893_553_445.0)]);
    }
}
