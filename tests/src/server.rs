//! The real server, as a process of its own: started, killed, frozen, and never left behind.

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use eventlog::testing::{ORIGIN, TestDatabase};
use eventlog::{Location, Log, LogConfig};

use crate::courier::Who;
use crate::http::Http;
use crate::{Engine, programs};

/// How long a server may take until it takes commands. Generous: machines that run tests are busy.
const START: Duration = Duration::from_secs(60);

/// Where a server's data is, and how it is started on it.
#[derive(Debug, Clone)]
pub struct Home {
    pub dir: PathBuf,
    pub database_url: Option<String>,
    /// The log's name.
    pub origin: &'static str,
    /// The same as long as the home is the same, so that callers find a server again.
    pub port: u16,
    /// Settings and secrets that it starts with besides, as variables.
    pub settings: Vec<(&'static str, String)>,
}

/// What belongs to a test and goes with it.
pub struct Place {
    pub home: Home,
    pub database: Option<TestDatabase>,
    _dir: tempfile::TempDir,
}

impl Place {
    pub async fn new(engine: Engine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(eventlog::testing::postgres(&projections::ddl::POSTGRES).await),
        };
        let url = database.as_ref().map(|database| database.url.clone());
        Self { home: Home::new(dir.path().join("data"), url), database, _dir: dir }
    }
}

impl Home {
    pub fn new(dir: PathBuf, database_url: Option<String>) -> Self {
        Self { dir, database_url, origin: ORIGIN, port: free_port(), settings: Vec::new() }
    }

    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Another server on the same database. It needs the keys of the first, as every server of one city does.
    pub fn twin(&self, dir: &Path) -> Self {
        copy_dir(&self.dir, dir);
        Self { dir: dir.to_owned(), port: free_port(), ..self.clone() }
    }

    /// Another server on the same database and the same directory.
    pub fn beside(&self) -> Self {
        Self { port: free_port(), ..self.clone() }
    }

    /// Opens the log beside the server, or without one.
    pub async fn log(&self) -> Log {
        let location = match &self.database_url {
            Some(url) => Location::Postgres { url: url.clone() },
            None => Location::Sqlite { dir: self.dir.clone() },
        };
        let origin = self.origin.to_owned();
        let config = LogConfig { location, origin, allow_unsafe: false, allow_owner: false, create: false };
        Log::open(config).await.unwrap()
    }

    /// The arguments of any subcommand that works on this home.
    pub fn arguments<'a>(&'a self, command: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = command.to_vec();
        arguments.extend(["--data-dir", self.dir.to_str().unwrap(), "--origin", self.origin]);
        if let Some(url) = &self.database_url {
            arguments.extend(["--database-url", url]);
        }
        arguments
    }

    /// Runs a subcommand on this home to its end.
    pub fn run(&self, command: &[&str]) -> programs::Ended {
        programs::run_with(&programs::guildhall(), &self.arguments(command), &self.settings)
    }

    /// Starts a server and waits until it takes commands.
    pub fn serve(&self) -> Server {
        let server = self.spawn();
        server.wait_until_ready();
        server
    }

    /// Starts a server and waits for nothing.
    pub fn spawn(&self) -> Server {
        let mut command = Command::new(programs::guildhall());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GUILDHALL_")) {
            command.env_remove(name);
        }
        let listen = format!("127.0.0.1:{}", self.port);
        command
            .args(self.arguments(&["serve", "--listen", &listen]))
            // One caller with many hands is not what the limits are against.
            .env("GUILDHALL_LIMITS__REQUESTS_PER_SECOND", "1000000")
            .env("GUILDHALL_LIMITS__BURST", "1000000")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        listen_to(child.stdout.take().unwrap(), Arc::clone(&said));
        listen_to(child.stderr.take().unwrap(), Arc::clone(&said));
        Server { child, base: self.base(), said }
    }
}

pub struct Server {
    child: Child,
    pub base: String,
    said: Arc<Mutex<String>>,
}

impl Server {
    /// Everything it said, on both channels.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A caller with the key that the first start printed.
    pub fn first_caller(&self) -> Http {
        let deadline = Instant::now() + START;
        loop {
            let said = self.said();
            let key =
                said.split(|c: char| c.is_whitespace() || c == '"' || c == '\'').find(|word| word.starts_with("gh_"));
            if let Some(key) = key {
                return Http::new(&self.base, Who(key.to_owned()));
            }
            assert!(Instant::now() < deadline, "no key was printed:\n{said}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn wait_until_ready(&self) {
        self.wait_for("/readyz", START, |status| status == 200);
    }

    /// Polls an open address until its status pleases.
    pub fn wait_for(&self, path: &str, most: Duration, pleases: impl Fn(u16) -> bool) {
        let deadline = Instant::now() + most;
        while !status(&self.base, path).is_some_and(&pleases) {
            assert!(Instant::now() < deadline, "GET {path} did not become what was waited for:\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// No goodbye: what a power cut of the process is.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let deadline = Instant::now() + START;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGSTOP: the process keeps everything it holds and does nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Whether it ended by itself, and how.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the server said:\n{}\n---", self.said());
        }
    }
}

/// A plain GET without a client: used while nothing may be there yet.
pub fn status(base: &str, path: &str) -> Option<u16> {
    use std::io::Write as _;
    let address = base.strip_prefix("http://")?;
    let mut stream = std::net::TcpStream::connect_timeout(&address.parse().ok()?, Duration::from_millis(500)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_whitespace().nth(1)?.parse().ok()
}

fn listen_to(channel: impl Read + Send + 'static, said: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(channel).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
}

/// A port that nobody has right now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Copies a directory with everything in it. Sockets and locks are left behind: they belong to the one who made them.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_dir(&entry.path(), &target);
        } else if kind.is_file() {
            match std::fs::copy(entry.path(), target) {
                // SQLite's side files go when their last reader does, who may be saying goodbye just now.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}
