//! A file system of a test's own, that can be small, filled up, or read-only. It lives in a mount namespace of its own, which
//! nobody else sees and which leaves nothing behind.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A file system over one folder.
pub struct Disk {
    /// Keeps the namespace while it waits for the end of its input.
    holder: Child,
    folder: PathBuf,
}

impl Disk {
    /// A file system over `folder` with these options, such as `size=2m`. Nothing where this machine does not permit it: the
    /// test that needs it then can't say anything.
    pub fn new(folder: &Path, options: &str) -> Option<Self> {
        let mut holder = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-ec", r#"mount -t tmpfs -o "$1" tmpfs "$2"; echo mounted; read -r _"#, "sh", options])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is there: it comes with util-linux");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line == "mounted\n" {
            return Some(Self { holder, folder: folder.to_owned() });
        }
        holder.wait().unwrap();
        eprintln!("no file system can be mounted here, not even in a namespace: this test says nothing");
        None
    }

    /// The command that runs another where this file system is.
    pub fn inside(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        ["nsenter", "--user", "--preserve-credentials", "--mount", "--target", &target].map(str::to_owned).to_vec()
    }

    fn run(&self, words: &[&str]) -> bool {
        let inside = self.inside();
        Command::new(&inside[0]).args(&inside[1..]).args(words).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Mounts it anew with other options.
    pub fn remount(&self, options: &str) {
        assert!(self.run(&["mount", "-o", &format!("remount,{options}"), self.folder.to_str().unwrap()]));
    }

    fn filler(&self) -> String {
        self.folder.join("filler").to_str().unwrap().to_owned()
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        // It ends because the disk is full.
        assert!(!self.run(&["dd", "if=/dev/zero", &format!("of={}", self.filler()), "bs=4096"]));
    }

    /// Takes back what was filled, and gives more.
    pub fn free(&self) {
        assert!(self.run(&["rm", "-f", &self.filler()]));
        self.remount("size=64m");
    }

    /// A file or folder of it, as it is found from outside.
    pub fn path(&self, path: &Path) -> PathBuf {
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(path.strip_prefix("/").unwrap())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It may have been killed.
        let _ = self.holder.wait();
    }
}
