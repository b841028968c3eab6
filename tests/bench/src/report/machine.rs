//! What the samples were taken on.

use std::fs;

use serde::Serialize;

/// See the module.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    kernel: String,
    cpu: String,
    cores: usize,
}

impl Machine {
    pub(super) fn read() -> anyhow::Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
        let info = fs::read_to_string("/proc/cpuinfo")?;
        let all = |key: &'static str| {
            let pairs = info.lines().filter_map(|line| line.split_once(':'));
            pairs.filter(move |(name, _)| name.trim() == key).map(|(_, value)| value.trim())
        };
        // Not every architecture names its model.
        let cpu = all("model name").next().unwrap_or("unknown").to_owned();
        Ok(Self { kernel, cpu, cores: all("processor").count() })
    }
}
