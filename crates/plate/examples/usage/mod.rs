//! What this process has taken, from /proc; 0 where there is none.

/// User and system time in seconds.
pub fn cpu_seconds() -> f32 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, in hundredths of a second; the second field may hold blanks but ends with a bracket.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|f| f.parse::<f32>().ok());
    ticks.sum::<f32>() / 100.0
}

/// The largest resident memory so far.
#[allow(dead_code)] // Not every example asks.
pub fn peak_gigabytes() -> f32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f32>().ok());
    kilobytes.unwrap_or(0.0) / 1e6
}
