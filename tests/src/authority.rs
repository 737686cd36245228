//! A time-stamping authority as others run one: OpenSSL's, with a root and keys of its own that go with it, behind HTTP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const CONFIG: &str = "\
[tsa]
serial = serial
crypto_device = builtin
signer_digest = sha256
digests = sha256
default_policy = 1.3.6.1.4.1.99999.1
ess_cert_id_alg = sha256
accuracy = secs:1
clock_precision_digits = 6
tsa_name = yes
";

const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";

/// What a certificate for a time-stamping authority says it is for.
pub const FOR_STAMPS: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping";

/// Kinds of keys, as arguments of `openssl genpkey`.
pub const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
pub const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

pub struct Authority {
    folder: TempDir,
    files: AtomicU64,
}

/// How somebody answers a request over HTTP.
pub enum Answer {
    Body(Vec<u8>),
    Status(u16),
    Nothing,
    Endless,
}

impl Authority {
    /// A root, and `authority`, whose certificate it issued for 30 days.
    #[expect(clippy::new_without_default, reason = "it makes keys and files")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("authority").tempdir().unwrap();
        let authority = Self { folder, files: AtomicU64::new(0) };
        authority.write("tsa.cnf", CONFIG.as_bytes());
        authority.write("serial", b"01\n");
        authority.key("root", P256);
        let made_by_itself =
            ["req", "-x509", "-new", "-key", "root.key", "-days", "60", "-subj", "/CN=Root", "-out", "root.pem"];
        let extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"];
        authority.openssl(&[made_by_itself.as_slice(), &extensions].concat());
        authority.issue("authority", P256, "root", FOR_STAMPS);
        authority
    }

    /// A key of this name, and a certificate for 30 days.
    pub fn issue(&self, name: &str, key: &[&str], issuer: &str, extensions: &str) {
        self.issue_for(30, name, key, issuer, extensions);
    }

    pub fn issue_for(&self, days: u32, name: &str, key: &[&str], issuer: &str, extensions: &str) {
        let (request, certificate) = (format!("{name}.csr"), format!("{name}.pem"));
        let (own, issuer, issuer_key) = (format!("{name}.key"), format!("{issuer}.pem"), format!("{issuer}.key"));
        self.key(name, key);
        self.write(&format!("{name}.ext"), extensions.as_bytes());
        self.openssl(&["req", "-new", "-key", &own, "-subj", &format!("/CN={name}"), "-out", &request]);
        let by = ["-CA", &issuer, "-CAkey", &issuer_key, "-CAcreateserial", "-days", &days.to_string(), "-sha256"];
        let about = ["x509", "-req", "-in", &request, "-extfile", &format!("{name}.ext"), "-out", &certificate];
        self.openssl(&[about.as_slice(), &by].concat());
    }

    fn key(&self, name: &str, kind: &[&str]) {
        self.openssl(&[["genpkey", "-out", &format!("{name}.key")].as_slice(), kind].concat());
    }

    /// The certificate of this name, in PEM.
    pub fn certificate(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(format!("{name}.pem"))).unwrap()
    }

    /// Answers a request as `authority`, or with further arguments of `openssl ts -reply`.
    pub fn reply(&self, query: &[u8], signer: &str, arguments: &[&str]) -> Vec<u8> {
        let query = self.keep(query);
        let (certificate, key) = (format!("{signer}.pem"), format!("{signer}.key"));
        let asked = ["ts", "-reply", "-config", "tsa.cnf", "-section", "tsa", "-queryfile", &query];
        self.made(&[asked.as_slice(), &["-signer", &certificate, "-inkey", &key], arguments].concat())
    }

    /// A token over these bytes.
    pub fn token(&self, stamped: &[u8], signer: &str, arguments: &[&str]) -> Vec<u8> {
        let stamped = self.keep(stamped);
        let query = self.made(&["ts", "-query", "-data", &stamped, "-sha256", "-cert"]);
        self.reply(&query, signer, &[&["-token_out"], arguments].concat())
    }

    /// What `authority` answers to somebody who asks about a hash that it does not take.
    pub fn refusal(&self) -> Vec<u8> {
        let stamped = self.keep(b"");
        self.reply(&self.made(&["ts", "-query", "-data", &stamped, "-sha1"]), "authority", &[])
    }

    /// The `TSTInfo` inside a token.
    pub fn content(&self, token: &[u8]) -> Vec<u8> {
        let token = self.keep(token);
        self.made(&["cms", "-verify", "-noverify", "-inform", "DER", "-in", &token])
    }

    /// A token with this `TSTInfo`, by somebody who signs whatever they are given.
    pub fn sign(&self, content: &[u8], signer: &str, arguments: &[&str]) -> Vec<u8> {
        let content = self.keep(content);
        let (certificate, key) = (format!("{signer}.pem"), format!("{signer}.key"));
        let envelope = ["cms", "-sign", "-binary", "-nodetach", "-cades", "-nosmimecap", "-econtent_type", TST_INFO];
        let about = ["-in", &content, "-outform", "DER", "-signer", &certificate, "-inkey", &key];
        self.made(&[envelope.as_slice(), &about, arguments].concat())
    }

    /// Whether OpenSSL accepts this token over these bytes, at this time, under this root.
    pub fn openssl_accepts(&self, stamped: &[u8], token: &[u8], root: &[u8], unix_seconds: u64) -> bool {
        let (stamped, token, root) = (self.keep(stamped), self.keep(token), self.keep(root));
        let what = ["ts", "-verify", "-data", &stamped, "-token_in", "-in", &token];
        let how = ["-CAfile", &root, "-attime", &unix_seconds.to_string()];
        self.run(&[what.as_slice(), &how].concat()).is_ok()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    fn name(&self) -> String {
        format!("file{}", self.files.fetch_add(1, Ordering::Relaxed))
    }

    fn keep(&self, bytes: &[u8]) -> String {
        let name = self.name();
        self.write(&name, bytes);
        name
    }

    /// What a command of OpenSSL writes into the file after `-out`.
    fn made(&self, arguments: &[&str]) -> Vec<u8> {
        let name = self.name();
        self.openssl(&[arguments, &["-out", &name]].concat());
        fs::read(self.folder.path().join(name)).unwrap()
    }

    fn openssl(&self, arguments: &[&str]) {
        self.run(arguments).unwrap_or_else(|said| panic!("openssl {}: {said}", arguments.join(" ")));
    }

    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let ended = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output();
        let ended = ended.unwrap_or_else(|error| panic!("openssl: {error}: apt-get install -y openssl"));
        if ended.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ended.stderr).into_owned()) }
    }
}

/// The folder of the vectors that FORMAT.md speaks of.
pub fn vectors() -> PathBuf {
    crate::programs::workspace().join(Path::new("anchor/timestamp/vectors"))
}

/// Answers requests over HTTP on an address of its own for as long as the runtime lives.
pub async fn serve(answer: impl Fn(&[u8]) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                // Whoever hangs up has their answer, or wants none.
                let _ = one(stream, answer).await;
            });
        }
    });
    format!("http://{address}/stamp")
}

async fn one<A: Fn(&[u8]) -> Answer + Send + Sync + 'static>(
    mut stream: TcpStream,
    answer: Arc<A>,
) -> std::io::Result<()> {
    let Some(query) = query(&mut stream).await? else {
        return stream.write_all(b"HTTP/1.1 415 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
    };
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/timestamp-reply\r\n";
    match tokio::task::spawn_blocking(move || answer(&query)).await.unwrap() {
        Answer::Body(bytes) => {
            stream.write_all(format!("{head}Content-Length: {}\r\n\r\n", bytes.len()).as_bytes()).await?;
            stream.write_all(&bytes).await
        }
        Answer::Status(status) => {
            let line = format!("HTTP/1.1 {status} No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(line.as_bytes()).await
        }
        Answer::Nothing => std::future::pending().await,
        Answer::Endless => {
            stream.write_all(format!("{head}\r\n").as_bytes()).await?;
            loop {
                stream.write_all(&[0x30; 4096]).await?;
            }
        }
    }
}

/// The body of a request that is one for a time stamp.
async fn query(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let end = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if !head.starts_with("post ") || field("content-type:") != Some("application/timestamp-query") {
        return Ok(None);
    }
    let length = field("content-length:").and_then(|length| length.parse::<usize>().ok()).unwrap_or_default();
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(bytes.split_off(end)))
}
