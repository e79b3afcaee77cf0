//! A process that was started for a benchmark, and what Linux says it has used. Refuses to outlive its owner.

use std::{
    iter::Sum,
    ops::{Add, Sub},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::ChildStdout,
};

/// A process of this program. Killed when it is dropped.
pub struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// Time on a processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    pub user: Duration,
    pub system: Duration,
}

impl Process {
    /// Starts this program again. The environment is not passed on: what is measured shouldn't depend on it, and a key in
    /// it could make the server call a provider that costs money.
    pub fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Result<Self> {
        let program = std::env::current_exe().context("can't tell which program this is")?;
        let mut command = Command::new(&program);
        command.args(arguments).env_clear().envs(settings.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("can't start {}", program.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else { bail!("a pipe is missing") };
        let output = BufReader::new(ChildStdout::from_std(output)?).lines();
        Ok(Self { child, input, output })
    }

    /// Where it reads.
    pub fn input(&mut self) -> &mut ChildStdin {
        &mut self.input
    }

    /// The next line that it prints.
    pub async fn line(&mut self) -> Result<String> {
        self.output.next_line().await?.context("a process of the benchmark ended early")
    }

    /// Which one it is.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far, all its threads.
    pub fn cpu(&self) -> Result<Cpu> {
        cpu_of(self.id())
    }
}

/// What a process has used so far, all its threads.
pub fn cpu_of(process: u32) -> Result<Cpu> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    parse_cpu(&stat, rustix::param::clock_ticks_per_second()).with_context(|| format!("{path} is unreadable"))
}

/// The memory a process holds, in KiB.
pub fn resident_kib_of(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    parse_resident(&status).with_context(|| format!("{path} is unreadable"))
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cpu {
    /// Both together.
    pub fn all(self) -> Duration {
        self.user + self.system
    }
}

impl Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::add)
    }
}

impl Add for Cpu {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { user: self.user + more.user, system: self.system + more.system }
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { user: self.user.saturating_sub(before.user), system: self.system.saturating_sub(before.system) }
    }
}

/// Fields 14 and 15 of proc_pid_stat(5). The second one, the program's name in parentheses, may hold anything.
fn parse_cpu(stat: &str, ticks_a_second: u64) -> Option<Cpu> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut ticks = after_name.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let mut time = || Some(Duration::from_nanos(ticks.next()?.ok()? * 1_000_000_000 / ticks_a_second));
    Some(Cpu { user: time()?, system: time()? })
}

fn parse_resident(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 6 0 100 200 300";
        let cpu = parse_cpu(stat, 100).unwrap();
        assert_eq!(cpu, Cpu { user: Duration::from_millis(2500), system: Duration::from_millis(500) });
        assert_eq!((cpu - cpu).all(), Duration::ZERO);
        assert_eq!(parse_cpu("42 (name) S 1", 100), None);
    }

    #[test]
    fn resident_memory_is_found_among_the_rest() {
        assert_eq!(parse_resident("Name:\tpersona\nVmHWM:\t  99 kB\nVmRSS:\t   12345 kB\nThreads:\t4\n"), Some(12345));
        assert_eq!(parse_resident("Name:\tpersona\n"), None);
    }
}
