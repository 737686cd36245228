//! A PostgreSQL of a test's own, to be killed: fsync on, a unix socket only, gone with the test.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use eventlog::Login;
use eventlog::testing::{ORIGIN, ROLE};

pub struct Cluster {
    dir: PathBuf,
    bin: PathBuf,
    user: Option<(u32, u32)>,
}

impl Cluster {
    /// Starts an empty one and creates the city's schemas in it.
    pub async fn start() -> Self {
        let dir = PathBuf::from(format!("/tmp/ghk-{}-{}", std::process::id(), jiff::Timestamp::now().as_microsecond()));
        fs::create_dir(&dir).unwrap();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&dir, Some(uid), Some(gid)).unwrap();
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        let cluster = Self { dir, bin: binaries(), user };
        let data = cluster.data();
        let initdb = ["-D", &data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"];
        assert!(cluster.run("initdb", &initdb), "initdb failed in {data}");
        cluster.restart();
        let login = Login { role: ROLE, password: "trusted", replace: true };
        let migrations = &projections::ddl::POSTGRES;
        eventlog::migrate_postgres(&cluster.url("postgres"), ORIGIN, Some(login), migrations).await.unwrap();
        cluster
    }

    /// As the role that owns nothing.
    pub fn login_url(&self) -> String {
        self.url(ROLE)
    }

    pub fn url(&self, user: &str) -> String {
        format!("postgres:///postgres?host={}&user={user}", self.dir.display())
    }

    /// kill -9 of the whole server: postmaster and every backend at once.
    pub fn kill(&self) {
        let pid = fs::read_to_string(self.dir.join("data/postmaster.pid")).unwrap();
        let postmaster = pid.lines().next().unwrap().to_owned();
        let backends = Command::new("ps").args(["-o", "pid=", "--ppid", &postmaster]).output().unwrap();
        let backends = String::from_utf8(backends.stdout).unwrap();
        let mut kill = Command::new("kill");
        kill.arg("-9").arg(&postmaster).args(backends.split_whitespace());
        // A backend may have ended between the listing and the kill.
        let _ = kill.status().unwrap();
    }

    /// Starts it again; its own recovery runs first.
    pub fn restart(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let options = format!("-h '' -k {} -c max_connections=200", self.dir.display());
        let log = self.dir.join("log");
        // The old backends need a moment to notice that they are gone.
        while !self.run("pg_ctl", &["-w", "-D", &self.data(), "-l", log.to_str().unwrap(), "-o", &options, "start"]) {
            let log = fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not start:\n{log}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn data(&self) -> String {
        self.dir.join("data").to_str().unwrap().to_owned()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(self.bin.join(program));
        command.args(arguments).current_dir("/").stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command.status().unwrap().success()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "stop"]);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn binaries() -> PathBuf {
    if let Some(bin) = std::env::var_os("GUILDHALL_PG_BIN") {
        return PathBuf::from(bin);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest.expect("PostgreSQL is needed for this test: apt-get install -y postgresql")
}

/// initdb refuses root.
fn unprivileged() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let mut fields = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}

/// A file system that is full soon: a tmpfs of so many mebibytes, unmounted when the value goes.
pub struct SmallDisk {
    pub path: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Needs root; says so when it is missing.
    pub fn mount(mebibytes: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let options = format!("size={mebibytes}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "this test mounts a small tmpfs: run it as root, or set GUILDHALL_SKIP_MOUNT=1");
        Self { path, _dir: dir }
    }

    /// How many bytes are free.
    pub fn free(&self) -> u64 {
        let told = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.path).output().unwrap();
        String::from_utf8(told.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy: the killed server may not have let go of its files yet.
        let _ = Command::new("umount").arg("-l").arg::<&Path>(&self.path).status();
    }
}
