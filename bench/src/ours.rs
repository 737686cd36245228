//! The same work as commands: every safety on, in this process and through a server of its own.

use std::collections::HashMap;
use std::sync::Arc;

use guildhall_tests::Engine;
use guildhall_tests::courier::{Courier, Reply, Who};
use guildhall_tests::hall::Hall;
use guildhall_tests::server::Place;
use guildhall_tests::town::{CURRENCY, Town, deposit, guild};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::load;

/// Guilds of one founder, each with money.
pub async fn treasuries(courier: &impl Courier, town: &Town, count: usize) -> Vec<String> {
    let mut treasuries = vec![town.treasury.clone()];
    for number in 1..count {
        treasuries.push(guild(courier, &town.founder, &format!("guild-{number}")).await.1);
    }
    for (number, treasury) in treasuries.iter().enumerate() {
        let funds = deposit(treasury, &format!("funds {number}"), "10000000");
        courier.ask(&town.attester, "treasury.deposit", funds).await.accepted();
    }
    treasuries
}

pub fn debit(treasury: &str, number: u64) -> Value {
    json!({"treasury": treasury, "reference": format!("debit {number}"), "currency": CURRENCY, "amount": "0.01"})
}

/// The same work in process, with a key for retries on every command, as callers over HTTP have.
pub async fn in_process(engine: Engine, count: usize, clients: usize, seconds: u64) -> f64 {
    let hall = Arc::new(Hall::open(engine).await);
    let town = Town::found(&*hall).await;
    let treasuries = Arc::new(treasuries(&*hall, &town, count).await);
    let founder = town.founder.clone();
    load::rate(clients, seconds, move |_, number| {
        let (hall, treasuries, founder) = (Arc::clone(&hall), Arc::clone(&treasuries), founder.clone());
        async move {
            let treasury = &treasuries[usize::try_from(number).unwrap() % treasuries.len()];
            let key = format!("debit-{number}");
            hall.send(&founder, "treasury.withdraw", debit(treasury, number), Some(&key)).await.accepted();
        }
    })
    .await
}

/// Through HTTP: one connection a client, kept open. The clients share the machine with the server.
pub async fn over_http(engine: Engine, count: usize, clients: usize, seconds: u64) -> f64 {
    let place = Place::new(engine).await;
    let server = place.home.serve();
    let http = server.first_caller();
    let town = Town::found(&http).await;
    let treasuries = Arc::new(treasuries(&http, &town, count).await);
    let address = server.base.strip_prefix("http://").unwrap().to_owned();
    let mut lines = HashMap::new();
    for client in 0..clients {
        lines.insert(client, Mutex::new(Line::open(&address).await));
    }
    let (lines, founder) = (Arc::new(lines), town.founder.clone());
    load::rate(clients, seconds, move |client, number| {
        let (lines, treasuries, founder) = (Arc::clone(&lines), Arc::clone(&treasuries), founder.clone());
        async move {
            let treasury = &treasuries[usize::try_from(number).unwrap() % treasuries.len()];
            lines[&client].lock().await.debit(&founder, treasury, number).await.accepted();
        }
    })
    .await
}

/// A bare HTTP/1.1 connection: the measuring should cost as little as it can.
struct Line {
    stream: BufReader<TcpStream>,
    address: String,
}

impl Line {
    async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), address: address.to_owned() }
    }

    async fn debit(&mut self, who: &Who, treasury: &str, number: u64) -> Reply {
        let Value::Object(mut fields) = debit(treasury, number) else { unreachable!("a command is an object") };
        fields.remove("treasury");
        let body = Value::Object(fields).to_string();
        let request = format!(
            "POST /v1/treasuries/{treasury}/withdrawals HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Idempotency-Key: debit-{number}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            who.0,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        let status = line.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap();
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line).await.unwrap();
            let lower = line.trim().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        // What it says is only looked at when something went wrong.
        let body = if status == 200 { Value::Null } else { Value::String(String::from_utf8_lossy(&body).into_owned()) };
        Reply::of(status, body)
    }
}
