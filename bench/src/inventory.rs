//! What comes from sources: imports a second with their memory, and a reconciler that keeps 100,000 grants fresh.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use guildhall_tests::Engine;
use guildhall_tests::courier::{Courier as _, Who};
use guildhall_tests::days::Days;
use guildhall_tests::programs;
use guildhall_tests::server::Place;
use guildhall_tests::town;
use serde_json::{Value, json};

use crate::floor;
use crate::grown::resident;

const MANIFESTS: usize = 10_000;
const SKILLS: usize = 5_000;

/// Each domain dry, for the first and for the second time, beside a running server.
pub async fn imports(engine: Engine, tokens: &[usize]) {
    for tokens in tokens {
        println!(
            "\n{engine:?}, imports beside a running server; fdatasync {} us, load {}",
            floor::fdatasync_micros(),
            floor::load()
        );
        let place = Place::new(engine).await;
        let server = place.home.serve();
        let http = server.first_caller();
        let (loom, _) = town::human(&http, "observer", "Loom").await;
        let dir = tempfile::tempdir().unwrap();
        let Who(key) = http.principal();
        let import = |domain: &str, map: &Path, more: &[&str]| {
            let arguments = [&["import", domain, "--map", map.to_str().unwrap(), "--json"], more].concat();
            run(&place.home.arguments(&arguments), &key)
        };
        for (domain, map, rows) in [
            ("d1:tokens", token_file(dir.path(), &loom, *tokens), *tokens),
            ("plugin:yaml", manifests(dir.path(), &loom), MANIFESTS),
            ("fs:skills", skills(dir.path(), &loom), SKILLS),
        ] {
            for (what, more) in [("dry run", &["--dry-run"][..]), ("first run", &[]), ("second run", &[])] {
                let (report, took, peak) = import(domain, &map, more);
                let added = report["added"].as_u64().unwrap();
                let expected = if what == "second run" { 0 } else { rows as u64 };
                assert_eq!((added, report["wrong"].as_u64()), (expected, Some(0)), "{domain}, {what}: {report}");
                println!(
                    "{domain:>12} {rows:>7} {what:<10} {:>8.0} rows/s  ({:>5.1} s)  importer {peak}, server {}",
                    rows as f64 / took.as_secs_f64(),
                    took.as_secs_f64(),
                    resident(server.id(), "VmHWM"),
                );
            }
        }
    }
}

/// Runs to the end, and says how much memory that took at most.
fn run(arguments: &[&str], key: &str) -> (Value, Duration, String) {
    let started = Instant::now();
    let output = tempfile::tempfile().unwrap();
    let mut child = Command::new(programs::guildhall())
        .args(arguments)
        .env("GUILDHALL_KEY", key)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut peak = String::new();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // Gone from the moment it ends: the last one that was seen.
        let now = resident(child.id(), "VmHWM");
        if now != "0 MiB" {
            peak = now;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let took = started.elapsed();
    let mut output = output;
    let mut text = String::new();
    std::io::Seek::rewind(&mut output).unwrap();
    std::io::Read::read_to_string(&mut output, &mut text).unwrap();
    assert!(status.success(), "{}", &text[..text.len().min(2000)]);
    (serde_json::from_str(&text).unwrap(), took, peak)
}

fn token_file(dir: &Path, holder: &str, count: usize) -> PathBuf {
    let token = |number: usize| {
        json!({
            "token_hash": format!("{number:016x}{}", "0".repeat(48)), "agent": "loom", "active": true, "project": null,
            "label": format!("number {number}"), "scope": "agent", "created_at": "2026-04-02T09:00:00Z",
        })
    };
    fs::write(dir.join("tokens.json"), Value::from((0..count).map(token).collect::<Vec<_>>()).to_string()).unwrap();
    map(dir, "tokens", &format!("paths = ['tokens.json']\n[holders]\nloom = '{holder}'\n"))
}

fn manifests(dir: &Path, holder: &str) -> PathBuf {
    for number in 0..MANIFESTS {
        let folder = dir.join(format!("plugins/p{}/p{number}", number / 100));
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "name: plugin-{number}\nversion: 1.4.{number}\nowner: kasra\nmcp_tools:\n  - {{name: tool_{number}, description: Does it}}\nkernel_min_version: \"2.0\"\n"
        );
        fs::write(folder.join("plugin.yaml"), text).unwrap();
    }
    map(dir, "plugins", &format!("paths = ['plugins']\ndefault = '{holder}'\n"))
}

fn skills(dir: &Path, holder: &str) -> PathBuf {
    for number in 0..SKILLS {
        let folder = dir.join(format!("skills/s{}/skill-{number}", number / 100));
        fs::create_dir_all(&folder).unwrap();
        let text =
            format!("---\nname: skill {number}\ndescription: Reads it\nlabels: [a, b]\ntrust_tier: 2\n---\nText.\n");
        fs::write(folder.join("SKILL.md"), text).unwrap();
    }
    map(dir, "skills", &format!("paths = ['skills']\ndefault = '{holder}'\n"))
}

fn map(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    path
}

/// Three days of a simulated clock against a healthy source: a grant that gets a day old ends the run.
pub async fn reconciler(grants: usize) {
    let started = Instant::now();
    let mut days = Days::begin(4).await;
    days.add(grants).await;
    let imported = started.elapsed();
    let (mut verified, mut slowest, started) = (0, Duration::ZERO, Instant::now());
    for _ in 0..72 {
        let hour = Instant::now();
        let round = days.hour().await;
        assert_eq!((round.gone, round.unknown), (0, 0), "{round:?}");
        verified += round.alive;
        slowest = slowest.max(hour.elapsed());
    }
    let took = started.elapsed();
    println!(
        "\n{grants} grants of one hour, three days: imported in {:.1} s; {verified} verifications in {:.1} s, the slowest round {:.1} s; none was ever a day old; {} at most; load {}",
        imported.as_secs_f64(),
        took.as_secs_f64(),
        slowest.as_secs_f64(),
        resident(std::process::id(), "VmHWM"),
        floor::load()
    );
    days.end().await;
}
