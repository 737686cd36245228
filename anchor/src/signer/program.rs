//! An external signer: a program that runs as long as we do, one line in, one line out.
//!
//! We write `sign <base64 of the message>`, it answers with the base64 of 64 bytes. Nothing that it says is believed: a signature counts
//! when it verifies under the key that the settings name. One that is silent, lies or ends is killed, and started again after a rest.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chain::key::VerifierKey;
use tokio::sync::oneshot;

use super::{SignFailure, Signer, id_of};

/// How long one signature may take, waiting for those before it included.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The first rest after a failure; each further one is twice as long.
const REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Signatures that may wait.
const QUEUE: usize = 1024;
/// The longest answer.
const MAX_LINE: u64 = 1024;

/// Variables that are ours begin so; some of them are secrets, and none is the signer's business.
const OURS: &str = "GUILDHALL_";

#[derive(Debug)]
pub struct Program {
    key: VerifierKey,
    place: String,
    jobs: SyncSender<Job>,
}

#[derive(Debug)]
struct Job {
    message: Vec<u8>,
    until: Instant,
    reply: oneshot::Sender<Result<[u8; 64], String>>,
}

impl Program {
    /// The program `command`, started with the first message to sign, which signs for `key`.
    pub fn new(command: Vec<String>, key: VerifierKey) -> Self {
        let place = format!("the signer {}", command.first().map_or("", String::as_str));
        let (jobs, waiting) = sync_channel(QUEUE);
        let mut desk = Desk { command, key: key.clone(), running: None, failures: 0, rests_until: None };
        // A thread of its own: pipes block. It ends when the last handle to it is gone.
        thread::spawn(move || waiting.iter().for_each(|job| desk.settle(job)));
        Self { key, place, jobs }
    }

    async fn ask(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let (reply, answer) = oneshot::channel();
        let job = Job { message: message.to_vec(), until: Instant::now() + PATIENCE, reply };
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => "too much waits for it".to_owned(),
            TrySendError::Disconnected(_) => "nobody asks it any more".to_owned(),
        })?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("it was given up".to_owned()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

#[async_trait]
impl Signer for Program {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn place(&self) -> &str {
        &self.place
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignFailure> {
        let failed = |what| SignFailure { key: id_of(&self.key), place: self.place.clone(), what };
        self.ask(message).await.map_err(failed)
    }
}

/// Where messages are brought to the program one after the other.
struct Desk {
    command: Vec<String>,
    key: VerifierKey,
    running: Option<Running>,
    failures: u32,
    rests_until: Option<Instant>,
}

impl Desk {
    fn settle(&mut self, job: Job) {
        // Whoever asked has gone: nobody would hear the answer.
        if job.reply.is_closed() || job.until <= Instant::now() {
            return;
        }
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            let _ = job.reply.send(Err("it failed a moment ago and is started again soon".to_owned()));
            return;
        }
        let answer = self.ask(&job);
        match &answer {
            Ok(_) => (self.failures, self.rests_until) = (0, None),
            Err(_) => {
                // What answered wrongly once could answer this question to the next one.
                self.running = None;
                self.failures = self.failures.saturating_add(1);
                let rest = REST.saturating_mul(1 << (self.failures - 1).min(10)).min(LONGEST_REST);
                self.rests_until = Some(Instant::now() + rest);
            }
        }
        let _ = job.reply.send(answer);
    }

    fn ask(&mut self, job: &Job) -> Result<[u8; 64], String> {
        let running = match self.running.take() {
            Some(running) => running,
            None => Running::start(&self.command).map_err(|error| format!("it cannot be started: {error}"))?,
        };
        let answer = running.ask(&job.message, job.until)?;
        // The words of a program that may hold a key are not repeated.
        let signature = STANDARD.decode(answer.trim_end()).ok().and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        let signature = signature.ok_or("its answer is not the base64 of a signature")?;
        if !self.key.verify_raw(&job.message, &signature) {
            return Err("its signature does not verify under the key that it should have".to_owned());
        }
        self.running = Some(running);
        Ok(signature)
    }
}

/// The program, while it runs.
struct Running {
    child: Child,
    ask: std::sync::mpsc::Sender<String>,
    answers: Receiver<io::Result<String>>,
}

impl Running {
    fn start(command: &[String]) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("no program is named"))?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(OURS)) {
            command.env_remove(name);
        }
        // A group of its own: what a terminal tells us to end with must not take the signature of the last checkpoint.
        let spawned = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn();
        let mut child = spawned?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        let (ask, asked) = channel();
        let (answer, answers) = channel();
        thread::spawn(move || converse(stdin, BufReader::new(stdout), &asked, &answer));
        Ok(Self { child, ask, answers })
    }

    fn ask(&self, message: &[u8], until: Instant) -> Result<String, String> {
        let ended = || "it has ended".to_owned();
        self.ask.send(format!("sign {}\n", STANDARD.encode(message))).map_err(|_| ended())?;
        match self.answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err("its answer is no line".to_owned()),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(ended()),
            Err(RecvTimeoutError::Timeout) => Err("no answer in time".to_owned()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // With what it started. The thread that talks to it finds its pipes closed.
        let group = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One line in, one line out, until either side ends.
fn converse(
    mut stdin: ChildStdin,
    mut stdout: BufReader<ChildStdout>,
    asked: &Receiver<String>,
    answer: &std::sync::mpsc::Sender<io::Result<String>>,
) {
    for line in asked {
        let said = stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).and_then(|()| {
            let mut bytes = Vec::new();
            stdout.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)?;
            match bytes.last() {
                Some(b'\n') => String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into()),
                Some(_) => Err(io::ErrorKind::InvalidData.into()),
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        });
        let failed = said.is_err();
        if answer.send(said).is_err() || failed {
            return;
        }
    }
}
