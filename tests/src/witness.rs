//! Witnesses as processes of their own: ours, and two that others wrote.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::programs::{self, guildhall, workspace};
use crate::server::{free_port, status};

const START: Duration = Duration::from_secs(30);

/// A witness, and the way to start it again.
pub struct Witness {
    child: Child,
    command: Box<dyn Fn() -> Command + Send>,
    pub name: String,
    pub vkey: String,
    pub url: String,
    pub dir: PathBuf,
}

impl Witness {
    /// `guildhall witness run`, with a new key, for the logs of this policy file.
    pub fn ours(dir: &Path, name: &str, policy: &Path) -> Self {
        let (dir, port, policy) = (dir.join(name), free_port(), policy.to_owned());
        let place = dir.to_str().unwrap().to_owned();
        let key_name = format!("witness.example/{name}");
        let made = programs::run(&guildhall(), &["witness", "new", "--name", &key_name, "--dir", &place]).expect(0);
        let listen = format!("127.0.0.1:{port}");
        let command = move || {
            let mut command = Command::new(guildhall());
            command.args(["witness", "run", "--policy"]).arg(&policy).args(["--dir", &place, "--listen", &listen]);
            command
        };
        Self::start(name, made.stdout.trim().to_owned(), dir, port, Box::new(command))
    }

    /// The package witness-log behind a small HTTP server.
    pub fn witness_log(dir: &Path, origin: &str, vkey: &str) -> Self {
        let (dir, port) = (dir.join("foreign"), free_port());
        fs::create_dir_all(&dir).unwrap();
        let arguments = [dir.join("state").to_str().unwrap(), origin, vkey, &port.to_string()].map(str::to_owned);
        let command = move || {
            let mut command = Command::new(foreign().join("python"));
            command.arg(workspace().join("tests/foreign/serve_witness_log.py")).args(&arguments);
            command
        };
        // It says who it is when it starts.
        let mut first = command().stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(first.stdout.take().unwrap()).read_line(&mut line).unwrap();
        first.kill().unwrap();
        first.wait().unwrap();
        Self::start("foreign", line.trim().to_owned(), dir, port, Box::new(command))
    }

    /// The package aics-witness, which is a whole HTTP witness.
    pub fn aics(dir: &Path, origin: &str, vkey: &str) -> Self {
        let (dir, port) = (dir.join("aics"), free_port());
        fs::create_dir_all(&dir).unwrap();
        let config = dir.join("witness.json").to_str().unwrap().to_owned();
        let program = foreign().join("aics-witness");
        let listen = format!("127.0.0.1:{port}");
        let name = ["--name", "witness.example/aics", "--listen", &listen];
        let made = programs::run(&program, &[&["init", "--config", &config][..], &name].concat()).expect(0);
        let known = ["add-log", "--config", &config, "--origin", origin, "--vkey", vkey];
        programs::run(&program, &known).expect(0);
        let own =
            made.stdout.split_whitespace().find(|word| word.starts_with("witness.example/aics+")).unwrap().to_owned();
        let command = move || {
            let mut command = Command::new(&program);
            command.args(["serve", "--config", &config]);
            command
        };
        Self::start("aics", own, dir, port, Box::new(command))
    }

    fn start(name: &str, vkey: String, dir: PathBuf, port: u16, command: Box<dyn Fn() -> Command + Send>) -> Self {
        let url = format!("http://127.0.0.1:{port}");
        let witness = Self { child: spawn(&command), command, name: name.to_owned(), vkey, url, dir };
        witness.wait();
        witness
    }

    fn wait(&self) {
        let deadline = Instant::now() + START;
        while status(&self.url, "/healthz").is_none() {
            assert!(Instant::now() < deadline, "the witness {} does not answer", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its line in a policy.
    pub fn line(&self) -> String {
        format!("witness {} {} {}\n", self.name, self.vkey, self.url)
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, after it was killed.
    pub fn again(&mut self) {
        self.child = spawn(&self.command);
        self.wait();
    }

    /// Starts it again, which must fail; what it said.
    pub fn refuses(&mut self) -> String {
        let output = (self.command)().stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// SIGSTOP: it takes connections and answers nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// Where it keeps what it cosigned last.
    pub fn memory(&self) -> PathBuf {
        let entries = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        entries.into_iter().find(|path| path.to_string_lossy().ends_with(".checkpoint")).unwrap()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &dyn Fn() -> Command) -> Child {
    let mut command = command();
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GUILDHALL_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Whether foreign witnesses are to be left out, because somebody said so.
pub fn without_foreign() -> bool {
    std::env::var_os("GUILDHALL_SKIP_WITNESS").is_some()
}

/// The `bin` of the virtual environment that foreign witnesses are installed in.
fn foreign() -> PathBuf {
    let venv = std::env::var_os("GUILDHALL_TEST_WITNESS").unwrap_or_else(|| {
        panic!(
            "foreign witnesses are missing; ./test installs them. By hand: python3 -m venv V; V/bin/pip install \
             --ignore-requires-python witness-log==0.6.1 aics-witness==0.1.0; export GUILDHALL_TEST_WITNESS=V; or, to go without \
             them, GUILDHALL_SKIP_WITNESS=1"
        )
    });
    PathBuf::from(venv).join("bin")
}
